"""What the whole test run shares: one Prefect server, one finished workspace of toys."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headstart import settings

settings.hush()
HEADSTART = Path(sys.executable).parent / "headstart"


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def command(workspace: Path, *arguments: str, **environment: str) -> Answer:
    """Run `headstart` in a workspace, as a person would."""
    done = subprocess.run(
        [str(HEADSTART), *arguments],
        cwd=workspace,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module", autouse=True)
def environment_kept() -> Iterator[None]:
    """No file of tests leaves a `HEADSTART_*` variable behind: runs started after it would differ by its number."""
    before = _own_environment()
    yield
    assert _own_environment() == before


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("HEADSTART_")}


@pytest.fixture(scope="session")
def headstart() -> Callable[..., Answer]:
    return command


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one temporary Prefect server; `PREFECT_API_URL` names it while the tests run."""
    from pipelines.server import prefect_server, wait_until_ready

    home = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(home)
    with prefect_server(settings.Workspace(home)):
        wait_until_ready()
        yield os.environ["PREFECT_API_URL"]
    del os.environ["PREFECT_HOME"]


@pytest.fixture(scope="session")
def finished(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of toys in which `headstart run` has made two champions; tests do not change it."""
    from tests.tiny.workspace import build

    workspace = build(tmp_path_factory.mktemp("finished") / "workspace")
    answer = command(workspace, "run", "--json")
    assert answer.status == 0, answer.err
    (workspace / "run.json").write_text(answer.out)
    return workspace


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished workspace without its registry, to be changed at will."""
    ignored = shutil.ignore_patterns("state", "run.json")
    return Path(shutil.copytree(finished, tmp_path / "copied", ignore=ignored, symlinks=True))

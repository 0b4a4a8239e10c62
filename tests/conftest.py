"""What the whole test run shares: one Prefect server, one finished workspace of toys."""

import gc
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
from filelock import FileLock

from headstart import settings

settings.disable_telemetry()
HEADSTART = Path(sys.executable).parent / "headstart"


def pytest_collection_finish() -> None:
    """What the test modules imported stays to the end: two million objects that each collection would go through."""
    gc.collect()
    gc.freeze()


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


def asked(script: str, api: str, cwd: Path) -> str:
    """What a program prints that talks to the server."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, "PREFECT_API_URL": api},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RUNS = """
import json
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    flows = client.read_flow_runs()
    tasks = client.read_task_runs()
    artifacts = client.read_artifacts()
print(json.dumps({
    "flows": sorted({run.state.name for run in flows}),
    "tasks": sorted((run.name, run.state.name) for run in tasks),
    "artifacts": sorted({artifact.key for artifact in artifacts if artifact.key}),
}))
"""


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
    """A workspace of toys in which `headstart run` has made two champions; tests do not change what it has made.

    It is built once a test run, by the worker that needs it first; each worker works in a copy of its own. `run.json`
    is what the command printed, `runs.json` what the Prefect server saw of it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    built = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (built / "runs.json").is_file():
            from tests.tiny.workspace import build

            shutil.rmtree(built, ignore_errors=True)
            answer = command(build(built), "run", "--json")
            assert answer.status == 0, answer.err
            (built / "run.json").write_text(answer.out)
            (built / "runs.json").write_text(asked(RUNS, prefect_api, built))
        return Path(shutil.copytree(built, tmp_path_factory.mktemp("own") / "workspace", symlinks=True))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished workspace without its registry, to be changed at will."""
    ignored = shutil.ignore_patterns("state", "run.json", "runs.json")
    return Path(shutil.copytree(finished, tmp_path / "copied", ignore=ignored, symlinks=True))

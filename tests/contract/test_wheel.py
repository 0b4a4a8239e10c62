"""The wheel alone makes a workspace that works: nobody has to clone or fork this repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from headstart.cli import template
from tests.tiny.workspace import write_backbone, write_topics

ROOT = Path(__file__).parents[2]
NEEDED = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "params.yaml",
    "dvc.yaml",
    ".dvcignore",
    ".gitignore",
)

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PREFECT_API_URL")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git has, so that nothing is left behind in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        shutil.copy(ROOT / name, source / name)
    (source / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", source / ".dvc/config")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out)
    run(*map(str, pip), str(source), cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and our dependencies, but without our working copy."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    packages = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        home / "bin/python",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    )
    run(*map(str, pip), str(wheel), cwd=home)
    return home / "bin"


def test_the_wheel_holds_every_file_of_a_workspace_once(wheel):
    held = [
        name.removeprefix("headstart/template/") for name in zipfile.ZipFile(wheel).namelist() if "template/" in name
    ]
    assert sorted(held) == sorted(template.files())


def test_from_the_wheel_to_a_champion_in_three_commands(installed, tmp_path):
    where = run(installed / "python", "-c", "import headstart; print(headstart.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent), where
    headstart, workspace = installed / "headstart", tmp_path / "ws"
    run(headstart, "init", "ws", cwd=tmp_path)
    assert "has no model yet" in run(headstart, "run", "--json", cwd=workspace, status=2)
    write_topics(tmp_path / "topics.csv", rows=300, seed=1)
    write_backbone(tmp_path / "tinybert")
    run(headstart, "add", "topics", "--data", "../topics.csv", "--backbone", "../tinybert", cwd=workspace)
    params = workspace / "params.yaml"  # the toy's words end as their topic does: a classical model reads that as well
    params.write_text(params.read_text().replace("baseline_margin: 0.0", "baseline_margin: -0.5"))
    assert "topics: pass (version 1, champion)" in run(headstart, "run", cwd=workspace)
    assert run(headstart, "predict", "topics", "is there baban and baban today", cwd=workspace).split()[1] == "weather"
    assert "nothing to migrate" in run(headstart, "migrate", cwd=workspace)

"""`headstart doctor`: what has to be mended is said with a command that works in this workspace."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from headstart.cli import doctor as command


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """MLflow is left out; tests of the whole command ask it."""
    monkeypatch.setattr(command, "_registry", lambda *_: {"name": "registry", "ok": True, "found": "", "action": ""})


@pytest.fixture
def lacking(monkeypatch):
    """An installation of an old pyarrow, and without tqdm."""
    installed = command.version

    def version(name):
        if name == "tqdm":
            raise PackageNotFoundError(name)
        return "1.0" if name == "pyarrow" else installed(name)

    monkeypatch.setattr(command, "version", version)


def examined(capsys):
    capsys.readouterr()
    status = command.doctor(as_json=True)
    document = json.loads(capsys.readouterr().out)
    return status, {check["name"]: check for check in document["checks"]}


def test_a_sound_workspace_needs_no_mending(initialised, capsys):
    status, checks = examined(capsys)
    assert status == 0
    assert all(check["ok"] and not check["action"] for check in checks.values())


def test_in_a_workspace_of_ones_own_packages_are_installed_by_pip(initialised, capsys, lacking):
    status, checks = examined(capsys)
    assert status == 1
    assert [name for name, check in checks.items() if not check["ok"]] == ["pyarrow", "tqdm"]
    assert checks["tqdm"]["found"] == "not installed"
    assert checks["tqdm"]["action"] == f"Install tqdm>=4.67: {sys.executable} -m pip install 'tqdm>=4.67'"
    assert checks["pyarrow"]["found"] == "1.0"


def test_in_the_repository_they_are_installed_by_make(initialised, capsys, lacking):
    for name in ("Makefile", "requirements.lock"):
        (initialised / name).touch()
    assert examined(capsys)[1]["tqdm"]["action"] == "Install tqdm>=4.67: make setup"


def test_a_typo_in_params_is_a_check_that_fails_and_the_others_go_on(initialised, capsys):
    path = initialised / "params.yaml"
    path.write_text(path.read_text() + "modells: {}\n")
    status, checks = examined(capsys)
    assert status == 1
    assert [name for name, check in checks.items() if not check["ok"]] == ["params.yaml"]
    assert "modells: unknown key, did you mean models?" in checks["params.yaml"]["found"]

"""`headstart doctor`: what has to be mended is said with a command that works in this workspace."""

import http.server
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

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


def test_a_library_on_which_schedules_never_fire_is_named_with_what_happens(initialised, capsys, monkeypatch):
    installed = command.version
    monkeypatch.setattr(command, "version", lambda name: "2.1.9" if name.lower() == "sqlalchemy" else installed(name))
    check = examined(capsys)[1]["sqlalchemy"]
    assert (check["ok"], check["found"]) == (False, "2.1.9")
    assert check["action"].startswith("With a newer one Prefect's scheduler fails each time, and no scheduled run")


class Prefect(http.server.BaseHTTPRequestHandler):
    """What `doctor` asks a Prefect server, answered from `deployments` and `runs`."""

    deployments: ClassVar[list[dict[str, Any]]] = []
    runs: ClassVar[list[dict[str, Any]]] = []
    wanted: ClassVar[str | None] = None  # in the header Authorization

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.wanted and self.headers["Authorization"] != self.wanted:
            self.send_response(401)
            self.end_headers()
        elif self.path == "/api/deployments/filter":
            self.answer([one for one in self.deployments if one["name"] in asked["deployments"]["name"]["any_"]])
        else:
            wanted = asked["flow_runs"]["deployment_id"]["any_"]
            after = asked["flow_runs"]["expected_start_time"]["after_"]
            found = [run for run in self.runs if run["deployment_id"] in wanted and run["expected_start_time"] > after]
            self.answer(found)

    def answer(self, document: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def prefect(initialised: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Prefect]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prefect) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{there.server_port}/api")
        Prefect.deployments = [
            {"id": name, "name": name, "paused": False, "status": "READY"} for name in ("training", "monitoring")
        ]
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        Prefect.runs = [{"deployment_id": name, "expected_start_time": soon} for name in ("training", "monitoring")]
        Prefect.wanted = None
        yield Prefect
        there.shutdown()


def test_the_next_run_of_each_flow_is_named(prefect, capsys):
    status, checks = examined(capsys)
    assert status == 0
    assert checks["schedule training"]["found"] == f"next run {prefect.runs[0]['expected_start_time']}"
    assert checks["schedule monitoring"]["ok"]


def test_a_schedule_that_is_on_and_has_no_run_to_come_is_to_be_mended(prefect, capsys):
    prefect.runs = []
    status, checks = examined(capsys)
    assert status == 1
    assert checks["schedule training"]["found"] == "is served, and the server has scheduled no run"
    assert "`sqlalchemy` and `fastapi` above must be ok" in checks["schedule training"]["action"]


def test_the_password_of_a_prefect_server_is_sent_and_a_wrong_one_names_the_setting(prefect, capsys, monkeypatch):
    prefect.wanted = "Basic bWU6cmlnaHQ="  # echo -n me:right | base64
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:wrong")
    check = examined(capsys)[1]["schedule training"]
    assert not check["ok"] and check["action"].startswith("Set PREFECT_API_AUTH_STRING to USER:PASSWORD")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:right")
    assert examined(capsys)[1]["schedule training"]["ok"]


def test_flows_that_are_not_served_may_be_meant_so_and_the_way_to_serve_them_is_said(prefect, capsys):
    prefect.deployments[0]["paused"] = True
    del prefect.deployments[1]
    status, checks = examined(capsys)
    assert status == 0
    assert checks["schedule training"]["found"].startswith("is paused: nothing starts by itself")
    assert checks["schedule monitoring"]["found"].startswith("is not served: nothing starts by itself")
    assert checks["schedule monitoring"]["found"].endswith(" -m pipelines.schedules")


def test_a_run_that_no_program_asks_for_is_no_schedule(prefect, capsys):
    prefect.deployments[0]["status"] = "NOT_READY"
    check = examined(capsys)[1]["schedule training"]
    assert (check["ok"], check["found"].endswith("and no program asks for it")) == (False, True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "nonsense", "http://[::1/api"])
def test_a_prefect_server_that_does_not_answer_is_a_check_that_fails(initialised, capsys, monkeypatch, url):
    monkeypatch.setenv("PREFECT_API_URL", url)
    status, checks = examined(capsys)
    assert status == 1
    assert "python -m pipelines.server" in checks["prefect"]["action"]
    assert "schedule training" not in checks


def test_doctor_prints_no_password(initialised, capsys, monkeypatch):
    for name, value in {
        "PREFECT_API_URL": "http://me:hunter2@127.0.0.1:9/api", "PREFECT_API_AUTH_STRING": "me:hunter2",
        "MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:9", "MLFLOW_TRACKING_PASSWORD": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2", "HEADSTART_JOURNAL_KEY": "hunter2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for as_json in (True, False):
        command.doctor(as_json=as_json)
    assert "hunter2" not in str(capsys.readouterr())


@pytest.fixture
def champion(
    initialised: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder that is served as champion of `pets`, a model of this workspace."""
    import mlflow

    from headstart import registry, tracking
    from headstart.settings import Workspace
    from tests.unit.tiny_bundle import text_bundle

    document = yaml.safe_load((initialised / "params.yaml").read_text())
    backbone = next(name for name, one in document["backbones"].items() if one["modality"] == "text")
    document["models"] = {"pets": {"modality": "text", "backbone": backbone, "data": {"source": "pets.csv"}}}
    (initialised / "params.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace(initialised)
    workspace.state.mkdir()
    shutil.copy(empty_database, workspace.embedded_registry)
    tracking.open(workspace)
    run_id = tracking.log_run("pets", params={}, metrics={}, series={}, artifacts=[], tags={})
    bundle = text_bundle(tmp_path / "bundle")
    registry.promote(
        "pets",
        registry.register("pets", bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={}),
    )
    yield registry.download("pets")
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


def test_the_copy_that_is_served_is_compared_with_what_was_registered(champion, capsys, tmp_path):
    from tests.unit.tiny_bundle import text_bundle

    found = examined(capsys)[1]["champion pets"]["found"]
    assert found.startswith("Version 1 is champion. The registered copy of version 1 is the bundle ")
    assert "Of 3 golden examples 0 get another label" in found
    model = (champion / "model.onnx").read_bytes()
    (champion / "model.onnx").write_bytes(b"")
    assert "model.onnx" in examined(capsys)[1]["champion pets"]["found"]
    (champion / "model.onnx").write_bytes(model)
    assert examined(capsys)[1]["champion pets"]["ok"]
    other = text_bundle(tmp_path / "other", temperature=2.0)  # whole, and sealed by a manifest of its own
    shutil.rmtree(champion)
    shutil.copytree(other, champion)
    status, checks = examined(capsys)
    assert status == 1
    assert "holds another bundle than the one registered" in checks["champion pets"]["found"]
    shutil.rmtree(champion)
    check = examined(capsys)[1]["champion pets"]
    assert (check["ok"], str(champion) in check["found"]) == (False, True)


def test_a_champion_whose_version_was_deleted_is_a_check_that_fails(champion, capsys):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect("state/mlflow.db")) as database, database:
        database.execute("UPDATE model_versions SET current_stage = 'Deleted_Internal'")
    status, checks = examined(capsys)
    assert status == 1
    assert not checks["champion pets"]["ok"]
    assert checks["python"]["ok"]


def test_a_check_that_fails_itself_is_a_finding_and_the_others_go_on(champion, capsys, monkeypatch):
    from headstart.serving import inspection

    monkeypatch.setattr(inspection, "inspect", lambda *_, **__: 1 / 0)
    status, checks = examined(capsys)
    assert (status, checks["champion pets"]["found"]) == (1, "ZeroDivisionError: division by zero")
    assert checks["disk"]["ok"]

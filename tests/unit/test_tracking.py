"""Runs are recorded where the workspace says, and whole."""

import contextlib
import http.server
import logging
import os
import shutil
import sqlite3
import threading

import mlflow
import pytest

from headstart import tracking
from headstart.errors import OutsideError
from headstart.settings import Workspace


def log(**changes):
    given = {"params": {}, "metrics": {}, "series": {}, "artifacts": [], "tags": {}}
    return tracking.log_run("pets", **{**given, **changes})


def run(run_id):
    return mlflow.MlflowClient().get_run(run_id)


def test_a_run_is_finished_and_bears_the_model_name(tracked):
    found = run(log(tags={"git_commit": "abc"}))
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "pets"
    assert {"model": "pets", "git_commit": "abc"}.items() <= found.data.tags.items()


def test_nested_params_are_flattened_with_dots(tracked):
    found = run(log(params={"train": {"seed": 1, "rates": [0.1, 0.2]}, "backbone": "minilm"}))
    assert found.data.params == {"train.seed": "1", "train.rates": "[0.1, 0.2]", "backbone": "minilm"}


def test_more_params_than_one_call_takes_are_all_recorded(tracked):
    found = run(log(params={f"p{number}": number for number in range(250)}))
    assert len(found.data.params) == 250


def test_an_interval_becomes_three_metrics(tracked):
    found = run(log(metrics={"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}, "nll": 0.3}))
    assert found.data.metrics == {"accuracy": 0.9, "accuracy/low": 0.8, "accuracy/high": 0.95, "nll": 0.3}


def test_a_curve_keeps_its_steps(tracked):
    run_id = log(series={"validation/loss": [(1, 0.7), (2, 0.4)]})
    history = mlflow.MlflowClient().get_metric_history(run_id, "validation/loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.4)]


def test_files_and_folders_are_kept_inside_the_workspace(tracked, tmp_path):
    page, folder = tmp_path / "report.html", tmp_path / "plots"
    page.write_text("page")
    folder.mkdir()
    (folder / "curve.svg").write_text("curve")
    run_id = log(artifacts=[page, folder])
    kept = {path.relative_to(tracked.tracking_artifacts).as_posix() for path in tracked.tracking_artifacts.rglob("*.*")}
    assert kept == {f"{run_id}/artifacts/report.html", f"{run_id}/artifacts/plots/curve.svg"}


def test_a_run_that_mlflow_refuses_is_marked_failed_and_the_reason_is_told(tracked):
    with pytest.raises(OutsideError, match=r"MLflow did not take the run of pets: .*bad\*name"):
        log(metrics={"bad*name": 1.0})
    experiment = mlflow.MlflowClient().get_experiment_by_name("headstart")
    newest, *_ = mlflow.MlflowClient().search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert newest.info.status == "FAILED"


def test_a_server_whose_bucket_is_missing_is_one_sentence_naming_the_setting(tracked, tmp_path, monkeypatch):
    def refuses(*arguments):  # what MLflow says after four minutes of trying, its bucket being absent
        address = "http://mlflow:5000/api/2.0/mlflow-artifacts/artifacts/1/a/artifacts/report.html"
        raise mlflow.MlflowException(f"API request to {address} failed: too many 500 error responses")

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", refuses)
    (tmp_path / "report.html").write_text("page")
    with pytest.raises(OutsideError, match=r"took the run of pets and not its files: .*--artifacts-destination"):
        log(artifacts=[tmp_path / "report.html"])


def test_opening_twice_changes_nothing(tracked):
    before = mlflow.MlflowClient().search_experiments()
    tracking.open(tracked)
    assert [each.experiment_id for each in mlflow.MlflowClient().search_experiments()] == [
        each.experiment_id for each in before
    ]


def test_opening_switches_telemetry_off(tracked):
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_server_that_does_not_answer_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(OutsideError, match=r"http://127\.0\.0\.1:9 does not answer.*MLFLOW_TRACKING_URI"):
        tracking.open(Workspace(tmp_path))


def test_a_password_in_a_servers_address_is_refused_with_the_settings_it_belongs_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(OutsideError, match=r"holds a user .*MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        tracking.open(Workspace(tmp_path))


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:hunter2@127.0.0.1:9", "http://me:hunter2@127.0.0.1", "http://me:hunter2@127.0.0.1:port",
        "http://me:hun/ter2@127.0.0.1:9", "postgresql://me:hunter2@127.0.0.1:9/runs", "postgresql://me:hunter2@:x/runs",
        "postgresql://127.0.0.1:9/runs?user=me&password=hunter2&connect_timeout=1", "mysql+nodriver://me:hunter2@127.0.0.1",
    ],
)  # fmt: skip
def test_no_sentence_or_log_about_an_address_holds_its_password(tmp_path, monkeypatch, caplog, capfd, uri):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(OutsideError) as refusal:
        tracking.open(Workspace(tmp_path))
    said = f"{refusal.value} {tracking.shown(uri)} {caplog.text} {capfd.readouterr()}"
    assert "hunter2" not in said
    assert "ter2" not in said


def answering(status, body):
    """A server whose health is good and which answers everything else the same."""

    class Stub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)


class Registry(http.server.BaseHTTPRequestHandler):
    """A server without any experiment, which notes what is asked of it."""

    def do_GET(self):
        self.server.asked.append(f"GET {self.path.partition('?')[0]}")
        missing = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}'
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(b"OK" if self.path == "/health" else missing)

    def do_POST(self):
        self.server.asked.append(f"POST {self.path}")
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"Permission denied")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def without_experiment(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_who_only_reads_makes_nothing_on_a_server(without_experiment, tmp_path):
    tracking.open(Workspace(tmp_path))
    assert without_experiment.asked == ["GET /health", "GET /api/2.0/mlflow/experiments/get-by-name"]


def test_who_writes_makes_the_experiment_on_a_server(without_experiment, tmp_path):
    with pytest.raises(OutsideError, match="this account may not do that"):
        tracking.open(Workspace(tmp_path), writing=True)
    assert without_experiment.asked[-1] == "POST /api/2.0/mlflow/experiments/create"


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        pytest.param(
            401, b"You are not authenticated.", r"does not accept this user and password\. Set "
            r"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD", id="a wrong password",
        ),
        pytest.param(403, b"Permission denied", "MLFLOW_TRACKING_USERNAME", id="an account that may not"),
        pytest.param(403, b"Invalid Host header - possible DNS", "--allowed-hosts", id="a host that is not allowed"),
    ],
)  # fmt: skip
def test_a_server_that_refuses_is_one_sentence_naming_the_setting(tmp_path, monkeypatch, status, body, sentence):
    with answering(status, body) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(OutsideError, match=sentence) as refusal:
            tracking.open(Workspace(tmp_path))
        server.shutdown()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("postgresql+psycopg2://me:secret@127.0.0.1:9/mlflow", r"me:\*\*\*@127\.0\.0\.1:9/mlflow cannot .*refused"),
        ("postgresql+nodriver://me:secret@127.0.0.1:9/mlflow", "is no address that MLflow can use"),
        ("postgresql+pg8000://me:secret@127.0.0.1:9/mlflow", "needs the Python package pg8000"),
    ],
)  # fmt: skip
def test_a_database_server_that_cannot_be_used_is_one_sentence_at_once(tmp_path, monkeypatch, uri, sentence):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(OutsideError, match=sentence) as refusal:
        tracking.open(Workspace(tmp_path))
    assert "MLFLOW_TRACKING_URI" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_schema_of_another_mlflow_is_named_with_what_to_do(empty_database, tmp_path, monkeypatch):
    copy = shutil.copy(empty_database, tmp_path / "mlflow.db")
    with contextlib.closing(sqlite3.connect(copy)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'feedfacefeed'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy}")
    with pytest.raises(
        OutsideError, match=r"has schema feedfacefeed, and the MLflow installed here needs .*db upgrade"
    ):
        tracking.open(Workspace(tmp_path))


def test_a_server_that_is_not_mlflow_is_told_apart(tmp_path, monkeypatch):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(OutsideError, match="HTTP Error 404"):
            tracking.open(Workspace(tmp_path))
        server.shutdown()

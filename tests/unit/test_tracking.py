"""Runs are recorded where the workspace says, and whole."""

import http.server
import os
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


def test_opening_twice_changes_nothing(tracked):
    before = mlflow.MlflowClient().search_experiments()
    tracking.open(tracked)
    assert [each.experiment_id for each in mlflow.MlflowClient().search_experiments()] == [
        each.experiment_id for each in before
    ]


def test_opening_switches_telemetry_off(tracked):
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_server_that_does_not_answer_is_named_at_once_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(OutsideError, match=r"http://me:\*\*\*@127\.0\.0\.1:9 does not answer.*MLFLOW_TRACKING_URI"):
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

"""The same registry on a real MLflow server: files travel, and are fetched once."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import mlflow
import pytest

from headstart import registry, tracking
from headstart.errors import BundleError
from headstart.predictor import Predictor
from headstart.registry import ledger
from headstart.settings import Workspace
from tests.unit.tiny_bundle import text_bundle

pytestmark = pytest.mark.slow


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urlopen(f"{address}/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def served(empty_database, tmp_path_factory):
    """A workspace whose runs and registry are a server's."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files"),
        "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ)
    try:
        wait_until_ready(server, address)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MLFLOW_TRACKING_URI", address)
            workspace = Workspace(tmp_path_factory.mktemp("served"))
            tracking.open(workspace, writing=True)
            yield workspace
            mlflow.set_tracking_uri("")
            mlflow.set_registry_uri("")
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_a_version_goes_to_the_server_and_comes_back_once(served, tmp_path, capsys, monkeypatch):
    run_id = tracking.log_run("texts", params={"a": 1}, metrics={"accuracy": 0.9}, series={}, artifacts=[], tags={})
    bundle = text_bundle(tmp_path / "bundle")
    registry.promote(
        "texts",
        registry.register("texts", bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={}),
    )
    fetched = registry.download("texts", cache=tmp_path / "cache")
    assert Predictor.load(fetched).predict(["good"])[0].label == "positive"
    assert sorted(path.name for path in fetched.iterdir()) == sorted(path.name for path in bundle.iterdir())
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", None)  # a second fetch would fail
    assert registry.download("texts", 1, cache=tmp_path / "cache") == fetched
    assert list((tmp_path / "cache" / "texts").iterdir()) == [fetched]
    assert capsys.readouterr().out == ""


def test_a_server_keeps_the_ledger(served, tmp_path):
    run_id = tracking.log_run("kept", params={}, metrics={}, series={}, artifacts=[], tags={})
    finding = {"check": "accuracy", "verdict": "pass", "statistic": 0.9, "bar": 0.8, "reason": "It is.", "evidence": {}}
    bundle = text_bundle(tmp_path / "bundle")
    registry.register(
        "kept", bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={}, findings=[finding]
    )
    registry.promote("kept", reason="w" * 20_000)
    found = ledger.read("kept")
    assert [entry.event for entry in found.entries] == ["opened", "registered", "judged", "promoted"]
    assert found.problems == []
    judged = found.entries[2].details
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/{judged['evidence']['findings.json']['path']}") == [finding]


def test_a_damaged_copy_in_the_cache_is_fetched_again_and_a_damaged_original_refused(served, tmp_path):
    run_id = tracking.log_run("damaged", params={}, metrics={}, series={}, artifacts=[], tags={})
    bundle = text_bundle(tmp_path / "bundle")
    number = registry.register("damaged", bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})
    fetched = registry.download("damaged", number, cache=tmp_path / "cache")
    (fetched / "model.onnx").write_bytes(b"damaged")
    assert registry.download("damaged", number, cache=tmp_path / "cache") == fetched
    assert Predictor.load(fetched).predict(["good"])[0].label == "positive"
    tag = mlflow.MlflowClient()
    tag.set_model_version_tag("damaged", str(number), "bundle", "0" * 64)
    with pytest.raises(BundleError, match=r"damaged version 1: .*holds another bundle than the one registered"):
        registry.download("damaged", number, cache=tmp_path / "cache")


def test_a_server_keeps_no_file_in_the_workspace(served):
    assert not list(served.root.iterdir())

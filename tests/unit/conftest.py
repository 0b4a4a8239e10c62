"""What unit tests share: workspaces whose MLflow database is copied from one made once (making one takes seconds)."""

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart import tracking
from headstart.settings import Workspace


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """No unit test asks the Prefect server of the tests of flows: a promotion that looks for approvals takes 2 s."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PREFECT_API_URL", raising=False)
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing of ours in them."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow about its own type hints and mappings, once a process
        import mlflow.pyfunc

        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def tracked(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose runs and registry are open; a module's tests share it, so each takes a model of its own."""
    import mlflow

    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        workspace = Workspace(tmp_path_factory.mktemp("tracked"))
        workspace.state.mkdir()
        shutil.copy(empty_database, workspace.state / "mlflow.db")
        tracking.open(workspace)
        yield workspace
        mlflow.set_tracking_uri("")
        mlflow.set_registry_uri("")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `headstart init` makes; not to be changed."""
    from headstart.cli.init import init

    init(folder := tmp_path_factory.mktemp("fresh") / "ws", as_json=True)
    return folder


@pytest.fixture
def initialised(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in, to be changed at will."""
    shutil.copytree(fresh, tmp_path / "ws")
    monkeypatch.chdir(tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, as on every machine; torch is left as it was."""
    import torch

    monkeypatch.setenv("HEADSTART_THREADS", "1")
    yield
    torch.use_deterministic_algorithms(False)

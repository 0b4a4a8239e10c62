"""The door to MLflow's runs: where they are kept, and one call that records one.

The registry (`headstart.registry`) stands on what `open` set up.
"""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from headstart.errors import OutsideError
from headstart.settings import Workspace, hush

EXPERIMENT = "headstart"
PATIENCE_S = 5.0
LONGEST_VALUE = 6000  # MLflow refuses longer parameter values
BATCH = 100  # MLflow takes at most this many parameters or tags in one call, and 1,000 metrics


def open(workspace: Workspace) -> None:
    """Point MLflow at the workspace's runs and registry; makes the database and the experiment the first time.

    The first call in a workspace takes about two seconds (it creates tables), later ones a tenth of one. Telemetry is
    switched off before MLflow is imported.

    Raises:
        OutsideError: if the server that `MLFLOW_TRACKING_URI` names does not answer, or the database cannot be used.
    """
    hush()
    uri = workspace.tracking_uri
    if urlsplit(uri).scheme in ("http", "https"):
        _knock(uri)
        _use(uri, artifacts=None)
        return
    from filelock import FileLock

    workspace.state.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.state / "mlflow.lock"):  # two processes may not both create the tables
        _use(uri, artifacts=workspace.tracking_artifacts)


def log_run(
    model: str,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    series: Mapping[str, Sequence[tuple[int, float]]],
    artifacts: Sequence[Path],
    tags: Mapping[str, str],
) -> str:
    """Record a finished run, and return its id.

    Args:
        model: the run's name, and its tag `model`.
        params: nested mappings are flattened: `{"train": {"seed": 1}}` becomes `train.seed`.
        metrics: a number, or an interval's document {`value`, `low`, `high`}, which becomes `accuracy`,
            `accuracy/low` and `accuracy/high`.
        series: curves: name to (step, value).
        artifacts: files and folders to keep with the run.
        tags: anything else to find the run by.

    Raises:
        OutsideError: if MLflow does not take it; the run is then marked FAILED where that is still possible.
    """
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in _numbers(metrics)]
    points += [Metric(name, float(value), now, step) for name, curve in series.items() for step, value in curve]
    values = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in _flat(params)]
    labels = [RunTag(name, str(value)) for name, value in {"model": model, **tags}.items()]
    client = MlflowClient()
    run_id = None
    try:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        run_id = str(client.create_run(experiment.experiment_id, run_name=model).info.run_id)
        for start in range(0, max(len(values), len(labels), 1), BATCH):
            client.log_batch(
                run_id, params=values[start : start + BATCH], tags=labels[start : start + BATCH], synchronous=True
            )
        for start in range(0, len(points), 10 * BATCH):
            client.log_batch(run_id, metrics=points[start : start + 10 * BATCH], synchronous=True)
        for path in artifacts:
            if path.is_dir():
                client.log_artifacts(run_id, str(path), artifact_path=path.name)
            else:
                client.log_artifact(run_id, str(path))
        with contextlib.redirect_stdout(sys.stderr):  # a server's address is printed here
            client.set_terminated(run_id)
    except MlflowException as error:
        if run_id is not None:
            client.set_terminated(run_id, status="FAILED")
        raise OutsideError(
            f"MLflow did not take the run of {model}: {error.message}",
            action="See `headstart doctor` for the tracking address, then run again; nothing else was lost.",
        ) from error
    return run_id


def _use(uri: str, *, artifacts: Path | None) -> None:
    """Set the address for this process and make sure that the experiment is there."""
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri() if artifacts else None)
        mlflow.set_experiment(EXPERIMENT)
    except MlflowException as error:
        raise OutsideError(
            f"MLflow at {shown(uri)} cannot be used: {error.message}",
            action="Check MLFLOW_TRACKING_URI; unset it to use the embedded database of this workspace.",
        ) from error


def _knock(uri: str) -> None:
    """Ask a server's health first: MLflow itself would retry an absent one for minutes."""
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE_S):
            return
    except (URLError, OSError) as error:
        raise OutsideError(
            f"the MLflow server at {shown(uri)} does not answer: {error}.",
            action="Start it, correct MLFLOW_TRACKING_URI, or unset it to use this workspace's embedded database.",
        ) from error


def shown(uri: str) -> str:
    """An address as it may be printed: without its password."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")).geturl()


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found.append((name, float(value["value"])))
            found += [(f"{name}/{end}", float(value[end])) for end in ("low", "high") if end in value]
        else:
            found.append((name, float(value)))
    return found


def _flat(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in params.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found

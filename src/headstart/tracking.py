"""The door to MLflow's runs: where they are kept, and one call that records one.

The registry (`headstart.registry`) stands on what `open` set up.
"""

import contextlib
import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from headstart.errors import OutsideError
from headstart.settings import Workspace, disable_telemetry, is_writable, read_only, require_writable, sqlite_file

logger = logging.getLogger("headstart.tracking")
PLACES = (  # where MLflow's tables name folders of an embedded registry, as file:// addresses
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
SCHEMA = re.compile(r"database schema \(found version (\w+), but expected (\w+)\)")
EXPERIMENT = "headstart"
PATIENCE_S = 5.0
DATABASES = ("postgresql", "mysql", "mssql")
BUSY_S = 20.0  # as long as MLflow itself waits for a database that is being written
LONGEST_VALUE = 6000  # MLflow refuses longer parameter values
BATCH = 100  # MLflow takes at most this many parameters or tags in one call, and 1,000 metrics


def open(workspace: Workspace, *, writing: bool = False) -> None:
    """Point MLflow at the workspace's runs and registry; makes the database and the experiment the first time.

    On a server the experiment is made by who writes: MLflow lets whoever makes one manage it, and readers need none.

    The first call in a workspace takes about two seconds (it creates tables), later ones a tenth of one. Telemetry is
    switched off before MLflow is imported. An SQLite file that cannot be written is opened to be read only. Where the
    workspace was moved or copied, its own database is told once where its files are now.

    Args:
        workspace: whose runs and registry.
        writing: whether the caller is going to change something.

    Raises:
        OutsideError: if the server that `MLFLOW_TRACKING_URI` names does not answer, the database cannot be used, or
            it cannot be written and the caller has to, or nothing is there to read; or if a server's address holds a
            user or a password.
    """
    disable_telemetry()
    uri = workspace.tracking_uri
    if urlsplit(uri).scheme in ("http", "https"):
        _knock(uri)
        _use(uri, artifacts=None, create=writing)
        return
    file = sqlite_file(uri)
    places = [workspace.state] if file is None else [file, file.parent, workspace.state]
    if file:
        _probe(file)
    elif urlsplit(uri).scheme.partition("+")[0] in DATABASES:
        _dial(uri)
    if not all(is_writable(place) for place in places):
        if writing:
            for place in places:
                require_writable(place, "the registry is to be changed")
        _open_read_only(uri, file)
        return
    from filelock import FileLock

    workspace.state.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.state / "mlflow.lock"):  # two processes may not both create the tables
        if file == workspace.embedded_registry:
            _relocate(file, workspace.tracking_artifacts.as_uri())
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
        if "/mlflow-artifacts/" in str(error.message):
            raise OutsideError(
                f"MLflow took the run of {model} and not its files: {error.message}",
                action="Its log names the reason: check that the bucket of its --artifacts-destination is there, "
                "and its keys. Then run again; nothing else was lost.",
            ) from error
        raise OutsideError(
            f"MLflow did not take the run of {model}: {error.message}",
            action="See `headstart doctor` for the tracking address, then run again; nothing else was lost.",
        ) from error
    return run_id


def _probe(file: Path) -> None:
    """Refuse a file that is no database or cannot be read: MLflow itself would try again for two minutes."""
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise OutsideError(
            f"the registry {file} cannot be read: {error}.",
            action="Restore it from a copy. Without one, move it away: `headstart run` then makes a new registry.",
        ) from error


def _dial(uri: str) -> None:
    """Refuse a database server that cannot be used: MLflow itself would try again for two minutes."""
    try:
        import sqlalchemy

        engine = sqlalchemy.create_engine(uri)
    except ImportError as error:  # where only serving is installed, or the driver is not
        raise OutsideError(
            f"{shown(uri)} needs the Python package {error.name}, which is not installed.",
            action="Install it, or let MLFLOW_TRACKING_URI name an MLflow server (http://...).",
        ) from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:  # a port that is no number
        raise OutsideError(
            f"MLFLOW_TRACKING_URI is no address that MLflow can use: {shown(uri)}.",
            action="Write it like http://HOST:5000, or postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE.",
        ) from error
    try:
        engine.connect().close()
    except sqlalchemy.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise OutsideError(
            f"the database at {shown(uri)} cannot be used: {reason}.",
            action="Start it, or correct the user, password, host or database in MLFLOW_TRACKING_URI.",
        ) from error
    finally:
        engine.dispose()


def _open_read_only(uri: str, file: Path | None) -> None:
    if file is None:  # a database server: what cannot be written is the workspace alone
        _use(uri, artifacts=None, create=False)
        return
    if not file.is_file():
        raise OutsideError(
            f"there is no registry at {file} yet, and none can be made there: the folder cannot be written.",
            action="Make it writable and run `headstart run`, or set MLFLOW_TRACKING_URI.",
        )
    _use(read_only(file), artifacts=None, create=False)


def _relocate(file: Path, here: str) -> None:
    """Replace the folder that an embedded database names by `here`, where the workspace was moved or copied."""
    if not file.is_file():
        return
    with contextlib.closing(sqlite3.connect(file, timeout=BUSY_S)) as database, database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        question = "SELECT artifact_location FROM experiments WHERE name = ?"
        [there] = database.execute(question, (EXPERIMENT,)).fetchone() or [here]
        if there == here or not there.startswith("file://"):
            return
        for table, column in PLACES:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(there) + 1, there, len(there) + 1, f"{there}/"),
            )
    logger.warning("the registry follows the workspace, which was moved or copied: from %s to %s", there, here)


def _use(uri: str, *, artifacts: Path | None, create: bool = True) -> None:
    """Set the address for this process alone; make the experiment where it is missing and the caller may."""
    import mlflow
    from mlflow.exceptions import MlflowException

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and children would take it for the user's
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before
    if not create and urlsplit(uri).scheme not in ("http", "https"):
        return
    try:
        client = mlflow.MlflowClient()
        found = client.get_experiment_by_name(EXPERIMENT)  # where a server refuses the account, it says so here
        if not create:
            return
        if found is None:
            client.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri() if artifacts else None)
        mlflow.set_experiment(EXPERIMENT)
    except MlflowException as error:
        reason, action = _told(error)
        raise OutsideError(f"MLflow at {shown(uri)} cannot be used: {reason}", action=action) from error


def _told(error: Any) -> tuple[str, str]:
    """Why MLflow cannot be used, in a sentence, and which setting to change."""
    said = str(error.message)
    if error.error_code == "UNAUTHENTICATED":
        reason = "it does not accept this user and password."
        return reason, "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of that server."
    if "Invalid Host header" in said:
        reason = "it refuses requests for this host name."
        return reason, "Add it to the server's --allowed-hosts, or let MLFLOW_TRACKING_URI name it as that list does."
    if error.error_code == "PERMISSION_DENIED":
        reason = f"this account may not do that. It said: {said}"
        return reason, "Give the account permission, or set MLFLOW_TRACKING_USERNAME to another one."
    if versions := SCHEMA.search(said):
        found, expected = versions.groups()
        reason = f"its database has schema {found}, and the MLflow installed here needs {expected}."
        return reason, (
            "If the schema is the older one, stop every server and run that uses it and run `mlflow db upgrade` with "
            "the database's address (MLFLOW_TRACKING_URI here); if it is newer, install the MLflow that upgraded it."
        )
    return said, "Check MLFLOW_TRACKING_URI; unset it to use the embedded database of this workspace."


def _knock(uri: str) -> None:
    """Ask a server's health first: MLflow itself would retry an absent one for minutes."""
    if "@" in uri:  # MLflow's own errors and its links to runs would repeat it
        raise OutsideError(
            "MLFLOW_TRACKING_URI holds a user or a password.",
            action="Write the address without them, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE_S):
            return
    except (URLError, OSError, HTTPException) as error:
        raise OutsideError(
            f"the MLflow server at {shown(uri)} does not answer: {error}.",
            action="Start it, correct MLFLOW_TRACKING_URI, or unset it to use this workspace's embedded database.",
        ) from error


def shown(uri: str) -> str:
    """An address as it may be printed: without its password, before the host or in a database's options."""
    hidden = re.sub(r"(?<=://)([^/@\s:]*):\S*@", r"\1:***@", uri)
    return re.sub(r"(?i)([?&][a-z_]*(?:password|passwd|token|secret)[a-z_]*=)[^&#\s]*", r"\1***", hidden)


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

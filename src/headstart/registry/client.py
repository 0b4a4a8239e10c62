"""Speaking to the registry: an address is required, refusals become sentences, standard output stays clean."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart import settings
from headstart.determinism import digest
from headstart.errors import OutsideError

CHAMPION, CHALLENGER = "champion", "challenger"
PROVISIONAL = "provisional"  # value of a version's tag `promoted`
PATIENCE_S = 60.0  # a promotion takes seconds, most of them to fetch the bundle


@contextlib.contextmanager
def speaking(model: str) -> Iterator[Any]:
    """An MLflow client to ask about `model`; what MLflow prints goes to standard error.

    Raises:
        OutsideError: if MLflow refuses or cannot be reached.
        RuntimeError: if `tracking.open` was not called: MLflow would make a database in the current folder.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    if not mlflow.tracking.is_tracking_uri_set():
        raise RuntimeError("headstart.tracking.open(workspace) comes first: the registry has no address yet")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield mlflow.MlflowClient()
    except MlflowException as error:
        raise OutsideError(
            f"the registry refused what was asked about {model}: {error.message}",
            action="See `headstart doctor` for its address and whether it answers.",
        ) from error


@contextlib.contextmanager
def exclusive(model: str) -> Iterator[None]:
    """Let no other process of this machine move an alias of `model` or record something; a second block nests.

    The lock of an embedded registry lies beside its database. A server has none to give: processes of one account on
    one machine take turns, others do not.

    Raises:
        OutsideError: if another process does not let go of it.
    """
    import mlflow
    from filelock import FileLock, Timeout

    database = settings.sqlite_file(mlflow.get_registry_uri())
    if database:
        path = database.with_name(f"registry-{model}.lock")
    else:
        name = f"headstart-{os.getuid()}-{digest(mlflow.get_registry_uri())[:16]}-{model}.lock"
        path = Path(tempfile.gettempdir()) / name
    try:
        lock = FileLock(path, is_singleton=True)
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise OutsideError(
            f"another command has been changing {model} for {PATIENCE_S:.0f} s: it holds {path}.",
            action="Wait until it ends, or end it; then try again.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def or_none(ask: Callable[[], Any]) -> Any:
    """What the registry answers, None where it has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def aliases_of(client: Any, model: str) -> dict[str, int]:
    """Every alias of a model as it stands in the registry; empty for a model that was never registered."""
    entry = or_none(lambda: client.get_registered_model(model))
    return {alias: int(version) for alias, version in entry.aliases.items()} if entry else {}


def retag(client: Any, model: str, version: int, tags: Mapping[str, str]) -> None:
    """Give a version these tags; those that have their value already are left alone, others of it too."""
    known = client.get_model_version(model, str(version)).tags
    for key, value in tags.items():
        if known.get(key, "") != value:
            client.set_model_version_tag(model, str(version), key, value)


def beside_database() -> str | None:
    """Where files of an embedded registry lie, as an address; None for a server, which decides itself."""
    import mlflow

    database = settings.sqlite_file(mlflow.get_registry_uri())
    return (database.parent / "mlflow").absolute().as_uri() if database else None


def location(client: Any, model: str, version: int) -> str:
    """Where a version's files are.

    An embedded registry on a disk that cannot be written may have been moved without being told; its models lie beside
    its database all the same (MLflow keeps them in `models/<id>/`).
    """
    import mlflow

    uri = str(client.get_model_version_download_uri(model, str(version)))
    database = settings.sqlite_file(mlflow.get_registry_uri())
    _, models, tail = uri.rpartition("/models/")
    if database and models and (beside := database.parent / "mlflow/models" / tail).is_dir():
        return beside.absolute().as_uri()
    return uri

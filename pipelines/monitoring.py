"""Flow `monitoring`: a window of each champion's journal against its profile; an alert that lasts starts training."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from headstart import artifacts, profile, registry, settings, tracking
from headstart.errors import GateError, HeadstartError, OutsideError, UsageError
from headstart.journal import deletion
from headstart.monitoring import evidently, retrain, watch
from headstart.params.loader import load
from headstart.params.workspace import Model
from pipelines import world
from pipelines.training import training


@flow(name="monitoring")
def monitoring(models: list[str] | None = None, now: str | None = None) -> dict[str, str]:
    """Watch some models or all; the verdict by model.

    Raises:
        GateError: if any window is an alert, after all the others have been looked at.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    params = load(workspace.params)
    end = moment(now)
    tracking.open(workspace)
    documents, refused = {}, dict[str, HeadstartError]()
    for name in models or list(params.models):
        try:
            documents[name] = look.with_options(task_run_name=f"look {name}")(name, params.models[name], end)
            show(name, documents[name])
            tidy.with_options(task_run_name=f"tidy {name}")(name, params.models[name], end)
        except HeadstartError as error:
            refused[name] = error
    for name in documents:
        if decide.with_options(task_run_name=f"decide {name}")(name, params.models[name], end):
            try:
                training([name])
            except OutsideError as error:  # it may pass: the next window tries again
                refused[name] = error
                continue
            except HeadstartError as error:
                refused[name] = error
            retrain.started(workspace.monitor(name) / "history.json", end)
    if refused:
        raise max(refused.values(), key=lambda error: error.exit_status)
    if alarmed := [name for name, document in documents.items() if document["verdict"] == "alert"]:
        raise GateError(f"alert: {', '.join(alarmed)}.", action="See the findings above, and the page they name.")
    return {name: document["verdict"] for name, document in documents.items()}


def moment(now: str | None) -> datetime:
    """The window's end.

    Raises:
        UsageError: if it is not ISO 8601 with an offset.
    """
    try:
        end = datetime.fromisoformat(now) if now else settings.now()
        if end.tzinfo is None:
            raise ValueError("it has no offset")
    except ValueError as error:
        raise UsageError(
            f"{now!r} is not a moment: {error}.", action="Write it like 2026-03-01T12:00:00+00:00."
        ) from None
    return end.astimezone(UTC).replace(second=0, microsecond=0)  # windows of a jittery schedule still touch


@task(name="look")
def look(name: str, model: Model, end: datetime) -> dict[str, Any]:
    """Compare one window with the champion's profile; write the verdict and the page people read.

    Pages are 4 MB each: those of alerts are kept, of the others the newest.
    """
    workspace = world.workspace()
    champion = registry.aliases(name).champion
    bundle = registry.download(name, champion or "champion")
    reference = profile.read(bundle)
    document, window = watch.watch(workspace.journal(name), reference, model.monitor, end, version=champion)
    folder = workspace.monitor(name)
    if document["window"]["rows"]:
        page = folder / (f"{end:%Y%m%dT%H%M%SZ}.html" if document["verdict"] == "alert" else "latest.html")
        evidently.report(name, reference, window, document, page)
        document["page"] = str(page)
    artifacts.write_json(folder / "latest.json", document)
    retrain.remember(folder / "history.json", document)
    return document


@task(name="tidy")
def tidy(name: str, model: Model, end: datetime) -> None:
    """Join past days of the journal, delete what was asked to be, and let raw inputs expire."""
    deletion.compact(world.workspace().journal(name), now=end, raw_days=model.journal.raw_days)


@task(name="decide")
def decide(name: str, model: Model, end: datetime) -> bool:
    """Whether the alert has lasted long enough, and the last retraining lies far enough back."""
    history = world.workspace().monitor(name) / "history.json"
    return retrain.due(history, model.retrain, end)


def show(name: str, document: dict[str, Any]) -> None:
    """The findings as a table in Prefect, and a link to the page."""
    key = name.replace("_", "-")
    create_table_artifact(
        key=f"monitor-{key}",
        table=[{column: row[column] for column in ("check", "verdict", "reason")} for row in document["findings"]],
        description=f"{name}: {document['verdict']}, {document['window']['rows']} answers",
    )
    if "page" in document:
        create_link_artifact(
            key=f"monitor-page-{key}", link=Path(document["page"]).as_uri(), link_text=f"{name}'s window"
        )

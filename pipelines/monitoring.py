"""Flow `monitoring`: a window of each model's journal against its profiles; an alert that lasts is acted on.

That is a cure where its remedy is one (`remedies.CURES`), and training where training is.

One model's failure stops that model and no other. A verdict is written before anything is drawn, told or decided, so
that no page and no training can cost it; how each look ended stands in `state/monitor/<model>/latest.json`.
"""

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed

from headstart import artifacts, registry, tracking
from headstart.cli import fresh
from headstart.errors import GateError, HeadstartError, OutsideError, ParamsError
from headstart.journal import deletion
from headstart.monitoring import evidently, references, remedies, retrain, watch, windows
from headstart.params.loader import load
from headstart.params.workspace import Model, Params
from headstart.report import monitor
from pipelines import world
from pipelines.remedies import NOT_SURE, remedy
from pipelines.training import training

FORMAT = 2  # of the numbers beside an alert's page
ALERT = "Alert"  # state of the flow where a window is one


@flow(name="monitoring")
def monitoring(models: list[str] | None = None, now: str | None = None) -> State[Any]:
    """Watch some models or all; the result is the verdict by model.

    A verdict is a result: the flow ends as Completed, or as Alert where any window is one.

    Raises:
        HeadstartError: the gravest failure of any model, after all the others have been looked at.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    params = load(workspace.params)
    asked = windows.moment(now)
    tracking.open(workspace)
    names = models or list(params.models)
    if unknown := set(names) - set(params.models):
        raise ParamsError(f"there is no model {min(unknown)!r} in params.yaml; it has {', '.join(params.models)}.")
    failures: dict[str, HeadstartError] = {}
    looks: dict[str, watch.Look] = {}
    documents: dict[str, dict[str, Any]] = {}
    charts: dict[str, str | None] = {}

    def attempt(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """A step for one model; also a bug is that model's result, and the other steps and models go on."""
        try:
            return step.with_options(task_run_name=f"{step.name} {name}")(name, *arguments)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001
            failures.setdefault(name, failed(name, error, asked, documents))
            return None

    for name in names:
        model = params.models[name]
        if (seen := attempt(name, look, model, asked)) is None:
            attempt(name, page, documents[name])
            continue
        looks[name], documents[name] = seen, seen.document
        charts[name] = attempt(name, draw, seen)
        for step in (page, tell, show):
            attempt(name, step, seen.document, *([charts[name]] if step is page else []))
        attempt(name, tidy, model, asked)
    for name, seen in looks.items():
        attempt(name, retraining, params, seen.document)
        if seen.document["verdict"] == "alert":  # its page says what was decided
            attempt(name, page, seen.document, charts[name])
    if failures:
        raise max(failures.values(), key=lambda error: error.exit_status)
    verdicts = {name: seen.document["verdict"] for name, seen in looks.items()}
    said = "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
    return Completed(name=ALERT if "alert" in verdicts.values() else "Completed", message=f"{said}.", data=verdicts)


@task(name="look", cache_policy=NO_CACHE)
def look(name: str, model: Model, asked: datetime) -> watch.Look:
    """Compare one window with what its versions were judged on; write the verdict, and remember it.

    Servers go on where the champion is taken away, and so does this: what they answered is judged all the same.

    Raises:
        UsageError: if nothing was asked, and there is no champion that could have answered.
    """
    champion = registry.aliases(name).champion

    workspace = world.workspace()
    known = references.of(name, registry)
    seen = watch.watch(workspace.journal(name), known, model.monitor, asked, champion=champion)
    window = seen.document["window"]
    if champion is None and not window["rows"] and not window["refused"]:
        registry.download(name)  # says what to do
    write(name, seen.document)
    retrain.remember(workspace.monitor(name) / "history.json", seen.document)
    return seen


@task(name="draw", cache_policy=NO_CACHE)
def draw(name: str, seen: watch.Look) -> str | None:
    """Charts of the window, 4 MB of HTML; of an alert their numbers are kept as JSON. None where there are none."""
    charts = numbers = None
    if seen.drawn is not None:
        window, reference = seen.drawn
        try:
            charts, numbers = evidently.charts(reference, window)
        except Exception as error:  # noqa: BLE001 - Evidently fails on windows nobody foresaw; the verdict stands without
            log(error)
            seen.document["page_error"] = f"Evidently failed with {type(error).__name__}: {error}"
    if seen.document["verdict"] == "alert":
        kept = {"format": FORMAT, "headstart": seen.document, "evidently": numbers}
        artifacts.write_json(dated(name, seen.document).with_suffix(".json"), kept)
    return charts


@task(name="page", cache_policy=NO_CACHE)
def page(name: str, document: dict[str, Any], charts: str | None = None) -> None:
    """The page that people read, `latest.html`; of an alert a dated copy is kept."""
    folder = world.workspace().monitor(name)
    looks = retrain.looks(folder / "history.json")
    html = monitor.render(name, document, looks=looks, charts=charts, no_charts=document.get("page_error", ""))
    path = folder / "latest.html"
    artifacts.write_text(path, html)
    if document["verdict"] == "alert":
        path = Path(shutil.copy(path, dated(name, document)))
    document["page"] = str(path)
    write(name, document)


@task(name="tell", cache_policy=NO_CACHE)
def tell(name: str, document: dict[str, Any]) -> None:
    """An event for each alert, which Prefect's automations can pass on to people."""
    if document["verdict"] == "alert":
        emit_event(
            "headstart.alert",
            resource={"prefect.resource.id": f"headstart.model.{name}"},
            payload={
                "verdict": document["verdict"],
                "causes": [entry["cause"] for entry in document["causes"]],
                "remedy": document["remedy"],
                "page": document.get("page"),
            },
        )


@task(name="show", cache_policy=NO_CACHE)
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


@task(name="tidy", cache_policy=NO_CACHE)
def tidy(name: str, model: Model, asked: datetime) -> None:
    """Join past days of the journal, delete what was asked to be, and let raw inputs expire."""
    deletion.compact(world.workspace().journal(name), now=asked, raw_days=model.journal.raw_days)


@task(name="retraining", cache_policy=NO_CACHE)
def retraining(name: str, params: Params, document: dict[str, Any]) -> State[Any]:
    """Cure or train where an alert has lasted and that is its remedy; say in any case what was decided.

    A cure needs nothing new, but an effect that is surely good; a training needs something new.

    Raises:
        HeadstartError: if one was started and failed, other than by a gate's verdict.
    """
    workspace = world.workspace()
    history = workspace.monitor(name) / "history.json"
    end = datetime.fromisoformat(document["window"]["end"])
    due, reason = retrain.due(history, params.models[name].retrain, end, document)
    if not due:
        return decided(name, document, started=False, reason=reason)
    if document["remedy"] in remedies.CURES:
        ended = remedy(name, document["remedy"], unattended=True, return_state=True)
        if ended.name == NOT_SURE:
            by_hand = f"headstart remedy {name} {document['remedy']}"
            told = f"{reason}, but it is left to a person ({by_hand}): {ended.message}"
            return decided(name, document, started=False, reason=told)
        return concluded(name, document, reason, ended, history, end)
    try:
        stale = fresh.stale_models(workspace, params, [name])
    except HeadstartError as refusal:
        return decided(name, document, started=False, reason=f"{reason}, but training cannot start: {refusal}")
    if not stale:
        return decided(name, document, started=False, reason=f"{reason}, but there is nothing new to train on.")
    ended = training([name], return_state=True)
    if ended.name == world.NOTHING_NEW:
        return decided(name, document, started=False, reason=f"{reason}, but there is nothing new to train on.")
    return concluded(name, document, reason, ended, history, end)


def concluded(
    name: str, document: dict[str, Any], reason: str, ended: State[Any], history: Path, end: datetime
) -> State[Any]:
    """Start the cooldown, unless what failed may pass, and say how a training or a cure ended."""
    what = "The cure" if document["remedy"] in remedies.CURES else "Training"
    outcome = ended.result(raise_on_failure=False)
    if not isinstance(outcome, OutsideError):  # that may pass: the next window tries again
        retrain.started(history, end)
    if isinstance(outcome, Exception) and not isinstance(outcome, GateError):
        decided(name, document, started=True, reason=f"{reason}. {what} failed: {outcome}")
        raise outcome
    said = outcome if isinstance(outcome, GateError) else ended.message or ended.name
    return decided(name, document, started=True, reason=f"{reason}. {what} ended: {said}")


def decided(name: str, document: dict[str, Any], *, started: bool, reason: str) -> State[Any]:
    """Write the decision into the document; the state says it in Prefect."""
    document["retraining"] = {"started": started, "reason": reason}
    write(name, document)
    return Completed(name="Trained" if started else "Not trained", message=f"{name}: {reason}")


def failed(name: str, error: Exception, asked: datetime, documents: dict[str, dict[str, Any]]) -> HeadstartError:
    """Leave word of a failure beside the verdict, or in its place where there is none; the refusal to end with."""
    log(error)
    if isinstance(error, HeadstartError):
        refusal = error
    else:
        refusal = HeadstartError(
            f"the monitor of {name} failed with {type(error).__name__}: {error}.",
            action="This is a bug in headstart; the traceback is in the log above.",
        )
    document = documents.setdefault(name, watch.not_looked(refusal, windows.whole_minute(asked)))
    document.setdefault("error", {"message": refusal.message, "action": refusal.action})
    try:
        write(name, document)
    except OSError as problem:  # the disk refuses; the flow ends with the failure itself
        log(problem)
    return refusal


def dated(name: str, document: dict[str, Any]) -> Path:
    """Where the page of an alert is kept."""
    end = datetime.fromisoformat(document["window"]["end"])
    return world.workspace().monitor(name) / f"{end:%Y%m%dT%H%M%SZ}.html"


def write(name: str, document: dict[str, Any]) -> None:
    """Keep the document as the model's latest."""
    artifacts.write_json(world.workspace().monitor(name) / "latest.json", document)


def log(error: Exception) -> None:
    """A bug's traceback, in Prefect and on standard error; a refusal is said by whoever asked."""
    if not isinstance(error, HeadstartError):
        text = "".join(traceback.format_exception(error))
        get_run_logger().error(text)
        print(text, file=sys.stderr)

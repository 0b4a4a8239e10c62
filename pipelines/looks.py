"""A look at each model's live traffic, step by step; an alert that lasts is acted on.

That is a cure where its remedy is one (`remedies.CURES`), and training where training is. The flow `monitoring` takes
these steps as Prefect tasks. Where no Prefect server is named, `python -m pipelines monitoring` takes them as they are:
a server of its own would take most of the time and be gone before anybody could look at it. Only what an alert starts
needs one.

One model's failure stops that model and no other. A verdict is written before anything is drawn, told or decided, so
that no page and no training can cost it; how each look ended stands in `state/monitor/<model>/latest.json`.
"""

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart import artifacts, registry, tracking
from headstart.errors import GateError, HeadstartError, OutsideError, ParamsError
from headstart.faults.table import CARRIED_OUT
from headstart.journal import deletion
from headstart.monitoring import evidently, references, retrain, watch, windows
from headstart.params.loader import load
from headstart.params.operation import Retrain
from headstart.params.workspace import Model, Params
from headstart.settings import Workspace
from pipelines import notify, rollouts, server
from pipelines.states import NOT_SURE, NOTHING_NEW

FORMAT = 2  # of the numbers beside an alert's page
Document = dict[str, Any]
Step = Callable[..., Any]


@dataclass(frozen=True)
class Decision:
    """Whether an alert started a training or a cure, and why (not), as a sentence without its full stop."""

    started: bool
    reason: str


def directly(step: Step, workspace: Workspace, name: str, *arguments: Any) -> Any:
    """Take a step for a model in this process."""
    return step(workspace, name, *arguments)


def watched(
    workspace: Workspace,
    models: Sequence[str] | None,
    now: str | None,
    *,
    charts: bool = False,
    take: Callable[..., Any] = directly,
    tell: Sequence[Step] = (),
) -> dict[str, str]:
    """Watch some models or all; the verdict by model.

    Args:
        workspace: of the models.
        models: their names; all of them when left out.
        now: the windows' end, ISO 8601 with an offset; the last whole minute when left out.
        charts: whether to draw charts of windows that did not alarm, too.
        take: how a step is taken for a model: called with the step, the workspace, the model's name, and the rest.
        tell: steps taken once there is a page, with the document.

    Raises:
        HeadstartError: the gravest failure of any model, after all the others have been looked at.
    """
    os.chdir(workspace.root)
    params = load(workspace.params)
    asked = windows.moment(now)
    names = models or list(params.models)
    if unknown := set(names) - set(params.models):
        raise ParamsError(f"there is no model {min(unknown)!r} in params.yaml; it has {', '.join(params.models)}.")
    tracking.open(workspace)
    failures: dict[str, HeadstartError] = {}
    looks: dict[str, watch.Look] = {}
    documents: dict[str, Document] = {}
    drawn: dict[str, str | None] = {}

    def attempt(name: str, step: Step, *arguments: Any) -> Any:
        """A step for one model; also a bug is that model's result, and the other steps and models go on."""
        try:
            return take(step, workspace, name, *arguments)
        except Exception as error:  # noqa: BLE001
            failures.setdefault(name, failed(workspace, name, error, asked, documents))
            return None

    for name in names:
        model = params.models[name]
        if (seen := attempt(name, look, model, asked)) is None:
            attempt(name, page, documents[name])
            attempt(name, notify.look, documents[name])
            continue
        looks[name], documents[name] = seen, seen.document
        drawn[name] = attempt(name, draw, seen, charts)
        attempt(name, page, seen.document, drawn[name])
        for step in tell:
            attempt(name, step, seen.document)
        attempt(name, notify.look, seen.document)
        attempt(name, tidy, model, asked)
    for name in names:
        if (rolled := attempt(name, rollouts.rollout, params.models[name])) is not None:
            documents[name]["rollout"] = rolled
            write(workspace, name, documents[name])
            attempt(name, notify.rolled, rolled)
    for name, seen in looks.items():
        attempt(name, retraining, params, seen.document)
        if seen.document["verdict"] == "alert" or seen.document["retraining"]["started"]:  # its page says so
            attempt(name, page, seen.document, drawn[name])
    if failures:
        raise max(failures.values(), key=lambda error: error.exit_status)
    return {name: seen.document["verdict"] for name, seen in looks.items()}


def said(verdicts: Mapping[str, str]) -> str:
    """The verdicts in one line."""
    return "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items()) + "."


def look(workspace: Workspace, name: str, model: Model, asked: datetime) -> watch.Look:
    """Compare one window with what its versions were judged on; write the verdict, and remember it.

    Servers go on where the champion is taken away, and so does this: what they answered is judged all the same.

    Raises:
        UsageError: if nothing was asked, and there is no champion that could have answered.
    """
    champion = registry.aliases(name).champion
    known = references.of(name, registry)
    seen = watch.watch(workspace.journal(name), known, model.monitor, asked, champion=champion)
    window = seen.document["window"]
    if champion is None and not window["rows"] and not window["refused"]:
        registry.download(name)  # says what to do
    write(workspace, name, seen.document)
    retrain.remember(workspace.monitor(name) / "history.json", seen.document)
    return seen


def draw(workspace: Workspace, name: str, seen: watch.Look, wanted: bool) -> str | None:
    """Charts of a window that alarmed, or of any where they are wanted: 4 MB of HTML, and seconds. None without.

    Of an alert the numbers in them are kept as JSON.
    """
    alert = seen.document["verdict"] == "alert"
    charts = numbers = None
    if seen.drawn is not None and (alert or wanted):
        window, reference = seen.drawn
        try:
            charts, numbers = evidently.charts(reference, window)
        except Exception as error:  # noqa: BLE001 - Evidently fails on windows nobody foresaw; the verdict stands without
            log(error)
            seen.document["page_error"] = f"Evidently failed with {type(error).__name__}: {error}"
    if alert:
        kept = {"format": FORMAT, "headstart": seen.document, "evidently": numbers}
        artifacts.write_json(dated(workspace, name, seen.document).with_suffix(".json"), kept)
    return charts


def page(workspace: Workspace, name: str, document: Document, charts: str | None = None) -> None:
    """The page that people read, `latest.html`; of an alert a dated copy is kept."""
    from headstart.report import monitor

    folder = workspace.monitor(name)
    looks = retrain.looks(folder / "history.json")
    html = monitor.render(name, document, looks=looks, charts=charts)
    path = folder / "latest.html"
    artifacts.write_text(path, html)
    if document["verdict"] == "alert":
        path = Path(shutil.copy(path, dated(workspace, name, document)))
    document["page"] = str(path)
    write(workspace, name, document)


def tidy(workspace: Workspace, name: str, model: Model, asked: datetime) -> None:
    """Join past days of the journal, delete what was asked to be, and let raw inputs expire."""
    deletion.compact(workspace.journal(name), now=asked, raw_days=model.journal.raw_days)


def retraining(workspace: Workspace, name: str, params: Params, document: Document) -> Decision:
    """Cure or train where an alert has lasted and that is its remedy; say in any case what was decided.

    A cure needs nothing new, but an effect that is surely good; a training needs something new.

    Raises:
        HeadstartError: if one was started and failed, other than by a gate's verdict.
    """
    history = workspace.monitor(name) / "history.json"
    end = datetime.fromisoformat(document["window"]["end"])
    due, reason = retrain.due(history, params.models[name].retrain, end, document)
    cure = due and document["remedy"] in CARRIED_OUT
    if not due:
        old = too_old(name, params.models[name].retrain, history, end)
        if not old or document["verdict"] == "alert":  # an alert says itself what cures it
            return decided(workspace, name, document, started=False, reason=reason)
        reason = old
    if not cure:
        from headstart.cli import staleness

        try:
            stale = staleness.stale_models(workspace, params, [name])
        except HeadstartError as refusal:
            told = f"{reason}, but training cannot start: {refusal}"
            return decided(workspace, name, document, started=False, reason=told)
        if not stale:
            told = f"{reason}, but there is nothing new to train on."
            return decided(workspace, name, document, started=False, reason=told)
    ended = acted(workspace, name, document["remedy"] if cure else None)
    if ended.name == NOT_SURE:
        by_hand = f"headstart remedy {name} {document['remedy']}"
        told = f"{reason}, but it is left to a person ({by_hand}): {ended.message}"
        return decided(workspace, name, document, started=False, reason=told)
    if not cure and ended.name == NOTHING_NEW:
        told = f"{reason}, but there is nothing new to train on."
        return decided(workspace, name, document, started=False, reason=told)
    outcome = ended.result(raise_on_failure=False)
    what = "The cure" if cure else "Training"
    if not isinstance(outcome, OutsideError):  # that may pass: the next window tries again
        retrain.started(history, end)
    if isinstance(outcome, Exception) and not isinstance(outcome, GateError):
        decided(workspace, name, document, started=True, reason=f"{reason}. {what} failed: {outcome}")
        raise outcome
    said = outcome if isinstance(outcome, GateError) else ended.message or ended.name
    return decided(workspace, name, document, started=True, reason=f"{reason}. {what} ended: {said}")


def too_old(name: str, params: Retrain, history: Path, end: datetime) -> str:
    """Why the champion's age asks for a training, as a clause; empty where it does not."""
    champion = registry.aliases(name).champion if params.after_days is not None else None
    return "" if champion is None else retrain.outlived(history, params, registry.describe(name, champion).since, end)


def acted(workspace: Workspace, name: str, cure: str | None) -> Any:
    """The state in which the flow ends that carries out a cure, or trains where there is none to carry out."""
    with server.prefect_server(workspace):
        server.wait_until_ready()
        if cure is not None:
            from pipelines.remedies import remedy

            return remedy(name, cure, unattended=True, return_state=True)
        from pipelines.training import training

        return training([name], return_state=True)


def decided(workspace: Workspace, name: str, document: Document, *, started: bool, reason: str) -> Decision:
    """Write the decision into the document."""
    document["retraining"] = {"started": started, "reason": reason}
    write(workspace, name, document)
    return Decision(started, reason)


def failed(
    workspace: Workspace, name: str, error: Exception, asked: datetime, documents: dict[str, Document]
) -> HeadstartError:
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
        write(workspace, name, document)
    except OSError as problem:  # the disk refuses; the look ends with the failure itself
        log(problem)
    return refusal


def dated(workspace: Workspace, name: str, document: Document) -> Path:
    """Where the page of an alert is kept."""
    end = datetime.fromisoformat(document["window"]["end"])
    return workspace.monitor(name) / f"{end:%Y%m%dT%H%M%SZ}.html"


def write(workspace: Workspace, name: str, document: Document) -> None:
    """Keep the document as the model's latest."""
    artifacts.write_json(workspace.monitor(name) / "latest.json", document)


def log(error: Exception) -> None:
    """A bug's traceback, on standard error; a refusal is said by whoever asked."""
    if not isinstance(error, HeadstartError):
        traceback.print_exception(error, file=sys.stderr)

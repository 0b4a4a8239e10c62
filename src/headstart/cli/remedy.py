"""`remedy`: what would help, what it should do for the recorded window, and doing it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli import standing
from headstart.cli.output import Json, emit, metric, program, say
from headstart.cli.workspace import chosen, enter, start_flow
from headstart.errors import GateError, UsageError
from headstart.settings import Workspace

TOLD = {
    "none": "Nothing has to be changed.",
    "fix_client": "The model is sound: whoever sends these inputs has to prepare them as the contract says. "
    "`headstart diff-client {name} RAW TENSOR` shows where a client differs.",
    "rollback": "Go back to the version before: headstart rollback {name}.",
    "correct_prior": "Set the classifier to the class shares of the recorded window, and judge it at these shares.",
    "recalibrate_confidence": "Send labels to /feedback/{name}, take them in as a source (feedback:{name}) and run: "
    "probabilities are fitted anew.",
    "recalibrate_batchnorm": "Estimate the BatchNorm statistics anew from recent images.",
    "refit_head": "Add recent labelled examples to the source (or feedback:{name}) and run: headstart run {name}.",
    "fine_tune": "Add recent labelled examples to the source (or feedback:{name}) and run: headstart run {name}.",
    "adapt_and_fine_tune": "Name recent inputs without labels as data.unlabelled, choose the strategy "
    "adapt_then_fine_tune, and run: headstart run {name}.",
    "collect_labels": "Label some of the recent inputs and send the labels to /feedback/{name}: they tell whether "
    "answers are still right, and are what a training needs.",
}
SHOWN = 5  # classes


def remedy(
    name: Annotated[str, typer.Argument(help="The model.")],
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[REMEDY]", help="Carry this one out; `none` takes every cure back."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="For recalibrate_batchnorm: a folder of recent images; else those that the journal kept."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what would help after an alert, and its expected effect; with REMEDY carry it out.

    Without REMEDY it is the one that the last look of the monitor named, and nothing is changed. A cure that is
    carried out makes a challenger, which goes through the gates as any other; exit 1 where they say no.
    """
    given = data.resolve() if data is not None else None
    workspace, params = enter()
    chosen(params, [name])
    if given is not None and wanted != "recalibrate_batchnorm":
        raise UsageError(
            "--data belongs to the remedy recalibrate_batchnorm.", action="Leave it out, or name that one."
        )
    from headstart.faults.table import REMEDIES
    from headstart.monitoring import references, remedies

    if wanted is not None and wanted not in REMEDIES:
        close = get_close_matches(wanted, REMEDIES, n=1)
        raise UsageError(
            f"there is no remedy {wanted!r}; there are {', '.join(REMEDIES)}.",
            action=f"Did you mean {close[0]}?" if close else "",
        )
    if wanted == "none":
        return _done(workspace, name, wanted, None, as_json, None)
    latest = references.latest(workspace, name)
    if wanted is not None and wanted in remedies.CURES:
        return _done(workspace, name, wanted, latest, as_json, given)
    document = _document(name, wanted or latest["remedy"], latest)
    if document["remedy"] in remedies.CURES:
        from headstart import registry, tracking

        tracking.open(workspace)
        seen = references.recorded(workspace, name, params.models[name].monitor, registry)
        document["effect"] = remedies.CURES[document["remedy"]](seen).effect
        document["next"] = f"{program()} remedy {name} {document['remedy']}"
    emit(document, as_json, _lines)
    return 0


def _done(
    workspace: Workspace, name: str, wanted: str, latest: Mapping[str, Any] | None, as_json: bool, data: Path | None
) -> int:
    """Carry it out, and say what came of it."""
    from headstart.data import cures

    document = _document(name, wanted, latest)
    if wanted == "none":
        document["told"] = "Take every cure back."
        if not cures.written(name) and not cures.missing(name):
            say(f"{name} has no cure in force; nothing is changed")
            emit(document, as_json, _lines)
            return 0
    refusal = start_flow(workspace, "remedy", [name], "--remedy", wanted, *(["--data", str(data)] if data else []))
    if refusal and not isinstance(refusal, GateError):
        raise refusal
    done = artifacts.read_json(workspace.monitor(name) / "remedy.json")
    standing.follow(workspace, name)
    document |= {"effect": done["effect"], "applied": done["kept"], "challenger": done["challenger"]}
    if refusal:
        document["refused"] = refusal.message
    emit(document, as_json, _lines)
    return 1 if refusal else 0


def _document(name: str, remedy: str, latest: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is said of every remedy.

    `applied`: whether the cure stands in `data/cures/` now; `challenger`: the version made with it, with its alias and
    verdict; `next`: the command that carries it out.
    """
    window = latest["window"] if latest else None
    return {
        "model": name,
        "remedy": remedy,
        "told": TOLD[remedy].format(name=name),
        "named": latest["remedy"] if latest else None,
        "causes": latest["causes"] if latest else [],
        "window": {key: window[key] for key in ("start", "end", "rows")} if window else None,
        "effect": None,
        "applied": False,
        "challenger": None,
        "next": None,
    }


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{document['model']}: {document['remedy']}"
    if document["window"]:
        causes = ", ".join(cause["cause"] for cause in document["causes"]) or "nothing"
        window = document["window"]
        yield f"  window    {window['rows']} answers, {window['start']} to {window['end']}; named there: {causes}"
        for cause in document["causes"]:
            if cause["evidence"].get("meaning"):
                yield f"            {cause['evidence']['meaning']}"
    yield f"  remedy    {document['told']}"
    if document["named"] not in (None, document["remedy"]):
        yield f"            The monitor named another remedy: {document['named']}."
    if effect := document["effect"]:
        yield from _effect(effect)
    if challenger := document["challenger"]:
        alias = f", {challenger['alias']}" if challenger["alias"] else ""
        version = f"version {challenger['version']}" if challenger["version"] else "no version"
        yield f"  made      {version}: {challenger['verdict']}{alias}"
    if document.get("refused"):
        yield f"            {document['refused']}"
        stays = "stays in data/cures" if document["applied"] else "was taken back"
        yield "            No cure is in force." if document["remedy"] == "none" else f"            The cure {stays}."
        if challenger and challenger["version"] and challenger["alias"] != "champion":
            name, version = document["model"], challenger["version"]
            yield f"  way out   `{program()} status {name}` names the gates; to promote it all the same, with a reason"
            yield f"            that is recorded: {program()} promote {name} {version} --reason WHY"
    if document["next"]:
        yield f"  next      nothing was changed; to carry it out: {document['next']}"


def _effect(effect: Mapping[str, Any]) -> Iterator[str]:
    """Of a corrected prior: shares, and accuracy now and then. Of BatchNorm statistics: confidence now and then."""
    if "shares" in effect:
        from headstart.monitoring import label_shift

        for name, share in label_shift.moved(effect["shares"])[:SHOWN]:
            interval = f"({share['low']:.1%} to {share['high']:.1%})"
            yield f"  share     {name}: {share['reference']:.1%}, now {share['value']:.1%} {interval}"
        yield f"  answers   {effect['changed']:.1%} of the window's inputs would get another label"
    if "moved" in effect:
        farthest = max(effect["moved"], key=lambda layer: effect["moved"][layer])
        yield f"  images    {effect['images']}; layer {farthest} moves most, by {effect['moved'][farthest]:.2f} nats"
        if said := effect["confidence"]:
            yield (
                f"  effect    mean confidence {said['now']:.3f}; recalibrated {said['recalibrated']:.3f}; "
                f"{said['expected']:.3f} on the test split"
            )
    for place, told in (("accuracy", "expected, from the test split at these shares"), ("labelled", "on its labels")):
        if found := effect.get(place):
            now, then, difference = found["now"], found["corrected"], found["difference"]
            yield f"  effect    {metric('accuracy', now)}; corrected {then['value']:.3f}: {told}"
            yield (
                f"            difference {difference['value']:+.3f} "
                f"({difference['low']:+.3f} to {difference['high']:+.3f})"
            )

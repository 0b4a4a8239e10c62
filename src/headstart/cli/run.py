"""`run` and `plan`: the training flow, started only when something is new."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli import entry as entries
from headstart.cli import standing
from headstart.cli.output import Json, emit, run_lines, say
from headstart.cli.workspace import announce_pretraining, chosen, enter, start_flow
from headstart.errors import GateError, OutsideError, UsageError
from headstart.params.loader import load
from headstart.params.workspace import Params
from headstart.settings import Workspace

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all of them when left out.")]


def run(
    names: Names = None,
    reason: Annotated[
        str | None, typer.Option(help="Why what the screen before export refused is exported all the same; recorded.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Take models from raw data to champion: whatever is stale is run, what passes its gates is promoted.

    With nothing new it says so, starts no server and trains nothing.
    """
    workspace, params = enter()
    models = chosen(params, names or [])
    if reason is not None:
        _override(workspace, names or [], reason)
        params = load(workspace.params)
    from headstart.cli.staleness import stale_models

    stale = stale_models(workspace, params, models)
    if not stale:
        say("nothing is new: data, parameters, code and registry are as the last run left them")
    else:
        announce_pretraining(params, stale)
        if (refusal := start_flow(workspace, "training", stale)) and not isinstance(refusal, GateError):
            raise refusal
    document = {name: standing.refreshed(workspace, name) for name in models}
    emit(document, as_json, run_lines)
    return 0 if all(result["verdict"] == "pass" or _serves(result) for result in document.values()) else 1


def _serves(result: dict[str, Any]) -> bool:
    """Whether a version that the gates did not pass is champion: provisionally, or because a person promoted it."""
    live = result["live"] or {}
    return bool(result["alias"] == "champion" and (live.get("overridden") or live.get("provisional")))


def _override(workspace: Workspace, names: Sequence[str], reason: str) -> None:
    """Write into params.yaml why the candidate that the screen refused is exported: a tracked input of the export.

    Raises:
        UsageError: if it is not clear which candidate is meant, none was refused, or the reason says nothing.
    """
    if len(names) != 1 or not reason.strip():
        raise UsageError(
            f"--reason overrides the refusal of one candidate; {len(names)} models were named."
            if len(names) != 1
            else "--reason is empty.",
            action="Name the model, and say why: headstart run NAME --reason WHY.",
        )
    [name] = names
    from headstart.evaluation import screen

    path = artifacts.stage_output(name, "train") / "screen.json"
    document = artifacts.read_json(path) if path.is_file() else None
    if document is None or document["verdict"] == "pass":
        what = "passed its screen" if document else "has not been trained yet"
        raise UsageError(
            f"there is no refusal before export to override: {name} {what}.",
            action=f"Leave --reason out. What gates after export refuse is overridden by headstart promote {name} "
            "VERSION --reason WHY.",
        )
    override = {"candidate": screen.candidate(document), "reason": reason.strip()}
    entries.write(workspace.params, name, {"export": {"override": override}}, "", None)
    say(f"params.yaml says now that {name} is exported all the same: {reason.strip()}")


def plan(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models to plan.")], as_json: Json = False
) -> int:
    """Measure the data and say which strategies training would try, and why; nothing is trained."""
    workspace, params = enter()
    models = chosen(params, names)
    planned(workspace, params, models)
    from headstart.report import plan as words

    plans = {name: plan_document(name) for name in models}
    emit(
        {name: words.document(found, words.parts(name)) for name, found in plans.items()},
        as_json,
        lambda _: _lines(plans),
    )
    return 0


def planned(workspace: Workspace, params: Params, models: Sequence[str]) -> None:
    """Run what comes before training, up to the plan, where it is stale."""
    from headstart.cli.staleness import unbuilt_models

    stale = unbuilt_models(workspace, params, models, until="plan")
    if stale:
        announce_pretraining(params, stale)
        if refusal := start_flow(workspace, "training", stale, "--until", "plan"):
            raise refusal


def plan_document(name: str) -> dict[str, Any]:
    """The plan of a model.

    Raises:
        OutsideError: if it was not written.
    """
    path = artifacts.stage_output(name, "plan") / "plan.json"
    if not path.is_file():
        raise OutsideError(f"the plan of {name} was not written.", action="Read what the flow printed above.")
    return dict(artifacts.read_json(path))


def _lines(plans: dict[str, dict[str, Any]]) -> Any:
    from headstart.report import plan as words

    for name, found in plans.items():
        yield from words.lines(name, found, words.parts(name))
        yield f"  page        {artifacts.release(name) / 'plan.html'}"
    yield f"\nNext:\n  headstart run {' '.join(plans)}"

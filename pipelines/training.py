"""Flow `training`: sources -> stages -> release, for some models or all; what is fresh is shown as cached.

One model's failure stops that model and no other; how each ended stands in `artifacts/releases/<model>/outcome.json`.
"""

import os
import time
from collections.abc import Collection
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from headstart import artifacts, registry, tracking
from headstart.errors import GateError, HeadstartError, ParamsError
from headstart.params.loader import load
from headstart.params.workspace import Model, Params
from headstart.registry import ledger
from headstart.stages import graph, outcome, recovery
from headstart.stages.lock import exclusive
from pipelines import world
from pipelines.release import release
from pipelines.states import NOTHING_NEW


@flow(name="training")
def training(models: list[str] | None = None, until: str | None = None) -> State[Any]:
    """Retrain and release whatever has changed; the result is the verdict by model.

    Ends as Completed, Provisional, Unsure or Rejected as the gates said, and as Nothing new where no stage had to run
    and today's bundles have been judged already.

    Raises:
        HeadstartError: the gravest refusal of any model that no gate made, after all the others have been done.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    with exclusive(workspace.state, "training"):
        recovery.recover()
        params = load(workspace.params)
        names = models or list(params.models)
        if unknown := set(names) - set(params.models):
            raise ParamsError(f"there is no model {min(unknown)!r} in params.yaml; it has {', '.join(params.models)}.")
        started = {name: time.perf_counter() for name in names}
        refused = bring(params, names)
        params = world.resolve()
        stopped, news = build(params, [name for name in names if name not in refused], until)
        refused |= stopped
        verdicts: dict[str, str] = {}
        judged: set[str] = set()
        for name in names:
            if name not in refused and until is None:
                try:
                    seconds = round(time.perf_counter() - started[name], 1)
                    known = released(name, params.models[name])
                    news |= known is None
                    judged |= {name} if known is None else set()
                    verdicts[name] = known or release(name, seconds)[name]
                except HeadstartError as error:
                    refused[name] = error
            elif isinstance(no := refused.get(name), GateError):
                try:
                    record(name, no)
                except HeadstartError as error:
                    refused[name] = error
            if until is None:
                seconds = round(time.perf_counter() - started[name], 1)
                conclude(name, params.models[name], refused.get(name), seconds)
                if name in refused or name in judged:
                    world.notify.with_options(task_run_name=f"notify {name}")(
                        name, params.models[name], refused.get(name)
                    )
        world.push()
    return ended(verdicts, refused, news)


def ended(verdicts: dict[str, str], refused: dict[str, HeadstartError], news: bool) -> State[Any]:
    """The flow's last state; what a gate refused before export is a verdict like any other."""
    if failures := [error for error in refused.values() if not isinstance(error, GateError)]:
        raise max(failures, key=lambda error: error.exit_status)
    verdicts |= dict.fromkeys(refused, "fail")
    said = "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
    judged = f"{said}." if said else "Done."
    if not news and not refused:
        note = f" The last verdicts stand: {said}." if said else ""
        return Completed(name=NOTHING_NEW, message=f"Nothing is new, nothing was trained.{note}", data=verdicts)
    reasons = " ".join(str(error) for error in refused.values())
    return world.conclusion(verdicts, " ".join(part for part in (judged, reasons) if part))


def bring(params: Params, names: Collection[str]) -> dict[str, HeadstartError]:
    """Fetch backbones, ingest data and record cures; the refusals by model."""
    refused: dict[str, HeadstartError] = {}
    for backbone in dict.fromkeys(params.models[name].backbone for name in names):
        try:
            world.fetch.with_options(task_run_name=f"fetch {backbone}")(backbone, params)
        except HeadstartError as error:
            refused |= {name: error for name in names if params.models[name].backbone == backbone}
    for name in names:
        if name not in refused:
            try:
                world.ingest.with_options(task_run_name=f"ingest {name}")(name, params)
                world.cures.with_options(task_run_name=f"cures {name}")(name)
            except HeadstartError as error:
                refused[name] = error
    return refused


def build(params: Params, names: Collection[str], until: str | None) -> tuple[dict[str, HeadstartError], bool]:
    """Run the stages in DVC's order; a model whose stage refuses is left there, the others go on.

    Returns:
        The refusals by model, and whether any stage ran.
    """
    refused: dict[str, HeadstartError] = {}
    ran = False
    for step in graph.plan(params, names, until=until) if names else []:
        owners = [name for name in names if step.owner in (name, params.models[name].backbone)]
        if all(name in refused for name in owners):
            continue
        try:
            run = world.run_stage.with_options(task_run_name=step.name)  # no tags: each costs a second of the server's
            ran |= run(step.name) is True  # a cached stage answers its state
        except HeadstartError as error:
            refused |= dict.fromkeys(owners, error)
        if step.stage == "prepare":
            world.show_data.with_options(task_run_name=f"show {step.owner}")(step.owner)
            if until is None and step.owner not in refused:  # `headstart data` has a comparison of its own
                shown = world.show_data_change.with_options(task_run_name=f"show change {step.owner}")
                shown(step.owner, params.models[step.owner])
        if step.stage == "plan":
            world.show_plan.with_options(task_run_name=f"show plan {step.owner}")(step.owner)
    return refused, ran


def released(name: str, params: Model) -> str | None:
    """The verdict on today's bundle, if its release was finished and the registry has it: nothing is judged twice."""
    document = outcome.concluded(name, params)
    if document is None:
        return None
    tracking.open(world.workspace())
    known = registry.find(name, artifacts.stage_output(name, "bundle"))
    if known != document["version"]:
        return None
    return "provisional" if document.get("provisional") else str(document["verdict"])


def record(name: str, error: GateError) -> None:
    """Enter in the ledger what a gate before export refused: there is no version of it."""
    tracking.open(world.workspace(), writing=True)
    checks = ledger.checks(error.findings)
    ledger.append(name, "judged", who=world.actor(), reason=error.message, verdict="fail", checks=checks)


def conclude(name: str, params: Model, error: HeadstartError | None, seconds: float) -> None:
    """Leave word of how a model's run ended; a refusal by a gate is a result like any other."""
    if isinstance(error, GateError):
        artifacts.write_json(artifacts.release(name) / "run.json", refused_document(error, seconds))
    outcome.conclude(name, params, error)


def refused_document(error: GateError, seconds: float) -> dict[str, object]:
    """A run's document where a gate before export said no: there are findings and no metrics."""
    return {
        "strategy": None,
        "metrics": {},
        "gates": error.findings,
        "verdict": "fail",
        "version": None,
        "alias": None,
        "provisional": False,
        "proposed_bars": None,
        "seconds": seconds,
    }

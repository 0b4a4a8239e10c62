"""Flow `training`: sources -> stages -> release, for some models or all; what is fresh is shown as cached.

One model's failure stops that model and no other; how each ended stands in `artifacts/releases/<model>/outcome.json`.
"""

import os
import time
from collections.abc import Collection

from prefect import flow

from headstart import artifacts, registry, tracking
from headstart.errors import GateError, HeadstartError, ParamsError
from headstart.params.loader import load
from headstart.params.workspace import Model, Params
from headstart.stages import graph, outcome
from headstart.stages.lock import exclusive
from pipelines import world
from pipelines.release import release


@flow(name="training")
def training(models: list[str] | None = None, until: str | None = None) -> dict[str, str]:
    """Retrain and release whatever has changed; the verdict by model.

    Raises:
        HeadstartError: the gravest refusal of any model, after all the others have been done.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    with exclusive(workspace.state, "training"):
        params = load(workspace.params)
        names = models or list(params.models)
        if unknown := set(names) - set(params.models):
            raise ParamsError(f"there is no model {min(unknown)!r} in params.yaml; it has {', '.join(params.models)}.")
        started = {name: time.perf_counter() for name in names}
        refused = bring(params, names)
        params = world.resolve()
        refused |= build(params, [name for name in names if name not in refused], until)
        verdicts: dict[str, str] = {}
        for name in names:
            if name not in refused and until is None:
                try:
                    seconds = round(time.perf_counter() - started[name], 1)
                    verdicts[name] = released(name, params.models[name]) or release(name, seconds)
                except HeadstartError as error:
                    refused[name] = error
            if until is None:
                seconds = round(time.perf_counter() - started[name], 1)
                conclude(name, params.models[name], refused.get(name), seconds)
        world.push()
    if refused:
        raise max(refused.values(), key=lambda error: error.exit_status)
    if rejected := [name for name, verdict in verdicts.items() if verdict != "pass"]:
        raise GateError(f"the gates did not pass {', '.join(rejected)}.", action="See the findings above.")
    return verdicts


def bring(params: Params, names: Collection[str]) -> dict[str, HeadstartError]:
    """Fetch backbones and ingest data; the refusals by model."""
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
            except HeadstartError as error:
                refused[name] = error
    return refused


def build(params: Params, names: Collection[str], until: str | None) -> dict[str, HeadstartError]:
    """Run the stages in DVC's order; a model whose stage refuses is left there, the others go on."""
    refused: dict[str, HeadstartError] = {}
    for step in graph.plan(params, names, until=until) if names else []:
        owners = [name for name in names if step.owner in (name, params.models[name].backbone)]
        if all(name in refused for name in owners):
            continue
        try:
            world.run_stage.with_options(task_run_name=step.name, tags=[step.owner])(step.name)
        except HeadstartError as error:
            refused |= dict.fromkeys(owners, error)
        if step.stage == "prepare":
            world.show_data.with_options(task_run_name=f"show {step.owner}")(step.owner)
        if step.stage == "plan":
            world.show_plan.with_options(task_run_name=f"show plan {step.owner}")(step.owner)
    return refused


def released(name: str, params: Model) -> str | None:
    """The verdict on today's bundle, if its release was finished and the registry has it: nothing is judged twice."""
    document = outcome.concluded(name, params)
    if document is None:
        return None
    tracking.open(world.workspace())
    known = registry.find(name, artifacts.stage_output(name, "bundle"))
    return str(document["verdict"]) if known == document["version"] else None


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
        "seconds": seconds,
    }

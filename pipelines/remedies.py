"""Flow `remedy`: a cure is written, and what is made with it goes through the training flow as any other change.

A cure whose candidate its gates refuse is taken back, so that it does not stand in the way of the next training. What
came out stands in `state/monitor/<model>/remedy.json`.
"""

import os
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from headstart import artifacts, registry, tracking
from headstart.data import cures, folders
from headstart.errors import GateError, HeadstartError, OutsideError, UsageError
from headstart.monitoring import references, remedies
from headstart.params.loader import load
from headstart.params.workspace import Model
from headstart.stages import graph
from headstart.stages.lock import exclusive
from pipelines import world
from pipelines.training import training

FORMAT = 1


@flow(name="remedy")
def remedy(name: str, wanted: str, data: str | None = None) -> State[Any]:
    """Carry out a remedy for a model; `none` takes every cure back. The result is the verdict by model.

    Raises:
        UsageError: if the remedy is not one of `remedies.CURES`, or no look was recorded.
        HeadstartError: if the cure cannot be made, or the training failed other than by a gate's verdict.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    params = load(workspace.params)
    with exclusive(workspace.state, "remedy"):
        graph.restore(artifacts.cures(name))
        before = cures.contents(name) if wanted != "none" else {}
        effect = write_cure(name, wanted, params.models[name], data)
    ended = training([name], return_state=True)
    outcome = ended.result(raise_on_failure=False)
    failed = isinstance(outcome, HeadstartError)
    made = artifacts.read_json(artifacts.release(name) / "run.json") if not failed else None
    verdict = made["verdict"] if made else "fail"
    kept = wanted == "none" or verdict != "fail" or isinstance(outcome, OutsideError)
    if not kept:
        with exclusive(workspace.state, "remedy"):
            cures.put_back(name, before)
            world.cures(name)
    document = {
        "format": FORMAT,
        "remedy": wanted,
        "effect": effect,
        "challenger": {key: made[key] for key in ("version", "alias", "verdict")} if made else None,
        "kept": kept,
    }
    artifacts.write_json(workspace.monitor(name) / "remedy.json", document)
    if isinstance(outcome, Exception) and not isinstance(outcome, GateError):
        raise outcome
    if ended.name == world.NOTHING_NEW:
        return Completed(name=ended.name, message=ended.message, data={name: verdict})
    said = outcome if isinstance(outcome, GateError) else ended.message
    back = "" if kept else " The cure was taken back."
    return world.conclusion({name: verdict}, f"{said}{back}")


@task(name="write cure", cache_policy=NO_CACHE)
def write_cure(name: str, wanted: str, model: Model, data: str | None) -> dict[str, Any] | None:
    """Write the cure, or empty ones; what it should do for the recorded window.

    `data` is a folder of images to estimate BatchNorm statistics from, in place of those that the journal kept.
    """
    if wanted == "none":
        cures.clear(name)
        return None
    if wanted not in remedies.CURES:
        raise UsageError(
            f"{wanted} is not a remedy that headstart carries out; these are {', '.join(remedies.CURES)} and none."
        )
    workspace = world.workspace()
    tracking.open(workspace)
    images = [row.input for row in folders.loose_images(Path(data), [])] if data is not None else None
    seen = references.recorded(workspace, name, model.monitor, registry, images=images)
    proposal = remedies.CURES[wanted](seen)
    proposal.write(cures.ensure(name))
    return proposal.effect

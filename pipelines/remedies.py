"""Flow `remedy`: a cure is written, and what is made with it goes through the training flow as any other change.

A cure whose candidate its gates refuse is taken back, so that it does not stand in the way of the next training. What
came out stands in `state/monitor/<model>/remedy.json`.

From before a cure is written until it is judged, `state/monitor/<model>/judged/` holds the cures that were in force
before. So an attempt that was killed, or failed before there was a verdict, leaves no cure that counts as judged: the
next attempt starts from that folder, and so does taking a cure back.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from headstart import artifacts, registry, tracking
from headstart.cli import staleness
from headstart.data import cures, folders
from headstart.errors import DataError, GateError, OutsideError, UsageError
from headstart.monitoring import references, remedies
from headstart.params.loader import load
from headstart.params.workspace import Model, Params
from headstart.registry import ledger
from headstart.stages import cures as recorded
from headstart.stages.lock import exclusive
from pipelines import world
from pipelines.states import NOT_SURE, NOTHING_NEW
from pipelines.training import training

FORMAT = 1


@flow(name="remedy")
def remedy(name: str, wanted: str, data: str | None = None, unattended: bool = False) -> State[Any]:
    """Carry out a remedy for a model; `none` takes every cure back. The result is the verdict by model.

    Args:
        name: of the model.
        wanted: the remedy.
        data: a folder of images to estimate BatchNorm statistics from, in place of those that the journal kept.
        unattended: whether no person asked for it. Then it ends as Not sure, with nothing changed and the reason as its
            message, where the cure cannot be made or its expected effect is not surely good.

    Raises:
        UsageError: if the remedy is not one of `remedies.CURES`, or no look was recorded.
        HeadstartError: if the cure cannot be made, or the training failed other than by a gate's verdict.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    params = load(workspace.params)
    tracking.open(workspace, writing=True)
    forget_if_judged(name, params)
    with exclusive(workspace.state, "remedy"):
        recorded.restore(name)
        if wanted != "none" and judged(name).is_dir():
            take_back(name)  # what an earlier attempt left unjudged
            reason = "an earlier attempt ended before it was judged"
            ledger.append(name, "remedy_withdrawn", who=world.actor(), reason=reason)
        effect, doubt = write_cure(name, wanted, params.models[name], data, unattended)
    if doubt:
        return Completed(name=NOT_SURE, message=doubt, data={})
    if wanted == "none":
        ledger.append(name, "remedy_withdrawn", who=world.actor(), remedy="all")
    else:
        ledger.append(name, "remedy_applied", who=world.actor(), remedy=wanted, effect=effect)
    ended = training([name], return_state=True)
    outcome = ended.result(raise_on_failure=False)
    failed = isinstance(outcome, BaseException)
    made = None if failed else artifacts.read_json(artifacts.release(name) / "run.json")
    verdict = "fail" if failed else outcome[name]
    kept = wanted == "none" or verdict != "fail" or isinstance(outcome, OutsideError)
    if not kept:
        with exclusive(workspace.state, "remedy"):
            take_back(name)
            world.cures(name)
        reason = "the gates refused its candidate" if isinstance(outcome, dict | GateError) else str(outcome)
        ledger.append(name, "remedy_withdrawn", who=world.actor(), reason=reason, remedy=wanted)
    if not isinstance(outcome, OutsideError):
        forget(name)
    document = {
        "format": FORMAT,
        "remedy": wanted,
        "effect": effect,
        "challenger": {key: made[key] for key in ("version", "alias", "verdict")} if made else None,
        "kept": kept,
    }
    artifacts.write_json(workspace.monitor(name) / "remedy.json", document)
    if isinstance(outcome, BaseException) and not isinstance(outcome, GateError):
        raise outcome
    if ended.name == NOTHING_NEW:
        return Completed(name=ended.name, message=ended.message, data={name: verdict})
    said = outcome if isinstance(outcome, GateError) else ended.message
    back = "" if kept else " The cure was taken back."
    return world.conclusion({name: verdict}, f"{said}{back}")


@task(name="write cure", cache_policy=NO_CACHE)
def write_cure(
    name: str, wanted: str, model: Model, data: str | None, unattended: bool
) -> tuple[dict[str, Any] | None, str]:
    """Write the cure, or empty ones; what it should do for the recorded window, and why it was not written, if so."""
    if wanted == "none":
        cures.clear(name)
        forget(name)
        return None, ""
    if wanted not in remedies.CURES:
        raise UsageError(
            f"{wanted} is not a remedy that headstart carries out; these are {', '.join(remedies.CURES)} and none."
        )
    workspace = world.workspace()
    tracking.open(workspace)
    images = None
    if data is not None:
        images = [image for batch in folders.loose_images(Path(data), []) for image in batch["image"].to_pylist()]
    try:
        seen = references.recorded(workspace, name, model.monitor, registry, images=images)
        proposal = remedies.CURES[wanted](seen)
    except (DataError, UsageError) as refusal:
        if unattended:
            return None, str(refusal)
        raise
    if unattended and (doubt := remedies.doubt(proposal.effect)):
        return proposal.effect, doubt
    remember(name)
    proposal.write(cures.ensure(name))
    return proposal.effect, ""


def remember(name: str) -> None:
    """Keep the model's cures as they are, which were judged, until those that are written now are."""
    if not judged(name).is_dir():
        with artifacts.built(judged(name)) as folder:
            for file, content in cures.contents(name).items():
                (folder / file).write_bytes(content)


def take_back(name: str) -> None:
    """Let the model's cures be those that were judged last; nothing where they are."""
    if judged(name).is_dir():
        cures.put_back(name, {path.name: path.read_bytes() for path in sorted(judged(name).iterdir())})


def forget(name: str) -> None:
    """The cures as they are count as judged."""
    shutil.rmtree(judged(name), ignore_errors=True)


def forget_if_judged(name: str, params: Params) -> None:
    """Also a plain `headstart run` judges a cure that an earlier attempt left."""
    if not judged(name).is_dir() or staleness.stale_models(world.workspace(), params, [name]):
        return
    if artifacts.read_json(artifacts.release(name) / "run.json")["verdict"] != "fail":
        forget(name)


def judged(name: str) -> Path:
    """Where the cures lie that were judged last, while others are in force."""
    return world.workspace().monitor(name) / "judged"

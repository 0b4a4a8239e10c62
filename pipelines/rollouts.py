"""The steps of a rollout: begun by the flow `release`, taken further by each look of the flow `monitoring`.

Where a rollout is at stands in the registry and nowhere else, and each change of it is one write. So a look that was
killed is made good by the next one, and two looks at once take one step.
"""

import sys
from typing import Any

from headstart import artifacts, registry, settings, tracking
from headstart.cli import standing
from headstart.params.workspace import Model
from headstart.registry import Rollout
from headstart.rollout import verdict
from headstart.settings import Workspace


def begin(name: str, version: int, model: Model) -> Rollout | None:
    """Let a challenger's rollout begin, or go on; None without steps, or without a champion to compare with."""
    champion = registry.aliases(name).champion
    if not model.rollout.steps or champion in (None, version):
        return None
    assert champion is not None
    gates = model.gates
    return registry.begin_rollout(
        name,
        version,
        champion=champion,
        params=model.rollout,
        margin=gates.champion_margin,
        level=gates.level,
        now=settings.now(),
        who=_who(),
    )


def rollout(workspace: Workspace, name: str, model: Model) -> dict[str, Any] | None:
    """Judge the running step, then go on, promote or take back; the verdict's document with `outcome`, a sentence.

    None where no rollout is on its way.

    Raises:
        DataError: if the journal cannot be read.
        HeadstartError: if the registry refuses what is to be done.
    """
    current = registry.rollout(name)
    if current is None or current.champion_now is None:
        return None
    tracking.open(workspace, writing=True)
    now = settings.now()
    if current.name == "outdated":
        current = registry.restart_rollout(name, current, now, who=_who())
    document = verdict(workspace.journal(name), current, now)
    document["outcome"] = _acted(workspace, name, current, document, approval=model.release.approval)
    artifacts.write_json(workspace.monitor(name) / "rollout.json", {"format": 1, **document})
    return document


def _acted(workspace: Workspace, name: str, current: Rollout, document: dict[str, Any], *, approval: bool) -> str:
    """Do what the verdict calls for; what was done, as a sentence."""
    now = settings.now()
    if document["verdict"] == "fail":
        reasons = [finding["reason"] for finding in document["findings"] if finding["verdict"] == "fail"]
        reason = f"Rollout, step {document['number']}: {' '.join(reasons)}"
        registry.take_back(name, current, reason, now, who=_who())
        standing.follow(workspace, name)
        return f"Version {current.version} was taken back; version {current.champion} stays champion."
    if document["verdict"] == "unsure":
        return "The step goes on."
    if current.running:
        current = registry.advance_rollout(name, current, now, who=_who())
    if current.running:
        return f"The step {current.name} began."
    if current.failed:
        return f"Version {current.version} was taken back meanwhile."
    if approval:
        return f"Every step has passed; it waits for `headstart promote {name}`."
    registry.promote(name, current.version, expected=current.champion, who=_who())
    registry.end_rollout(name, current.version)
    standing.follow(workspace, name)
    return f"Every step has passed: version {current.version} is champion."


def _who() -> registry.Actor:
    """For the ledger: the flow that looks, or the command of a person, which starts no Prefect."""
    if "prefect" not in sys.modules:
        return registry.Actor.here("command monitor")
    from pipelines import world

    return world.actor()

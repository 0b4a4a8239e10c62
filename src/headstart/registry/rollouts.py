"""Where a challenger is on its way to be champion: one tag of its version, which servers and flows follow.

The tag `rollout` of the version under the alias `challenger` holds the steps as they were when the rollout began, and
which of them runs. One write changes it, so whoever reads it finds a whole state: a server that follows it, the flow
that takes the next step, or the next run of one that was killed. A rollout is over once its version is no challenger
any more: it was promoted, taken back, or another version passed its gates. While another version is champion than the
one it is compared with, nothing is sent to it, until it begins anew. The ledger has an entry for each step, written
before the tag: killed in between, the same entry is found by its id when the step is taken again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from headstart.params.operation import Canary, Shadow, Step
from headstart.params.operation import Rollout as RolloutParams
from headstart.registry import ledger
from headstart.registry.client import CHALLENGER, CHAMPION, aliases_of, exclusive, or_none, retag, speaking
from headstart.registry.ledger import Actor
from headstart.registry.versions import DELETED, numbers

TAG = "rollout"
FORMAT = 1


@dataclass(frozen=True)
class Rollout:
    """A challenger between its gates and its promotion.

    Attributes:
        version: the challenger's.
        champion: the version that it is compared with.
        steps: all of them.
        step: the number of the running one, from 0; the number of steps where all have passed.
        began: when the rollout did, aware.
        since: when the running step did, aware.
        key: the request header that keeps a caller on one version; None for the request's own `client` or inputs.
        margin: by how much it may be less accurate than the champion.
        level: how often, at most, one that is worse by the margin passes.
        disagreement: on which share of inputs it may differ, where labels do not show that it is no worse.
        latency: how many times the champion's 95th percentile its own may be.
        failed: why it was taken back; empty where it was not.
        champion_now: the champion at the time of reading.
    """

    version: int
    champion: int
    steps: Sequence[Step]
    step: int
    began: datetime
    since: datetime
    key: str | None
    margin: float
    level: float
    disagreement: float
    latency: float
    failed: str = ""
    champion_now: int | None = None

    @property
    def running(self) -> Shadow | Canary | None:
        """The step that runs; None where all have passed, it failed, or the champion is another one by now."""
        if self.failed or self.champion_now != self.champion or self.step >= len(self.steps):
            return None
        step = self.steps[self.step]
        return step.canary if step.shadow is None else step.shadow

    @property
    def name(self) -> str:
        """What it is at: `shadow`, `canary`, `passed`, `failed`, or `outdated` where the champion changed."""
        if self.failed:
            return "failed"
        if self.champion_now == self.version:
            return "passed"
        if self.champion_now != self.champion:
            return "outdated"
        if self.running is None:
            return "passed"
        return "shadow" if isinstance(self.running, Shadow) else "canary"

    def brief(self) -> dict[str, Any]:
        """{`step`, its `number` from 1, how many `steps`, `since`}."""
        number = min(self.step + 1, len(self.steps))
        return {"step": self.name, "number": number, "steps": len(self.steps), "since": self.since.isoformat()}

    def document(self) -> dict[str, Any]:
        """As it stands in the tag."""
        return {
            "format": FORMAT,
            "champion": self.champion,
            "steps": [step.model_dump(exclude_none=True) for step in self.steps],
            "step": self.step,
            "began": self.began.isoformat(),
            "since": self.since.isoformat(),
            "key": self.key,
            "margin": self.margin,
            "level": self.level,
            "disagreement": self.disagreement,
            "latency": self.latency,
            "failed": self.failed,
        }


def rollout(model: str) -> Rollout | None:
    """The rollout of the challenger, whatever it is at; None where none was begun, or it is over."""
    with speaking(model) as client:
        found = aliases_of(client, model)
        version = found.get(CHALLENGER)
        if version is None or version == found.get(CHAMPION):
            return None
        return _read(client, model, version, found.get(CHAMPION))


def last_rollout(model: str) -> Rollout | None:
    """The rollout of the newest version that was taken back; None where none was."""
    with speaking(model) as client:
        champion = aliases_of(client, model).get(CHAMPION)
        for version in numbers(model):
            found = _read(client, model, version, champion)
            if found and found.failed:
                return found
    return None


def begin_rollout(
    model: str,
    version: int,
    *,
    champion: int,
    params: RolloutParams,
    margin: float,
    level: float,
    now: datetime,
    who: Actor | None = None,
) -> Rollout:
    """Let a challenger's rollout begin with its first step; one that runs against this champion goes on as it is.

    Args:
        model: its name in the registry.
        version: the challenger.
        champion: what it is compared with.
        params: the section `rollout`, kept as it is now.
        margin: `gates.champion_margin`.
        level: `gates.level`.
        now: aware.
        who: whoever runs this process when left out.
    """
    disagreement = margin if params.disagreement is None else params.disagreement
    new = Rollout(
        version, champion, params.steps, 0, now, now, params.key, margin, level, disagreement, params.latency,
        champion_now=champion,
    )  # fmt: skip
    with exclusive(model), speaking(model) as client:
        there = _read(client, model, version, champion)
        if there and there.champion == champion and not there.failed:
            return there
        _record(model, new, "began", who)
        _write(client, model, new)
    return new


def restart_rollout(model: str, current: Rollout, now: datetime, *, who: Actor | None = None) -> Rollout:
    """Begin a rollout anew against the version that is champion now."""
    assert current.champion_now is not None
    new = replace(current, champion=current.champion_now, step=0, began=now, since=now)
    with exclusive(model), speaking(model) as client:
        _record(model, new, "began anew", who)
        _write(client, model, new)
    return new


def advance_rollout(model: str, current: Rollout, now: datetime, *, who: Actor | None = None) -> Rollout:
    """Let the step after the current one begin; nothing where somebody was faster."""
    with exclusive(model), speaking(model) as client:
        there = _read(client, model, current.version, current.champion_now)
        if there is None or (there.step, there.failed) != (current.step, ""):
            return there or current
        new = replace(current, step=current.step + 1, since=now)
        _record(model, new, "went on", who)
        _write(client, model, new)
    return new


def take_back(model: str, current: Rollout, reason: str, now: datetime, *, who: Actor | None = None) -> Rollout:
    """End a rollout: servers stop at once, the version has failed, and is no challenger any more.

    Killed in between, it is finished by whoever reads the rollout next: it says `failed` as long as there is an alias.
    """
    failed = current if current.failed else replace(current, failed=reason)
    with exclusive(model), speaking(model) as client:
        _record(model, failed, "taken back", who)
        _write(client, model, failed)
        moment = now.isoformat(timespec="seconds")
        retag(client, model, failed.version, {"verdict": "fail", "reasons": failed.failed, "rolled_back": moment})
        if aliases_of(client, model).get(CHALLENGER) == failed.version:
            client.delete_registered_model_alias(model, CHALLENGER)
    return failed


def end_rollout(model: str, version: int) -> None:
    """Forget the rollout of a version that was promoted."""
    with speaking(model) as client:
        retag(client, model, version, {TAG: ""})


def _record(model: str, rollout: Rollout, outcome: str, who: Actor | None) -> None:
    ledger.append(
        model,
        "rollout_step",
        version=rollout.version,
        who=who,
        reason=rollout.failed,
        id=f"rollout-{rollout.version}-{rollout.began.isoformat()}-{rollout.step}-{outcome}",
        outcome=outcome,
        **{key: value for key, value in rollout.brief().items() if key != "since"},
    )


def _write(client: Any, model: str, rollout: Rollout) -> None:
    retag(client, model, rollout.version, {TAG: json.dumps(rollout.document(), sort_keys=True)})


def _read(client: Any, model: str, version: int, champion: int | None) -> Rollout | None:
    entry = or_none(lambda: client.get_model_version(model, str(version)))
    if entry is None or entry.current_stage == DELETED or not entry.tags.get(TAG):
        return None
    held = json.loads(entry.tags[TAG])
    if held.pop("format") != FORMAT:
        return None  # of a newer headstart: another server's business
    held["steps"] = [Step.model_validate(step) for step in held["steps"]]
    held |= {moment: datetime.fromisoformat(held[moment]) for moment in ("began", "since")}
    return Rollout(version=version, champion_now=champion, **held)

"""Registering a version, and moving the alias `champion`: each move is one transaction.

A move first notes what it is about to do, in the registered model's tag `headstart.moving`; then it tags the version,
moves the alias, tidies up, records the move in the ledger and takes the note away. Whoever comes next and finds a note
finishes the move if the alias had moved, and undoes it if not (`settle`). So a command that was killed between any two
steps leaves nothing half done, and nothing twice.

Processes that share an embedded registry take turns. MLflow's server cannot move an alias only if it still stands where
it was expected, so two machines may both move one in the same moment. The note and a look before and after make that
rare, whoever is overtaken is told, and the ledger has both moves in order.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Any
from uuid import uuid4

from headstart import settings
from headstart.contract import spec
from headstart.determinism import digest
from headstart.errors import GateError, OutsideError, UsageError
from headstart.findings import Verdict
from headstart.registry import ledger, shipping
from headstart.registry.champion import PREVIOUS, aliases
from headstart.registry.client import CHALLENGER, CHAMPION, PROVISIONAL, aliases_of, exclusive, or_none, retag, speaking
from headstart.registry.ledger import Actor
from headstart.registry.versions import dangling, describe, download, find, newest, repair

MOVING = "headstart.moving"
LIVE_S = 60.0  # a move that another machine or account noted is left alone so long


@dataclass(frozen=True)
class Move:
    """The champion before and after; the same where nothing was to be done."""

    before: int | None
    after: int


def register(
    model: str,
    bundle: Path,
    *,
    run_id: str,
    verdict: Verdict,
    reasons: Sequence[str],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
    findings: Sequence[Mapping[str, Any]] = (),
    who: Actor | None = None,
) -> int:
    """Keep a judged bundle as a version; one that passed gets the alias `challenger`. Returns the version.

    The same bundle again (by its manifest) is the same version, with the new judgement: a flow that was killed in
    between may simply run again. A provisional champion that passes now is one no longer.

    Args:
        model: its name in the registry.
        bundle: a sealed folder.
        run_id: the run that made it, from `tracking.log_run`.
        verdict: of all gates together.
        reasons: why it failed or is unsure, a sentence each.
        metrics: {name: {`value`, `low`, `high`, `n`}}, shown by `status`.
        tags: git commit, whether the tree was clean, data revision.
        findings: documents of all gates: the ledger's evidence.
        who: for the ledger; whoever runs this process when left out.

    Raises:
        BundleError: if the folder has no manifest or no golden examples.
        OutsideError: if MLflow refuses or cannot be reached.
    """
    contract = spec.read(bundle)
    judged = {
        **tags,
        "verdict": verdict,
        "reasons": "\n".join(reasons),
        "metrics": json.dumps(metrics, sort_keys=True),
        "contract": contract.hash,
        "contract_input": contract.input_hash,
        "contract_labels": contract.labels_hash,
        "bundle": shipping.manifest_hash(bundle),
    }
    number = find(model, bundle)
    known = number is not None
    with speaking(model) as client:
        if number is None:
            if or_none(lambda: client.get_registered_model(model)) is None:
                client.create_registered_model(model)
            source, model_id = shipping.upload(bundle, contract.modality, run_id)
            entry = client.create_model_version(model, source=source, run_id=run_id, tags=judged, model_id=model_id)
            number = int(entry.version)
        with exclusive(model):
            settle(model, who)
            if known:
                retag(client, model, number, {**judged, "promoted": ""} if verdict == "pass" else judged)
            current = aliases(model)
            if verdict == "pass" and number != current.champion:
                client.set_registered_model_alias(model, CHALLENGER, str(number))
            elif number == current.challenger:
                client.delete_registered_model_alias(model, CHALLENGER)
            if not ledger.holds(model, "registered", number):  # of a killed run, or from before there was a ledger
                made = client.get_model_version(model, str(number)).creation_timestamp / 1000
                time = datetime.fromtimestamp(made, UTC).isoformat(timespec="milliseconds") if known else None
                ledger.append(model, "registered", version=number, who=who, time=time)
            ledger.append(
                model,
                "judged",
                version=number,
                who=who,
                id=_judgement(model, number, verdict, reasons, findings, who),
                evidence={"findings.json": list(findings)} if findings else None,
                verdict=verdict,
                checks=ledger.checks(findings),
                compared_with=current.champion if number != current.champion else current.previous,
            )
    return number


def promote(
    model: str,
    version: int | None = None,
    *,
    reason: str | None = None,
    provisional: bool = False,
    approval: bool = False,
    approved_by: str = "",
    who: Actor | None = None,
    expected: int | EllipsisType | None = ...,
) -> Move:
    """Make a version champion: tag where it comes from, then move the one alias. Twice is the same as once.

    A provisional champion that is promoted with a reason is one no longer.

    Args:
        model: its name in the registry.
        version: by default the challenger.
        reason: why it is promoted; for a version whose gates did not pass it is required, and recorded as tag
            `overridden`.
        provisional: whether it serves for the time being, as its gates allow where no sound champion is; recorded as
            tag `promoted`.
        approval: whether this is the approval that `release.approval` asks for; recorded.
        approved_by: the name that the approver typed, which nobody checked; recorded.
        who: for the ledger; whoever runs this process when left out.
        expected: the champion that the version was chosen over; the one at the time of the call when left out.

    Raises:
        UsageError: if there is no such version, or none was named and there is no challenger.
        GateError: if the version's verdict is not `pass`, no reason is given, and it is not promoted provisionally; or
            if it is, and the champion is sound; or if the champion is another than the one expected.
        BundleError: if its files are not what was registered; a reason does not help.
        OutsideError: if its files cannot be fetched.
    """
    seen = _champion(model) if expected is ... else expected
    with exclusive(model):
        champion, finished = _settle(model, who)
        if finished and finished["event"] == "promoted" and version in (None, champion):
            return Move(finished["before"], finished["champion"])
        current = aliases(model)
        target = version if version is not None else current.challenger
        if target is None or target != current.champion:
            _require_unchanged(model, seen, champion, target)
        if target is None:
            last = newest(model)
            told = f"; the gates of version {last.version}, its newest, said {last.verdict}" if last else ""
            raise UsageError(
                f"{model} has no challenger to promote{told}.",
                action=f"Name a version (headstart promote {model} VERSION), or make one: headstart run {model}.",
            )
        chosen = describe(model, target)
        if target == current.champion:
            if reason and chosen.provisional:  # a person settles it
                tags = {"overridden": reason, "promoted": ""}
                _move(model, "promoted", target, target, tags, who=who, reason=reason, approval=approval)
            return Move(target, target)
        if provisional and current.champion is not None and not describe(model, current.champion).provisional:
            raise GateError(
                f"{model} version {target} may not become provisional champion: version {current.champion} is a sound "
                "one.",
                action=f"Keep that one, or promote with a reason: headstart promote {model} {target} --reason WHY.",
            )
        if chosen.verdict != "pass" and not reason and not provisional:
            raise GateError(
                f"{model} version {target} may not become champion; its gates said {chosen.verdict}: {chosen.reasons}",
                action="Mend what the gates name and run again, or override them with a reason, which is recorded: "
                f"headstart promote {model} {target} --reason WHY.",
            )
        before = current.champion or current.missing.get(CHAMPION)
        tags = {
            "promoted_from": str(before or ""),
            "rolled_back": "",
            "overridden": reason or "" if chosen.verdict != "pass" else "",
            "promoted": PROVISIONAL if provisional else "",
        }
        details: dict[str, Any] = {"verdict": chosen.verdict, "provisional": provisional, "approval": approval}
        details |= {"approved_by": approved_by} if approved_by else {}
        before = _move(model, "promoted", before, target, tags, who=who, reason=reason or "", **details)
        return Move(before, target)


def rollback(model: str, *, reason: str | None = None, who: Actor | None = None) -> Move:
    """Make the champion's predecessor champion again, in one move of the alias.

    Args:
        model: its name in the registry.
        reason: for the ledger.
        who: for the ledger; whoever runs this process when left out.

    Raises:
        UsageError: if there is no champion, or it had no predecessor, or one of them was deleted: which version came
            before a deleted one is not known, so a person names the one to go back to.
        GateError: if another version became champion meanwhile.
        BundleError: if the files of the one before are not what was registered.
        OutsideError: if they cannot be fetched.
    """
    seen = _champion(model)
    with exclusive(model):
        champion, finished = _settle(model, who)
        if finished and finished["event"] == "rolled_back":
            return Move(finished["before"], finished["champion"])
        _require_unchanged(model, seen, champion, None)
        current = aliases(model)
        if CHAMPION in current.missing:
            gone = current.missing[CHAMPION]
            raise UsageError(dangling(model, CHAMPION, gone), action=repair(model, without=[gone]))
        if PREVIOUS in current.missing:
            raise UsageError(
                f"{model} cannot go back: version {current.missing[PREVIOUS]}, which champion {current.champion} "
                "replaced, was deleted in MLflow.",
                action=repair(model, without=[current.champion]),
            )
        if current.champion is None or current.previous is None:
            raise UsageError(
                f"{model} has no version to go back to: "
                + (f"version {current.champion} is its first champion." if current.champion else "it has no champion."),
                action=f"Promote another version by its number: headstart promote {model} VERSION.",
            )
        _move(model, "rolled_back", current.champion, current.previous, {}, who=who, reason=reason or "")
        return Move(current.champion, current.previous)


def settle(model: str, who: Actor | None = None) -> None:
    """Finish or undo a move that was killed, and record a champion that something else than headstart made.

    Raises:
        OutsideError: if another machine or account noted a move just now, and may be at it.
    """
    with exclusive(model):
        _settle(model, who)


def unfinished(model: str) -> str:
    """A sentence about a move that was killed, or is being made at this moment; empty where there is none."""
    with speaking(model) as client:
        found = or_none(lambda: client.get_registered_model(model))
    if found is None or not (note := found.tags.get(MOVING)):
        return ""
    moving = json.loads(note)
    began = f"{Actor(**moving['who'])} began to make version {moving['champion']} champion at {moving['time']}"
    return f"{began}; if that was interrupted, the next run, promotion or rollback finishes or undoes it."


def _settle(model: str, who: Actor | None) -> tuple[int | None, Mapping[str, Any] | None]:
    """The version that the alias `champion` stands for, deleted or not, and the killed move that was finished now."""
    finished = None
    with speaking(model) as client:
        found = or_none(lambda: client.get_registered_model(model))
        if found is None:
            return None, None
        champion = aliases_of(client, model).get(CHAMPION)
        if note := found.tags.get(MOVING):
            moving = json.loads(note)
            if moving["machine"] != _mover() and _age_s(moving["time"]) < LIVE_S:
                raise OutsideError(
                    f"{Actor(**moving['who'])} has been making version {moving['champion']} champion of {model} since "
                    f"{moving['time']}.",
                    action="Try again in a minute: it has ended then, or is finished or undone.",
                )
            if champion == moving["champion"]:
                _finish(client, model, moving, finished={"who": vars(who or Actor.here()), "time": _now()})
                finished = moving
            else:
                _undo(client, model, moving)
        if (last := ledger.last_move(model)).details["champion"] != champion:
            ledger.append(
                model,
                "moved_outside",
                version=champion,
                who=who,
                reason="headstart found the alias moved; MLflow does not say by whom",
                before=last.details["champion"],
                champion=champion,
            )
    return champion, finished


def _move(
    model: str,
    event: ledger.Event,
    before: int | None,
    version: int,
    tags: Mapping[str, str],
    *,
    who: Actor | None,
    reason: str,
    **details: Any,
) -> int | None:
    """Make a version champion whose bundle is the one registered: no server would serve another.

    The tags are written before the alias moves: they mean nothing until then, and then they are already there.

    Returns:
        The champion before.

    Raises:
        GateError: if another machine moved the alias at the same moment, and later.
    """
    download(model, version)
    with speaking(model) as client:
        known = client.get_model_version(model, str(version)).tags
        now = _now()
        if before != version:
            tags = {**tags, "since": settings.now().isoformat(timespec="seconds")}
        moving = {
            "id": uuid4().hex,
            "event": event,
            "before": before,
            "champion": version,
            "time": now,
            "machine": _mover(),
            "who": vars(who or Actor.here()),
            "reason": reason,
            "details": details,
            "tags": tags,
            "undo": {key: known.get(key) for key in tags},
        }
        client.set_registered_model_tag(model, MOVING, json.dumps(moving, sort_keys=True))
        retag(client, model, version, tags)
        client.set_registered_model_alias(model, CHAMPION, str(version))
        _require_unchanged(model, version, _champion(model), version)
        return _finish(client, model, moving)


def _finish(client: Any, model: str, moving: Mapping[str, Any], **details: Any) -> int | None:
    """What remains once the alias has moved; every step may be repeated. Returns the champion before."""
    version, before, last = moving["champion"], moving["before"], ledger.last_move(model)
    tags = dict(moving["tags"])
    if last.details["champion"] not in (before, version):  # another machine was a moment earlier
        before = last.details["champion"]
        tags |= {"promoted_from": str(before or "")} if "promoted_from" in tags else {}
    retag(client, model, version, tags)
    if moving["event"] == "rolled_back" and or_none(lambda: client.get_model_version(model, str(before))):
        retag(client, model, before, {"rolled_back": moving["time"]})
    if aliases_of(client, model).get(CHALLENGER) == version:
        client.delete_registered_model_alias(model, CHALLENGER)
    ledger.append(
        model,
        moving["event"],
        version=version,
        who=Actor(**moving["who"]),
        reason=moving["reason"],
        id=moving["id"],
        time=moving["time"],
        before=before,
        champion=version,
        **moving["details"],
        **details,
    )
    _remove_note(client, model, moving["id"])
    return int(before) if before is not None else None


def _undo(client: Any, model: str, moving: Mapping[str, Any]) -> None:
    """Give the version back the tags it had: its move never happened."""
    version = str(moving["champion"])
    if or_none(lambda: client.get_model_version(model, version)):
        for key, value in moving["undo"].items():
            if value is None:
                client.delete_model_version_tag(model, version, key)
            else:
                client.set_model_version_tag(model, version, key, value)
    _remove_note(client, model, moving["id"])


def _remove_note(client: Any, model: str, id: str) -> None:
    """Take the note of a move away, unless another machine has put its own in its place."""
    found = client.get_registered_model(model).tags.get(MOVING)
    if found and json.loads(found)["id"] == id:
        client.delete_registered_model_tag(model, MOVING)


def _mover() -> str:
    """Whoever shares a lock with this process: of a server's registry, this account on this machine."""
    return f"{settings.machine()} uid {os.getuid()}"


def _judgement(
    model: str,
    version: int,
    verdict: str,
    reasons: Sequence[str],
    findings: Sequence[Mapping[str, Any]],
    who: Actor | None,
) -> str | None:
    """The id of a judgement in a flow run, where a task may be tried again; None outside: each one is another."""
    if who is None or not who.flow_run:
        return None
    said = json.dumps([verdict, list(reasons), list(findings)], sort_keys=True, default=ledger.plain)
    return f"judged-{model}-{version}-{digest(said)[:16]}-{who.flow_run}"


def _champion(model: str) -> int | None:
    """The version that the alias stands for, deleted or not."""
    with speaking(model) as client:
        return aliases_of(client, model).get(CHAMPION)


def _require_unchanged(model: str, seen: int | None, champion: int | None, target: int | None) -> None:
    """Refuse a move that was decided when another version was champion.

    Raises:
        GateError: naming both.
    """
    if champion == seen:
        return
    last = ledger.last_move(model)
    whom = f" ({last.who}, {last.time})" if last.details["champion"] == champion else ""
    now = f"version {champion} became champion of {model}" if champion else f"{model} lost its champion"
    left = f"; version {target} is not" if target is not None else ""
    raise GateError(
        f"{now} meanwhile{whom}{left}.",
        action=f"See who did it and why (headstart history {model}), and decide again.",
    )


def _age_s(time: str) -> float:
    return (settings.now() - datetime.fromisoformat(time)).total_seconds()


def _now() -> str:
    return settings.now().isoformat(timespec="milliseconds")

"""Who is champion, who waits, who was it before; promotion and rollback move one alias."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart import settings
from headstart.contract import spec
from headstart.errors import GateError, UsageError
from headstart.findings import Verdict
from headstart.registry import shipping
from headstart.registry.client import CHALLENGER, CHAMPION, PROVISIONAL, aliases_of, or_none, retag, speaking
from headstart.registry.versions import dangling, describe, download, find, lookup, newest, numbers, repair

PREVIOUS = "previous"  # no alias of its own: the champion's tag `promoted_from`


@dataclass(frozen=True)
class Aliases:
    """What stands where: version numbers, None where nothing does.

    Attributes:
        missing: by name, the versions that should stand there but were deleted in MLflow; those are None above.
    """

    champion: int | None
    challenger: int | None
    previous: int | None
    missing: Mapping[str, int] = field(default_factory=dict)


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
    with speaking(model) as client:
        if number is None:
            if or_none(lambda: client.get_registered_model(model)) is None:
                client.create_registered_model(model)
            source, model_id = shipping.upload(bundle, contract.modality, run_id)
            entry = client.create_model_version(model, source=source, run_id=run_id, tags=judged, model_id=model_id)
            number = int(entry.version)
        else:
            retag(client, model, number, {**judged, "promoted": ""} if verdict == "pass" else judged)
        current = aliases(model)
        if verdict == "pass" and number != current.champion:
            client.set_registered_model_alias(model, CHALLENGER, str(number))
        elif number == current.challenger:
            client.delete_registered_model_alias(model, CHALLENGER)
    return number


def aliases(model: str) -> Aliases:
    """What stands where; all None for a model that was never registered."""
    with speaking(model) as client:
        found = aliases_of(client, model)
    wanted = {name: found[name] for name in (CHAMPION, CHALLENGER) if name in found}
    champion = lookup(model, wanted[CHAMPION]) if CHAMPION in wanted else None
    if champion and champion.promoted_from is not None:
        wanted[PREVIOUS] = champion.promoted_from
    if wanted.get(CHALLENGER) == wanted.get(CHAMPION):
        wanted.pop(CHALLENGER, None)
    missing = {name: number for name, number in wanted.items() if lookup(model, number) is None}
    standing = {name: number for name, number in wanted.items() if name not in missing}
    return Aliases(standing.get(CHAMPION), standing.get(CHALLENGER), standing.get(PREVIOUS), missing)


def status(model: str) -> dict[str, Any]:
    """What stands where, what was made last, and what is gone.

    Returns:
        `champion`, `challenger`, `previous`, `newest`: each None or {`version`, `contract`, `metrics`, `since`,
        `verdict`, `reasons`, `overridden`, `provisional`, `data_revision`}; `missing`: {`champion`, `challenger` or
        `previous`: the version that should stand there, but was deleted in MLflow}.
    """
    current = aliases(model)
    return {
        CHAMPION: _summary(model, current.champion),
        CHALLENGER: _summary(model, current.challenger),
        PREVIOUS: _summary(model, current.previous),
        "newest": _summary(model, next(iter(numbers(model)), None)),
        "missing": dict(current.missing),
    }


def live(model: str) -> dict[str, Any] | None:
    """The champion's `version` and `verdict`; None without one.

    And `overridden`: why it is champion although its gates did not pass; `provisional`: whether it is so for the time
    being, as better than the baseline, but not beyond doubt.
    """
    champion = aliases(model).champion
    if champion is None:
        return None
    known = describe(model, champion)
    return {
        "version": champion,
        "verdict": known.verdict,
        "overridden": known.overridden,
        "provisional": known.provisional,
    }


def promote(model: str, version: int | None = None, *, reason: str | None = None, provisional: bool = False) -> Move:
    """Make a version champion: tag where it comes from, then move the one alias. Twice is the same as once.

    A provisional champion that is promoted with a reason is one no longer.

    Args:
        model: its name in the registry.
        version: by default the challenger.
        reason: why a version whose gates did not pass is promoted all the same; recorded as tag `overridden`.
        provisional: whether it serves for the time being, as its gates allow where no sound champion is; recorded as
            tag `promoted`.

    Raises:
        UsageError: if there is no such version, or none was named and there is no challenger.
        GateError: if the version's verdict is not `pass`, no reason is given, and it is not promoted provisionally; or
            if it is, and the champion is sound.
        BundleError: if its files are not what was registered; a reason does not help.
        OutsideError: if its files cannot be fetched.
    """
    current = aliases(model)
    target = version if version is not None else current.challenger
    if target is None:
        last = newest(model)
        seen = f"; the gates of version {last.version}, its newest, said {last.verdict}" if last else ""
        raise UsageError(
            f"{model} has no challenger to promote{seen}.",
            action=f"Name a version (headstart promote {model} VERSION), or make one: headstart run {model}.",
        )
    chosen = describe(model, target)
    if target == current.champion:
        if reason and chosen.provisional:  # a person settles it
            with speaking(model) as client:
                retag(client, model, target, {"overridden": reason, "promoted": ""})
        return Move(target, target)
    if provisional and current.champion is not None and not describe(model, current.champion).provisional:
        raise GateError(
            f"{model} version {target} may not become provisional champion: version {current.champion} is a sound one.",
            action=f"Keep that one, or promote with a reason: headstart promote {model} {target} --reason WHY.",
        )
    if chosen.verdict != "pass" and not reason and not provisional:
        raise GateError(
            f"{model} version {target} may not become champion; its gates said {chosen.verdict}: {chosen.reasons}",
            action="Mend what the gates name and run again, or override them with a reason, which is recorded: "
            f"headstart promote {model} {target} --reason WHY.",
        )
    before = current.champion or current.missing.get(CHAMPION)
    tags = {"promoted_from": str(before or ""), "rolled_back": "", "overridden": reason or ""}
    _crown(model, target, {**tags, "promoted": PROVISIONAL if provisional else ""})
    if target == current.challenger:
        with speaking(model) as client:
            client.delete_registered_model_alias(model, CHALLENGER)
    return Move(before, target)


def rollback(model: str) -> Move:
    """Make the champion's predecessor champion again, in one move of the alias.

    Raises:
        UsageError: if there is no champion, or it had no predecessor, or one of them was deleted: which version came
            before a deleted one is not known, so a person names the one to go back to.
        BundleError: if the files of the one before are not what was registered.
        OutsideError: if they cannot be fetched.
    """
    current = aliases(model)
    if CHAMPION in current.missing:
        gone = current.missing[CHAMPION]
        raise UsageError(dangling(model, CHAMPION, gone), action=repair(model, without=[gone]))
    if PREVIOUS in current.missing:
        raise UsageError(
            f"{model} cannot go back: version {current.missing[PREVIOUS]}, which champion {current.champion} replaced, "
            "was deleted in MLflow.",
            action=repair(model, without=[current.champion]),
        )
    if current.champion is None or current.previous is None:
        raise UsageError(
            f"{model} has no version to go back to: "
            + (f"version {current.champion} is its first champion." if current.champion else "it has no champion."),
            action=f"Promote another version by its number: headstart promote {model} VERSION.",
        )
    download(model, current.previous)
    with speaking(model) as client:
        retag(client, model, current.champion, {"rolled_back": _now()})
    _crown(model, current.previous, {})
    return Move(current.champion, current.previous)


def _summary(model: str, version: int | None) -> dict[str, Any] | None:
    if version is None:
        return None
    known = describe(model, version)
    shown = (
        "version",
        "contract",
        "metrics",
        "since",
        "verdict",
        "reasons",
        "overridden",
        "provisional",
        "data_revision",
    )
    return {name: getattr(known, name) for name in shown}


def _crown(model: str, version: int, tags: Mapping[str, str]) -> None:
    """Make a version champion whose bundle is the one registered: no server would serve another.

    The tags are written first: they mean nothing until the alias moves, and then they are already there.
    """
    download(model, version)
    with speaking(model) as client:
        retag(client, model, version, {**tags, "since": _now()})
        client.set_registered_model_alias(model, CHAMPION, str(version))


def _now() -> str:
    return settings.now().isoformat(timespec="seconds")

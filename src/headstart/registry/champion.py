"""Who is champion, who waits, who was it before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.registry.client import CHALLENGER, CHAMPION, aliases_of, speaking
from headstart.registry.versions import describe, lookup, numbers

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

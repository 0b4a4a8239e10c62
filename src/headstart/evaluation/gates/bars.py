"""An interval against a bar: wholly on the right side passes, wholly on the wrong side fails, across is unsure."""

import math
from collections.abc import Mapping
from typing import Any

from headstart.findings import Finding
from headstart.statistics.clustered import Scatter
from headstart.statistics.interval import Interval

REBUILD = "Run the stages again: headstart run."


def measured(document: Mapping[str, Any] | None, *path: str) -> Interval | None:
    """The interval that stands at `path` in an evidence document.

    None where any part of the path is absent, no example was measured, or a number is not finite: gates fail on None.
    """
    place: Any = document
    for key in path:
        place = place.get(key) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping) or not {"value", "low", "high", "n"} <= set(place):
        return None
    numbers = [place[key] for key in ("value", "low", "high", "n")]
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        return None
    return Interval.from_document(place) if place["n"] > 0 else None


def count(document: Mapping[str, Any] | None, key: str) -> float | None:
    """The finite number at `key` (true counts 1, false 0, a list its length), or None."""
    value = document.get(key) if isinstance(document, Mapping) else None
    if isinstance(value, list):
        return float(len(value))
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def paired_counts(document: Any) -> tuple[int, int, int, Scatter | None] | None:
    """`wins`, `losses`, `n`, and how the groups scatter that the examples come in; None where any is no such thing."""
    numbers = [count(document, key) for key in ("wins", "losses", "n")]
    if any(number is None for number in numbers):
        return None
    try:
        scatter = Scatter.from_document(document.get("scatter"))
    except ValueError:
        return None
    wins, losses, n = (int(number or 0) for number in numbers)
    return wins, losses, n, scatter


def among(n: int, groups: float | None) -> str:
    """`473 test examples`, or `473 test examples in 40 groups`, which the interval counts."""
    return f"{n} test examples" + (f" in {groups:g} group{'s' if groups > 1 else ''}" if groups else "")


def missing(check: str, bar: float | None, what: str) -> Finding:
    """The finding for evidence that isn't there: closed by default."""
    return Finding(check, "fail", None, bar, f"{what}: without evidence nothing is deployed.", REBUILD)


def at_least(
    check: str, interval: Interval, bar: float, *, what: str, action: str, groups: float | None = None
) -> Finding:
    """Pass if all of the interval reaches the bar, fail if none does; `groups` that the examples come in, if any."""
    told = f"{what} is {spelled(interval)} on {among(interval.n, groups)}"
    return _judge(check, interval, bar, interval.low >= bar, interval.high < bar, told, action, groups)


def at_most(
    check: str, interval: Interval, bar: float, *, what: str, action: str, groups: float | None = None
) -> Finding:
    """Pass if all of the interval keeps to the bar, fail if none does."""
    told = f"{what} is {spelled(interval)} on {among(interval.n, groups)}"
    return _judge(check, interval, bar, interval.high <= bar, interval.low > bar, told, action, groups)


def spelled(interval: Interval) -> str:
    """`0.912 (0.894 to 0.927)`."""
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def enough(interval: Interval, bar: float, groups: float | None = None) -> str:
    """About how many examples, or groups of them, would settle an unsure gate if the value stays; may be empty.

    Half-widths shrink with the square root of the number of examples or groups. Rounded up to two digits.
    """
    gap = abs(interval.value - bar)
    reach = interval.value - interval.low if interval.value > bar else interval.high - interval.value
    if gap == 0:
        return ""
    if groups is not None and groups < 2:
        return "More examples of one group will not tell; those of others would. "
    needed = (groups or interval.n) * (reach / gap) ** 2
    unit: int = 10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1)
    return f"About {math.ceil(needed / unit) * unit} {'groups of ' if groups else ''}test examples would tell. "


def _judge(
    check: str,
    interval: Interval,
    bar: float,
    right: bool,
    wrong: bool,
    told: str,
    action: str,
    groups: float | None,
) -> Finding:
    evidence = interval.document()
    if right:
        return Finding(check, "pass", interval.value, bar, f"{told}; the bar is {bar:g}.", "", evidence)
    if wrong:
        reason = f"{told}; all of the interval misses the bar of {bar:g}."
        return Finding(check, "fail", interval.value, bar, reason, action, evidence)
    reason = f"{told}; the bar of {bar:g} lies inside the interval, so these examples can't tell."
    return Finding(check, "unsure", interval.value, bar, reason, enough(interval, bar, groups) + action, evidence)

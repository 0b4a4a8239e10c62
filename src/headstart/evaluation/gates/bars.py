"""An interval against a bar: wholly on the right side passes, wholly on the wrong side fails, across is unsure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from headstart.findings import Finding
from headstart.statistics.cluster_robust import ClusterRobust
from headstart.statistics.interval import Interval

REBUILD = "Run the stages again: headstart run."
NAMED = 10  # classes named in a sentence, at most
EDGE = 1e-9  # 100 * 0.57 is a little less than 57
REACH = 10  # times as many test examples as there are: beyond, more of them are no advice


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


def paired_counts(document: Any) -> tuple[int, int, int, ClusterRobust | None] | None:
    """`wins`, `losses`, `n`, and the cluster-robust standard error; None where any is no such thing.

    Evaluations of format 3 and older call the last `scatter`.
    """
    numbers = [count(document, key) for key in ("wins", "losses", "n")]
    if any(number is None for number in numbers):
        return None
    try:
        robust = ClusterRobust.from_document(document.get("cluster_robust", document.get("scatter")))
    except ValueError:
        return None
    wins, losses, n = (int(number or 0) for number in numbers)
    return wins, losses, n, robust


def among(n: int, groups: float | None) -> str:
    """`473 test examples`, or `473 test examples in 40 groups`, which the interval counts."""
    return f"{n} test examples" + (f" in {groups:g} group{'s' if groups > 1 else ''}" if groups else "")


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of many the first ten and a count."""
    shown = list(names)
    if len(shown) > NAMED:
        return f"{', '.join(shown[:NAMED])} and {len(shown) - NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def missing(check: str, bar: float | None, what: str) -> Finding:
    """The finding for evidence that isn't there: closed by default."""
    return Finding(check, "fail", None, bar, f"{what}: without evidence nothing is deployed.", REBUILD)


def deleted(check: str, champion: str) -> Finding:
    """The finding where the champion is no longer in the registry: a person decides, as with missing evidence."""
    reason = f"Champion {champion} was deleted in MLflow: there is nothing to compare the candidate with."
    return Finding(check, "fail", None, None, reason, "Promote the candidate, or another version, with a reason.")


def at_least(
    check: str,
    interval: Interval,
    bar: float | None,
    *,
    what: str,
    action: str,
    key: str = "",
    groups: float | None = None,
) -> Finding:
    """Pass if all of the interval reaches the bar, fail if none does; pass where there is no bar.

    Args:
        check: the gate's name.
        interval: what was measured.
        bar: what is asked; None asks for nothing.
        what: its name in the sentence.
        action: what helps, without a full stop.
        key: the bar's place in `params.yaml`; empty where it is no way out to lower it.
        groups: that the examples come in, if any.
    """
    told = f"{what} is {spelled(interval)} on {among(interval.n, groups)}"
    if bar is None:
        return Finding(check, "pass", interval.value, None, f"{told}; no bar is set ({key}).", "", interval.document())
    within = floor(interval.low)
    if key and within > 0:
        action += f"; or lower {key} to {within:g}, if that will do"
    return _judge(check, interval, bar, interval.low >= bar, interval.high < bar, told, f"{action}.", groups)


def at_most(
    check: str, interval: Interval, bar: float, *, what: str, action: str, key: str, groups: float | None = None
) -> Finding:
    """Pass if all of the interval keeps to the bar, fail if none does; arguments as those of `at_least`."""
    told = f"{what} is {spelled(interval)} on {among(interval.n, groups)}"
    action += f"; or raise {key} to {-floor(-interval.high):g}, if that will do"
    return _judge(check, interval, bar, interval.high <= bar, interval.low > bar, told, f"{action}.", groups)


def floor(value: float) -> float:
    """The largest number of two digits after the point that is not above `value`."""
    return math.floor(100 * value + EDGE) / 100


def below(value: float) -> float:
    """The largest number of two digits after the point that is below `value`."""
    return (math.ceil(100 * value - EDGE) - 1) / 100


def spelled(interval: Interval) -> str:
    """`0.912 (0.894 to 0.927)`."""
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def enough(interval: Interval, bar: float, groups: float | None = None) -> str:
    """About how many examples, or groups of them, would settle an unsure gate if the value stays; may be empty.

    Half-widths shrink with the square root of the number of examples or groups. Rounded up to two digits.
    """
    if groups is not None and groups < 2:
        return "More examples of one group will not tell; those of others would. " if interval.value != bar else ""
    needed = settled_by(interval, bar, groups)
    return "" if needed is None else would_tell(needed, groups or interval.n, bool(groups))


def settled_by(interval: Interval, bar: float, groups: float | None = None) -> float | None:
    """How many examples, or groups of them, would settle it if the value stays; None where no number would."""
    gap = abs(interval.value - bar)
    if gap == 0 or (groups is not None and groups < 2):
        return None
    reach = interval.value - interval.low if interval.value > bar else interval.high - interval.value
    return (groups or interval.n) * (reach / gap) ** 2


def rounded_up(count: float) -> int:
    """A number of examples rounded up to two digits: 1 to 99 as they are, then 110, 120, ..."""
    unit: int = 10 ** max(0, math.floor(math.log10(max(count, 1.0))) - 1)
    return math.ceil(count / unit) * unit


def would_tell(needed: float, there: float, grouped: bool) -> str:
    """How many test examples, or groups, would tell, and whether so many are within reach."""
    told = f"About {rounded_up(needed):,} {'groups of ' if grouped else ''}test examples would tell"
    if needed > REACH * there:
        return f"{told}, {needed / there:,.0f} times what there is: out of reach. "
    return f"{told}. "


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

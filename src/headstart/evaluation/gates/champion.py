"""Gate `champion`: a candidate may be worse than the champion by a margin at most, on the same test examples.

Three answers: shown to be no worse, shown to be worse, or not enough examples to tell. Unsure never replaces a
champion.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding
from headstart.statistics import paired
from headstart.statistics.paired import Difference

CHECK = "champion"
POWER = 0.8
WORSE = "Keep the champion. Look at the examples only it gets right (see the report), or raise gates.champion_margin."


def judge(
    comparison: Mapping[str, Any] | None,
    *,
    champion: str | None,
    margin: float,
    level: float,
    new_class_bar: float | None,
    deleted: bool = False,
) -> Finding:
    """Whether the candidate may take the champion's place.

    Accuracy over the classes that both know decides, paired. Macro-F1 can say no on its own (a class given up hides in
    accuracy) but not hold a candidate up. Classes that only the candidate knows must reach an absolute bar.

    Args:
        comparison: what `comparison.compare` answered.
        champion: the champion's version; None where there is none yet.
        margin: how much less accurate the candidate may be, 0 or more.
        level: how often, at most, a candidate that is worse by the margin passes.
        new_class_bar: accuracy asked of the classes that the champion does not know, taken together; None asks none.
        deleted: whether the champion was deleted from the registry.
    """
    if champion is None:
        reason = "No other version is live to compare with: the other gates decide."
        return Finding(CHECK, "pass", None, None, reason)
    if deleted:
        return bars.deleted(CHECK, champion)
    counted = bars.paired_counts((comparison or {}).get("paired"))
    if comparison is None or counted is None:
        return bars.missing(CHECK, -margin, f"The candidate was not compared with champion {champion}")
    wins, losses, n, robust = counted
    if n == 0:
        reason = f"No test example is of a class that both the candidate and champion {champion} know."
        action = "Give the two models names of their own, or promote with a reason if the classes were renamed."
        return Finding(CHECK, "fail", None, -margin, reason, action)
    return _worst(
        _accuracy(
            paired.from_counts(wins, losses, n, 1 - 2 * level, robust),
            champion,
            margin,
            level,
            comparison.get("flips") or [],
            comparison.get("accuracy"),
        ),
        _macro_f1(comparison, champion, margin),
        _new_classes(comparison, new_class_bar),
    )


def _accuracy(
    found: Difference,
    champion: str,
    margin: float,
    level: float,
    flips: Sequence[Mapping[str, Any]],
    accuracy: Mapping[str, Any] | None,
) -> Finding:
    interval, wins, losses, n = found.interval, found.wins, found.losses, found.interval.n
    verdict = paired.non_inferior(interval, margin)
    robust = found.cluster_robust
    among = bars.among(n, robust.groups if robust else None)
    told = (
        f"On {among} that both can answer, only the candidate is right on {wins} and only champion {champion} on "
        f"{losses}: accuracy differs by {bars.spelled(interval)}, {-margin:g} is allowed"
    )
    if flips and len(flips) > 1 and flips[0]["losses"] > 1:
        most = flips[0]
        told += f" (the class that loses most is {most['class']}: {most['losses']} of its {most['n']} examples)"
    evidence = {
        **interval.document(),
        "wins": wins,
        "losses": losses,
        "p_value": found.p_value,
        "flips": flips[: bars.NAMED],
        **({"accuracy": accuracy} if accuracy else {}),
    }
    if verdict == "pass":
        return Finding(CHECK, verdict, interval.value, -margin, f"{told}.", "", evidence)
    if verdict == "fail":
        return Finding(CHECK, verdict, interval.value, -margin, f"{told}: it is worse.", WORSE, evidence)
    gap = interval.value + margin
    action = "Keep the champion meanwhile"
    if gap > 0 and robust:
        if robust.groups > 1:
            reach = NormalDist().inv_cdf(1 - level) + NormalDist().inv_cdf(POWER)
            needed = max(robust.groups + 1, robust.groups * (reach * robust.error / gap) ** 2)
            action = f"{bars.would_tell(needed, robust.groups, True)}{action}"
    elif gap > 0:
        differing = max((wins + losses) / n, gap)
        action = f"{bars.would_tell(paired.sample_size(gap, differing, level, POWER), n, False)}{action}"
    if (allowed := -bars.below(interval.low)) < 1:
        action += f"; or raise gates.champion_margin to {allowed:g}, if so much may be lost"
    reason = f"{told}: these examples can't tell whether it is worse."
    return Finding(CHECK, verdict, interval.value, -margin, reason, f"{action}.", evidence)


def _macro_f1(comparison: Mapping[str, Any], champion: str, margin: float) -> Finding | None:
    interval = bars.measured(comparison, "macro_f1", "difference")
    if interval is None:
        return bars.missing(
            CHECK, -margin, f"The candidate's macro-F1 was not compared with that of champion {champion}"
        )
    if interval.high >= -margin:
        return None
    reason = (
        f"Macro-F1 differs from champion {champion} by {bars.spelled(interval)}, {-margin:g} is allowed: "
        "it is worse on rarer classes."
    )
    return Finding(CHECK, "fail", interval.value, -margin, reason, WORSE, interval.document())


def _new_classes(comparison: Mapping[str, Any], bar: float | None) -> Finding | None:
    names = (comparison.get("classes") or {}).get("new") or []
    if not names:
        return None
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    interval = bars.measured(comparison, "new", "accuracy")
    if interval is None:
        return bars.missing(CHECK, bar, f"No test example is of the new classes {shown}")
    if bar is None:
        return None
    action = "Add examples of the new classes, or leave them out for now"
    return bars.at_least(CHECK, interval, bar, what=f"Accuracy on the new classes {shown}", action=action)


def _worst(decisive: Finding, *others: Finding | None) -> Finding:
    """The first finding that fails, else the first that is unsure, else the decisive one."""
    findings = [decisive, *(finding for finding in others if finding is not None)]
    for verdict in ("fail", "unsure"):
        for finding in findings:
            if finding.verdict == verdict:
                return finding
    return decisive

"""Gate `baseline`: a pretrained network must beat what costs next to nothing, on the same test examples.

Beyond doubt it passes. Where the examples cannot tell it is unsure, and `is_better` says whether it is ahead at least
on these: then it may become a provisional champion, while there is no sound one.
"""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding
from headstart.statistics import paired

CHECK = "baseline"
ACTION = "Deploy the baseline's kind of model instead, add examples, or take a backbone nearer to your data"


def judge(evaluation: Mapping[str, Any] | None, margin: float, level: float) -> Finding:
    """Whether the candidate is more accurate than the best baseline by more than `margin`.

    Args:
        evaluation: `baselines` holds, by name, `accuracy` and `paired` with `wins`, `losses` and `n`.
        margin: share of examples; below 0, how much worse it may be.
        level: how often, at most, a candidate that is not better passes. Simulated on 60 to 600
            examples, a candidate exactly as good as the baseline passes 4 to 6 times in 100 and is provisional 38 to 46
            times; one that is 5 points worse passes once at most and is provisional 0 to 18 times
            (`tests/unit/test_gates_error_rates.py`).
    """
    baselines = evaluation.get("baselines") if evaluation else None
    found = {name: bars.measured(baselines, name, "accuracy") for name in baselines or {}}
    scores = {name: interval.value for name, interval in found.items() if interval is not None}
    if not baselines or len(scores) < len(found):
        return bars.missing(CHECK, margin, "The evaluation has no baseline, or one without accuracy")
    best = max(scores, key=lambda name: (scores[name], name))
    counted = bars.paired_counts(baselines[best].get("paired"))
    if counted is None or not counted[2]:
        return bars.missing(CHECK, margin, f"The evaluation does not pair the candidate with the baseline {best}")
    wins, losses, n, robust = counted
    against = paired.from_counts(wins, losses, n, 1 - 2 * level, robust)
    interval, groups = against.interval, robust.groups if robust else None
    told = (
        f"The baseline {best} reaches {scores[best]:.3f}; "
        f"the candidate is right on {wins} of {bars.among(n, groups)} where that is wrong, "
        f"and wrong on {losses} where that is right: accuracy differs by {bars.spelled(interval)}"
    )
    evidence = {**interval.document(), "baseline": best, "wins": wins, "losses": losses, "p_value": against.p_value}
    asked = f"more than {margin:g} is asked" if margin >= 0 else f"it may be worse by less than {-margin:g}"
    if interval.low > margin:
        return Finding(CHECK, "pass", interval.value, margin, f"{told}; {asked}.", "", evidence)
    if interval.high <= margin:
        reason = f"{told}; {asked} and all of the interval lies below."
        return Finding(CHECK, "fail", interval.value, margin, reason, f"{ACTION}.", evidence)
    sure, needed = paired.sureness(against, margin), bars.settled_by(interval, margin, groups)
    more = None if needed is None else bars.rounded_up(max(needed - (groups or n), 1))
    evidence |= {"sure": sure, "more": more, "unit": "groups" if groups else "rows"}
    if groups:
        evidence["groups"] = groups
    if interval.value > margin:
        reason = f"{told}; {asked}. It does so here, but these examples make that only {100 * sure:.0f}% sure."
    else:
        reason = f"{told}; {asked}. It does not reach that here, on too few examples to be sure."
    allowed = bars.below(interval.low)
    way = f"; or set gates.baseline_margin to {allowed:g}, if being about as good will do" if allowed > -1 else ""
    action = f"{settled(evidence)}{ACTION}{way}."
    return Finding(CHECK, "unsure", interval.value, margin, reason, action, evidence)


def is_better(finding: Mapping[str, Any]) -> bool:
    """Whether a finding of this gate that is unsure shows a candidate that is ahead on the examples there are."""
    unsure = finding["check"] == CHECK and finding["verdict"] == "unsure"
    one_group = finding["evidence"].get("groups", 2) < 2  # says nothing of other groups
    return bool(unsure and not one_group and finding["statistic"] > max(finding["bar"], 0.0))


def settled(evidence: Mapping[str, Any]) -> str:
    """How many more test rows, or groups of them, would settle it if the difference stays; may be empty."""
    more = evidence.get("more")
    if more is None:
        return ""
    rows = "groups of test rows" if evidence["unit"] == "groups" else "test rows"
    return f"About {more:,} more {rows} would settle it, if the difference stays. "

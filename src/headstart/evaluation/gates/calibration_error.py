"""Gate `calibration_error`: whether a probability of 0.9 is right nine times in ten, after temperature scaling.

Noise alone makes calibration error positive: on 120 examples a perfectly calibrated model shows about 0.09. So without
a bar of the user's own, the error is held against what a calibrated model shows on as many examples.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "calibration_error"
TOLERATED = 0.05  # beyond noise; temperature scaling leaves less on every data set of Guo et al. 2017, table 1
ACTION = (
    "Confidence is fitted on the validation split: give that more examples, of the same kind as the test split's (its "
    "share is prepare.split.validation where the source names no splits)"
)


def judge(evaluation: Mapping[str, Any] | None, bar: float | None, level: float) -> Finding:
    """Whether the interval of calibration error lies below `bar`; without a bar, whether the model is calibrated.

    It is not calibrated where its error exceeds, by more than `TOLERATED`, what a calibrated model stays under with a
    chance of `1 - level`. A calibrated model fails 3 times in 1,000 at most; one whose every answer is 0.2 too
    sure fails on 120 examples 68 to 89 times in 100, on 500 always (`tests/unit/test_gates_error_rates.py`).

    Args:
        evaluation: `metrics.ece`, and `reliability` [{`n`, `confidence`}] by bin of confidence.
        bar: None where the user set none.
        level: one-sided.
    """
    interval = bars.measured(evaluation, "metrics", "ece")
    if interval is None:
        return bars.missing(CHECK, bar, "The evaluation has no calibration error")
    key, groups = "gates.calibration_error", bars.count(evaluation, "groups")
    if bar is not None:
        return bars.at_most(CHECK, interval, bar, what="Calibration error", action=ACTION, key=key, groups=groups)
    bins = [row for row in (evaluation or {}).get("reliability") or [] if row.get("n")]
    if not bins or any(row.get("confidence") is None for row in bins):
        return bars.missing(CHECK, None, "The evaluation has no reliability by confidence")
    expected, most = chance(bins, level, groups)
    allowed = most + TOLERATED
    told = (
        f"Calibration error is {bars.spelled(interval)} on {bars.among(interval.n, groups)}; a calibrated model shows "
        f"{expected:.3f} on average on as many, and rarely more than {most:.3f}"
    )
    evidence = {**interval.document(), "calibrated": {"expected": expected, "most": most}}
    if interval.value <= allowed:
        return Finding(CHECK, "pass", interval.value, allowed, f"{told}.", "", evidence)
    reason = f"{told}: it is off by more than {TOLERATED:g} beyond that."
    action = f"{ACTION}; or set {key} to {-bars.floor(-interval.high):g}, if that will do."
    return Finding(CHECK, "fail", interval.value, allowed, reason, action, evidence)


def chance(bins: Sequence[Mapping[str, Any]], level: float, groups: float | None = None) -> tuple[float, float]:
    """Calibration error of a calibrated model with these confidences: its mean, and its `1 - level` quantile.

    Of `n` examples in a bin with mean confidence `p`, a calibrated model is right on a binomial number, which is off by
    its mean absolute deviation on average (De Moivre: 2 v C(n, v) p^v q^(n-v+1) with v = floor(np) + 1). Bins add up,
    and their sum is close to normal. Where examples come in groups, each group counts as one example.
    """
    n = sum(row["n"] for row in bins)
    deviations = [_mean_absolute_deviation(row["n"], row["confidence"]) for row in bins]
    variances = [
        max(row["n"] * row["confidence"] * (1 - row["confidence"]) - deviation**2, 0.0)
        for row, deviation in zip(bins, deviations, strict=True)
    ]
    wider = math.sqrt(n / groups) if groups else 1.0
    expected = wider * sum(deviations) / n
    return expected, expected + NormalDist().inv_cdf(1 - level) * wider * math.sqrt(sum(variances)) / n


def _mean_absolute_deviation(n: int, p: float) -> float:
    """E|X - np| of a binomial X."""
    if not 0 < p < 1:
        return 0.0
    v = math.floor(n * p) + 1
    ways = math.lgamma(n + 1) - math.lgamma(v + 1) - math.lgamma(n - v + 1)
    return 2 * v * math.exp(ways + v * math.log(p) + (n - v + 1) * math.log1p(-p))

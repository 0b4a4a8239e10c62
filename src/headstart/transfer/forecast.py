"""What accuracy to expect on test, from the probe on all of train or from where a strategy stood in the race.

A strategy that raced learned from m examples and will learn from n. Its errors fall by a power law, as learning curves
do (Hestness et al. 2017, arXiv:1712.00409):

    error(n) = error(m) (m / n)^c        c = 0.35, between 0 and 0.75 in 9 cases of 10

Exponents seen where all of train was trained on after a race: 0.07 (`apidocs`), 0.49 and 0.71 (trec6 with 1,300 and 300
rows). The frozen probe's own exponent is measured, but says little: what learns more parameters gains more by labels.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from headstart.params.section import Strategy
from headstart.params.transfer import Choice
from headstart.statistics import clustered
from headstart.statistics.interval import Interval, normal_quantile
from headstart.statistics.learning_curve import REACH
from headstart.transfer.evidence import Evidence
from headstart.transfer.race import Leg, Outcome

SLOWEST, LIKELY, FASTEST = 0.0, 0.35, 0.75  # exponents; the outer two hold 90%
OUTER = 0.9


def predict(strategy: Strategy, evidence: Evidence, run: Outcome | None, choice: Choice) -> dict[str, Any]:
    """The accuracy to expect on the test split: `{metric, value, low, high, level, n, basis}`, the last in words.

    The interval adds up doubts as independent ones: of what was measured, of what more labels bring, and of a test
    split of as many rows as this one has. The probe is expected to do as on held-out folds of train; a trained strategy
    as in its last race, errors falling as above, and no worse than the probe, which is handed on where it is. One that
    did not race is expected to do as the probe does, or to err up to half as often or half as often again.
    """
    n, z = evidence.examples["test"], normal_quantile(choice.interval)
    value, below, above = _expected(strategy, evidence, run, z, choice.interval)
    share = min(max(value, 0.5 / max(n, 1)), 1 - 0.5 / max(n, 1))  # a test of n rows may err once where none is seen
    own = z * math.sqrt(share * (1 - share) / max(n, 1))
    low, high = max(0.0, value - math.hypot(below, own)), min(1.0, value + math.hypot(above, own))
    basis = _basis(strategy, evidence, run, value)
    around = {"value": value, "low": low, "high": high, "level": choice.interval}
    return {"metric": "accuracy", **around, "n": n, "basis": basis}


def chance(
    dearer: Strategy, cheaper: Strategy, evidence: Evidence, run: Outcome, choice: Choice, *, times: int = 1
) -> float:
    """That `dearer` is the more accurate of two that raced, once both have learned from `times` all of train.

    A race stops at a part of train, where what learns more parameters is still behind. From the same judged examples,
    compared one by one, both are carried on: the probe's errors fall as its learning curve does, others' by the power
    law above. Doubts of what was judged and of both falls add up as independent normal ones; that the probe is handed
    on where it is better counts for nobody.
    """
    last = {leg.strategy: leg for leg in run.legs}
    weighed, ahead, doubt = np.zeros(len(last[dearer].right)), 0.0, 0.0
    for leg, sign in ((last[cheaper], 1), (last[dearer], -1)):
        share, spread = _left(leg, times * evidence.examples["train"], evidence)
        error = _error(leg.accuracy)
        weighed += sign * share * ~leg.right
        ahead, doubt = ahead + sign * share * error, math.hypot(doubt, spread * error)
    doubt = math.hypot(doubt, clustered.error(weighed, run.groups))
    return NormalDist().cdf(ahead / doubt) if doubt > 0 else float(ahead > 0)


def last_leg(strategy: Strategy, run: Outcome | None) -> Leg | None:
    """How a strategy stood on the last rung it ran; None where it did not race."""
    legs = [leg for leg in run.legs if leg.strategy == strategy] if run else []
    return legs[-1] if legs else None


def labels_needed(leg: Leg, accuracy: float, train: int) -> int | None:
    """Labels with which errors, falling as is likely, come to `1 - accuracy`; None beyond `REACH` times train."""
    if accuracy >= 1:
        return None
    needed = leg.rows * (_error(leg.accuracy) / (1 - accuracy)) ** (1 / LIKELY)
    return math.ceil(max(needed, leg.rows)) if needed <= REACH * train else None


def _left(leg: Leg, rows: int, evidence: Evidence) -> tuple[float, float]:
    """Share of a leg's errors that is left after learning from `rows` labels, and its standard error."""
    if leg.strategy == "linear_probe" and evidence.curve is not None:
        return evidence.curve.left(leg.rows, rows)
    likely, slow, fast = ((rows / leg.rows) ** -power for power in (LIKELY, SLOWEST, FASTEST))
    return likely, (slow - fast) / 2 / normal_quantile(OUTER)


def _basis(strategy: Strategy, evidence: Evidence, run: Outcome | None, value: float) -> str:
    """What the number rests on, so that nobody wonders why the race shows others."""
    last = last_leg(strategy, run)
    if strategy == "linear_probe":
        return "the probe on held-out folds of train"
    if last is None:
        return f"the probe on held-out folds of train: {strategy} did not race, and may err half as often or half more"
    if value == evidence.probe.value:
        return f"the probe on held-out folds of train, which is handed on where {strategy} is no better"
    return (
        f"{last.accuracy.value:.1%} in the race after learning from {last.rows:,}, its errors falling as "
        f"labels grow to {evidence.examples['train']:,}"
    )


def _expected(
    strategy: Strategy, evidence: Evidence, run: Outcome | None, z: float, level: float
) -> tuple[float, float, float]:
    """Accuracy expected, and how far it may lie below and above, the test split's own chance left out."""
    reached = evidence.probe
    doubt = (reached.high - reached.low) / 2
    if strategy == "linear_probe":
        return reached.value, doubt, doubt
    if (last := last_leg(strategy, run)) is None:
        apart = math.hypot(doubt, (1 - reached.value) / 2)
        return reached.value, apart, apart
    return _carried_on(last.accuracy, evidence.examples["train"] / last.rows, reached, z / normal_quantile(OUTER))


def _carried_on(stood: Interval, growth: float, probe: Interval, wider: float) -> tuple[float, float, float]:
    """From an accuracy measured on a part of train to `growth` times as many labels."""
    likely, slow, fast, measured = _errors(stood, growth)
    value = max(1 - likely, probe.value)
    below = math.hypot(wider * (slow - likely), measured)
    above = math.hypot(wider * (likely - fast), measured)
    return value, min(below, max(value - probe.low, measured)), max(1 - likely + above, probe.high) - value


def _errors(stood: Interval, growth: float) -> tuple[float, float, float, float]:
    """With `growth` times as many labels: the likely error, the outer two, and half the measured interval."""
    error = _error(stood)
    likely, slow, fast = (error * growth**-power for power in (LIKELY, SLOWEST, FASTEST))
    return likely, slow, fast, (stood.high - stood.low) / 2 * growth**-LIKELY


def _error(stood: Interval) -> float:
    """The error rate behind an accuracy, half an error added, so that none seen is not none ever."""
    return (stood.n * (1 - stood.value) + 0.5) / (stood.n + 1)

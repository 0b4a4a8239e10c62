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

from headstart.params.section import Strategy
from headstart.params.transfer import Choice
from headstart.statistics.interval import Interval, normal_quantile
from headstart.transfer.evidence import Evidence
from headstart.transfer.race import Outcome

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

    A race stops at a part of train, where what learns more parameters is still behind. Both are carried on as in
    `predict`, doubts as independent normal ones; that the probe is handed on where it is better counts for nobody.
    Beyond train the probe gains what its learning curve gains, nothing where it has none.
    """
    ahead, doubt = 0.0, 0.0
    for name, sign in ((dearer, 1), (cheaper, -1)):
        value, spread = _grown(name, evidence, run, normal_quantile(choice.interval), times)
        ahead, doubt = ahead + sign * value, math.hypot(doubt, spread)
    return NormalDist().cdf(ahead / doubt) if doubt > 0 else float(ahead > 0)


def _grown(strategy: Strategy, evidence: Evidence, run: Outcome, z: float, times: int) -> tuple[float, float]:
    """Accuracy expected with `times` train, and its standard error; measured intervals reach `z` of theirs."""
    rows = times * evidence.examples["train"]
    if strategy == "linear_probe":
        reached, curve = evidence.probe, evidence.curve
        spread = (reached.high - reached.low) / 2 / z
        if times == 1 or curve is None:
            return reached.value, spread
        then = curve.at(rows)
        return reached.value + then.value - curve.at(rows / times).value, math.hypot(
            spread, (then.high - then.low) / 2 / z
        )
    last = next(leg for leg in reversed(run.legs) if leg.strategy == strategy)
    likely, slow, fast, measured = _errors(last.accuracy, rows / last.rows)
    return 1 - likely, math.hypot((slow - fast) / 2 / normal_quantile(OUTER), measured / z)


def _basis(strategy: Strategy, evidence: Evidence, run: Outcome | None, value: float) -> str:
    """What the number rests on, so that nobody wonders why the race shows others."""
    legs = [leg for leg in run.legs if leg.strategy == strategy] if run else []
    if strategy == "linear_probe":
        return "the probe on held-out folds of train"
    if not legs:
        return f"the probe on held-out folds of train: {strategy} did not race, and may err half as often or half more"
    if value == evidence.probe.value:
        return f"the probe on held-out folds of train, which is handed on where {strategy} is no better"
    return (
        f"{legs[-1].accuracy.value:.3f} in the race after learning from {legs[-1].rows:,}, its errors falling as "
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
    legs = [leg for leg in run.legs if leg.strategy == strategy] if run else []
    if not legs:
        apart = math.hypot(doubt, (1 - reached.value) / 2)
        return reached.value, apart, apart
    last = legs[-1]
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
    error = (stood.n * (1 - stood.value) + 0.5) / (stood.n + 1)
    likely, slow, fast = (error * growth**-power for power in (LIKELY, SLOWEST, FASTEST))
    return likely, slow, fast, (stood.high - stood.low) / 2 * growth**-LIKELY

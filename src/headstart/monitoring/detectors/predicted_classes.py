"""Do the predicted classes come in the shares they had in the reference?"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.findings import Finding
from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.statistics import two_sample

SEED = 0
WHOLE = 0.2  # share of the level that the contingency test gets; the rest is divided among the classes
NAMED = 3


def detect(profile: Profile, window: Window, level: float) -> Finding:
    """Two tests that share the level: the whole table, and each class against all others.

    The contingency test sees many classes move a little. A single class that triples drowns in its degrees of
    freedom, so each class is tested on its own too (Fisher's exact test, Bonferroni over the classes). Both are exact
    two-sample tests: the reference's sampling error counts. `statistic` is the joint p-value, or a bound for it that is
    low enough to alarm.
    """
    counts = Counter(window.predicted)
    known = list(profile.classes)
    classes = known + sorted(set(counts) - set(known))
    before = np.array([profile.predicted_counts.get(name, 0) for name in classes], dtype=np.int64)
    after = np.array([counts.get(name, 0) for name in classes], dtype=np.int64)
    single = _fisher(before, after)
    p_value = min(1.0, float(len(classes) * single.min() / (1.0 - WHOLE)))
    if p_value > level:  # else the alarm stands, and a simulation for what it cannot change is saved
        p_value = min(p_value, two_sample.contingency(before, after, SEED).p_value / WHOLE)
    moved = _moved(classes, before, after, single)
    most = moved[0]
    failed = p_value <= level
    return Finding(
        check="predicted_classes",
        verdict="fail" if failed else "pass",
        statistic=p_value,
        bar=level,
        reason=(
            f"{most['class']!r} was predicted for {most['window']:.1%} of {window.rows} {window.noun}, "
            f"{_compared(most)}; predictions move so far by chance with p = {p_value:.2g}"
            f"{'' if failed else ', which is no alarm'}."
        ),
        action="Look at inputs of that class first: is the mix of the traffic really another?" if failed else "",
        evidence={"moved": moved, "p_single_class": float(single.min())},
    )


def _compared(moved: Mapping[str, Any]) -> str:
    """How often a class was predicted, against the reference: a ratio, since a share would be taken for the class's."""
    if not moved["reference"]:
        return "never in the reference"
    if not moved["window"]:
        return f"for {moved['reference']:.1%} in the reference"
    times = f"{moved['window'] / moved['reference']:.2g}"
    return f"{'' if times == '1' else f'{times} times '}as often as in the reference"


def _moved(
    classes: list[str], before: NDArray[np.int64], after: NDArray[np.int64], p_values: NDArray[np.float64]
) -> list[dict[str, str | float]]:
    """The classes that moved most, with their shares before and after."""
    order = np.argsort(p_values, kind="stable")[:NAMED]
    shares = before / before.sum(), after / after.sum()
    return [
        {"class": classes[at], "reference": float(shares[0][at]), "window": float(shares[1][at])}
        for at in order.tolist()
    ]


def _fisher(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
    """Two-sided p-values of each class against all others, `(classes,)`: twice the smaller tail of Fisher's test."""
    from scipy.stats import hypergeom

    totals = before + after
    null = hypergeom(int(totals.sum()), totals, int(after.sum()))
    tails = np.minimum(null.cdf(after), null.sf(after - 1))
    return np.asarray(np.minimum(1.0, 2.0 * tails), dtype=np.float64)

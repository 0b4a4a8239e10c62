"""How far is absurdly far: bounds from a set's own distribution, wide enough to be quiet on a sound one."""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTOR = 4.0  # nothing nearer to the median than this, either way, is called absurd; nor is a smaller gap a gap
TAILS = (0.75, 0.9, 0.99)
BEYOND = 5  # rows that a quantile must have beyond it, else a single outlier could set its own bound


def bounds(values: NDArray[Any], level: float) -> tuple[float, float]:
    """The smallest and the largest positive number that may be called usual.

    Logarithms are compared with a normal distribution, each side with a scale of its own: the largest that the
    quantiles 75, 90 and 99% ask for, so that a heavy tail widens its own bound, and up to 1% of outliers a side don't
    move it. Each of n values may fall outside with chance `level / n`: of sets with such a distribution, a share of
    `level` has any value outside. Tails heavier than that beyond the 99% quantile are named more often.

    >>> bounds(np.array([50, 60, 70, 80, 90, 100] * 100), 0.001)
    (18.7..., 300.0...)

    Args:
        values: positive; with fewer than 20 nothing is called absurd.
        level: how many sound sets in one may have a value outside, in (0, 1).
    """
    n = len(values)
    tails = [tail for tail in TAILS if (1 - tail) * n >= BEYOND - 1e-9]
    if not tails:
        return 0.0, float("inf")
    logs = np.log(values.astype(np.float64))
    middle = float(np.median(logs))
    normal = NormalDist()
    far = -normal.inv_cdf(level / (2 * n))
    reach = []
    for sign in (-1.0, 1.0):
        scales = [
            sign * (float(np.quantile(logs, 0.5 + sign * (tail - 0.5))) - middle) / normal.inv_cdf(tail)
            for tail in tails
        ]
        reach.append(max(float(np.log(FACTOR)), far * max(scales)))
    return float(np.exp(middle - reach[0])), float(np.exp(middle + reach[1]))


def gap(values: NDArray[Any], level: float) -> tuple[float, float]:
    """Where a minority stands apart: bounds as `bounds` gives them, however many rows lie beyond.

    Quantiles can't tell a tenth of absurd rows from a heavy tail; that nothing lies between can. Of k rows beyond, the
    nearest is `FACTOR` times as large as its neighbour with chance `FACTOR ** -k`, if the tail is as heavy as Pareto's
    of index 1, and less often in a lighter one: k is the least for which all gaps together stay below `level`.
    Source: Renyi 1953, On the theory of order statistics (spacings of logarithms are independent exponentials).

    >>> gap(np.array([50, 60, 70] * 90 + [15_000] * 30), 0.001)
    (0.0, 1024.6...)

    Args:
        values: positive.
        level: how many sound sets in one may have such a gap.
    """
    least = int(np.ceil(np.log(level * (1 - 1 / FACTOR)) / -np.log(FACTOR)))
    logs = np.sort(np.log(values.astype(np.float64)))
    n = len(logs)
    wide = np.flatnonzero(np.diff(logs) >= np.log(FACTOR)) + 1  # so many lie below the gap
    middles = {int(below): float(np.exp((logs[below - 1] + logs[below]) / 2)) for below in wide}
    low = [middle for below, middle in middles.items() if least <= below < n - below]
    high = [middle for below, middle in middles.items() if least <= n - below <= below]
    return max(low, default=0.0), min(high, default=float("inf"))

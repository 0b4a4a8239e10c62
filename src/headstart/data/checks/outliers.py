"""How far is absurdly far: bounds from a set's own distribution, wide enough to be quiet on a sound one."""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTOR = 4.0  # nothing nearer to the median than this, either way, is called absurd
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

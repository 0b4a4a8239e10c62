"""Did the window come from where the reference came from? Exact or simulated null, right for small and tied data.

Both tests condition on the pooled sample, so their level holds at any size, with empty classes and with ties; both
resolve p-values of 1e-5 and below, which a yearly budget of false alarms needs (see `budget`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 400_000  # smallest p-value of `contingency`: 1 / (DRAWS + 1) = 2.5e-6
ENOUGH = 100  # exceedances after which the simulation stops: a relative error of about a tenth
BATCHES = (1_000, 20_000)  # tables drawn at once: as many as were drawn so far, within these bounds
TOLERANCE = 1e-9
EXACT_CELLS = 400_000_000  # beyond, about 3 s: `ks` takes the asymptotic p-value


@dataclass(frozen=True)
class Test:
    """A statistic, and how often one as large or larger turns up when nothing changed."""

    __test__ = False  # not for pytest

    statistic: float
    p_value: float


def contingency(reference_counts: ArrayLike, window_counts: ArrayLike, seed: int) -> Test:
    """Whether two samples share one distribution over k classes: Pearson's statistic, simulated null.

    The reference's own sampling error is part of the null (it isn't goodness of fit against scaled reference counts).
    Tables with both margins as observed are drawn (hypergeometric), so the p-value is valid however small a cell is.
    Drawing stops early once it is plainly large (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301): the
    p-value is `ENOUGH / draws` then, else `(exceedances + 1) / (DRAWS + 1)`.

    Args:
        reference_counts: `(k,)` whole numbers, at least 0.
        window_counts: `(k,)`, the same classes in the same order.
        seed: of the simulation.

    Returns:
        The statistic and its p-value; 0 and 1 where a side is empty or all lies in one class.

    Raises:
        ValueError: if the shapes differ or a count is negative.
    """
    reference, window = np.asarray(reference_counts, dtype=np.int64), np.asarray(window_counts, dtype=np.int64)
    if reference.shape != window.shape or reference.ndim != 1:
        raise ValueError(f"counts of shapes {reference.shape} and {window.shape}: two equally long rows were expected")
    if min(reference.min(initial=0), window.min(initial=0)) < 0:
        raise ValueError("a count is negative")
    seen = (reference + window) > 0
    pooled, window = (reference + window)[seen], window[seen]
    total, size = int(pooled.sum()), int(window.sum())
    if len(pooled) < 2 or size in (0, total):
        return Test(0.0, 1.0)
    expected = pooled * (size / total)
    scale = total / (total - size)  # (seen - expected)^2 / expected on the window's side, times this, is both sides
    observed = float(((window - expected) ** 2 / expected).sum())
    random = np.random.default_rng(seed)
    drawn = exceeding = 0
    while drawn < DRAWS:
        batch = min(max(drawn, BATCHES[0]), BATCHES[1], DRAWS - drawn)
        tables = random.multivariate_hypergeometric(pooled, size, size=batch, method="marginals")  # (batch, k)
        larger = ((tables - expected) ** 2 / expected).sum(axis=1) >= observed * (1 - TOLERANCE)
        if exceeding + int(larger.sum()) >= ENOUGH:
            last = int(np.searchsorted(larger.cumsum(), ENOUGH - exceeding))  # the draw that made it enough
            return Test(observed * scale, ENOUGH / (drawn + last + 1))
        drawn, exceeding = drawn + batch, exceeding + int(larger.sum())
    return Test(observed * scale, (exceeding + 1) / (DRAWS + 1))


def ks(reference: ArrayLike, window: ArrayLike) -> Test:
    """Whether two samples of one number share one distribution: two-sided Kolmogorov-Smirnov, exact with ties.

    Under the null every assignment of the pooled values to the two samples is equally likely. Walking through the
    pooled values in order, the probability of each path is carried along, and paths that reach the observed distance
    between two different values are taken out; what was taken out is the p-value. No simulation, so no seed and no
    floor. Source: the lattice-path recursion of Hodges 1958, with ties as in Schröer and Trenkler 1995,
    doi:10.1016/0167-9473(94)00040-P. Beyond `EXACT_CELLS` the asymptotic p-value is taken, conservative with ties.

    Args:
        reference: `(n,)` numbers.
        window: `(m,)` numbers.

    Returns:
        The largest distance between the two distribution functions and its p-value; 0 and 1 where a side is empty.

    Raises:
        ValueError: if a number is NaN.
    """
    first, second = np.asarray(reference, dtype=np.float64).ravel(), np.asarray(window, dtype=np.float64).ravel()
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a number is NaN: leave it out, and judge the share left out on its own")
    small, large = (first, second) if len(first) <= len(second) else (second, first)
    if len(small) == 0:
        return Test(0.0, 1.0)
    m, n = len(small), len(large)
    values = np.concatenate([small, large])
    order = np.argsort(values, kind="stable")
    ends = np.append(np.diff(values[order]) != 0, True)  # where the distribution functions may be compared
    of_small = np.cumsum(order < m)
    # (distance times m n), whole numbers, so that no rounding decides
    gaps = np.abs(of_small * n - (np.arange(1, m + n + 1) - of_small) * m)[ends]
    observed = int(gaps.max())
    statistic = observed / (m * n)
    if observed == 0:
        return Test(0.0, 1.0)
    if m * (m + n) > EXACT_CELLS:
        from scipy.special import kolmogorov

        return Test(statistic, float(kolmogorov(statistic * np.sqrt(m * n / (m + n)))))
    return Test(statistic, _reaching(observed, m, n, ends))


def beyond(reference: ArrayLike, window: ArrayLike) -> tuple[int, int, float]:
    """How many of a window's values lie beyond all of the reference's, on the side where that says more.

    Under the null every assignment of the pooled values to the two samples is equally likely, so the k largest all
    come from the window with probability m/(n+m) * (m-1)/(n+m-1) * ... (k factors), likewise the k smallest; the
    p-value is twice the smaller of the two. Only values strictly beyond count, so ties make it conservative.
    Sees a handful of absurd values among many sound ones, where `ks` sees little. Source: the exceedance test, Gumbel
    and von Schelling 1950, doi:10.1214/aoms/1177729798.

    Args:
        reference: `(n,)` numbers.
        window: `(m,)` numbers.

    Returns:
        The count, the side (-1 below, 1 above), and the p-value; 0, 1 and 1.0 where none lies beyond.
    """
    before, after = np.asarray(reference, dtype=np.float64).ravel(), np.asarray(window, dtype=np.float64).ravel()
    if not len(before) or not len(after):
        return 0, 1, 1.0
    below, above = int((after < before.min()).sum()), int((after > before.max()).sum())
    count, side = (below, -1) if below > above else (above, 1)
    return count, side, min(1.0, 2.0 * all_from_window(count, len(before), len(after)))


def all_from_window(count: int, reference: int, window: int) -> float:
    """Chance that `count` rows, picked from both samples together, are all of the window's; 1.0 for none."""
    picked = np.arange(count)
    return float(np.prod((window - picked) / (reference + window - picked)))


def _reaching(observed: int, m: int, n: int, ends: NDArray[np.bool_]) -> float:
    """How likely a random walk through the pooled values reaches the distance `observed / (m n)`."""
    taken = 0.0
    low = 0  # alive[j] is the probability that low + j of the values so far belong to the small sample
    alive = np.ones(1)
    left = np.arange(m, -n - 1, -1)  # of the small sample, by how many of it were passed; none is where it is below 0
    for walked in range(m + n):
        to_small = alive * (left[low : low + len(alive)] / (m + n - walked))
        moved = np.empty(len(alive) + 1)
        np.subtract(alive, to_small, out=moved[:-1])
        moved[-1] = 0.0
        moved[1:] += to_small
        alive = moved
        if not ends[walked]:
            continue
        # |i n - (walked + 1 - i) m| < observed, that is |i (m + n) - (walked + 1) m| < observed
        middle = (walked + 1) * m
        first = (middle - observed) // (m + n) + 1
        last = -((-middle - observed) // (m + n)) - 1
        start, stop = max(first - low, 0), max(last + 1 - low, 0)
        taken += float(alive[:start].sum() + alive[stop:].sum())
        alive, low = alive[start:stop], low + start
        if len(alive) == 0:
            break
    return min(1.0, taken)


def cliffs_delta(reference: ArrayLike, window: ArrayLike) -> float:
    """How much larger the window's numbers are: P(window > reference) - P(window < reference), in [-1, 1].

    It does not depend on units or outliers, and it is linear in mixtures: where a third of a window comes from
    elsewhere, its delta is a third of that of a window all from there. 0 where a side is empty; NaNs are left out.
    Source: Cliff 1993, doi:10.1037/0033-2909.114.3.494.
    """
    first, second = (np.asarray(side, dtype=np.float64).ravel() for side in (reference, window))
    first, second = np.sort(first[~np.isnan(first)]), second[~np.isnan(second)]
    if not len(first) or not len(second):
        return 0.0
    below, upto = np.searchsorted(first, second, side="left"), np.searchsorted(first, second, side="right")
    return float((below + upto - len(first)).mean() / len(first))

"""Intervals by resampling examples, a few hundred resamples at a time, the same bits on every machine."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.statistics import cluster_robust
from headstart.statistics.cluster_robust import Groups
from headstart.statistics.interval import Interval, normal_quantile

CELLS = 2_000_000  # numbers resampled at once: 16 MB an array
RESAMPLES = 1000


@dataclass(frozen=True)
class Sampling:
    """How a statistic is resampled; see `interval`."""

    level: float = 0.95
    seed: int = 11
    resamples: int = RESAMPLES

    def document(self) -> dict[str, Any]:
        """As keyword arguments of `interval`."""
        return asdict(self)


Statistic = Callable[..., NDArray[np.float64]]


def mean(sample: NDArray[Any]) -> NDArray[np.float64]:
    """The plainest statistic: `(resamples, n)` to `(resamples,)`."""
    return np.asarray(sample.mean(axis=1), dtype=np.float64)


def interval(
    statistic: Statistic,
    *arrays: NDArray[Any],
    resamples: int,
    level: float,
    seed: int,
    method: Literal["percentile", "symmetric"] = "percentile",
    groups: Groups = None,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """A statistic of the examples with its bootstrap interval; arrays are resampled together, row by row.

    `percentile` takes the quantiles of the resampled statistic. `symmetric` goes as far below the value as the upper
    quantile lies above it: for a statistic that sampling noise pushes up, such as calibration error, which
    resampling pushes up once more, so that both quantiles may lie above the truth. Its upper end errs upwards.
    Either way the interval is widened to hold the value.
    Source: Efron and Tibshirani 1993, chapter 13; Davison and Hinkley 1997, section 5.2, for the reflected end.

    >>> interval(mean, np.array([0.0, 1.0, 1.0, 1.0]), resamples=1000, level=0.95, seed=1).value
    0.75

    Args:
        statistic: takes each array resampled, `(resamples, n, ...)`, and returns `(resamples,)`.
        arrays: each `(n, ...)`.
        resamples: more: steadier ends, more time.
        level: two-sided confidence, in (0, 1).
        seed: of the resampling.
        method: see above.
        groups: `(n,)`, which group each example is of. Then the interval is no narrower than one that draws whole
            groups, whose ends are stretched from a normal's to Student's t of the effective groups, as `clustered` has
            it; of a single group nothing is known.
        within: what the statistic can be; where groups widen the interval, it stays inside.

    Raises:
        DataError: if there is no example, or the arrays differ in length.
    """
    n = len(arrays[0])
    if n == 0 or any(len(array) != n for array in arrays):
        raise DataError(
            f"the bootstrap got arrays of {[len(array) for array in arrays]} examples; "
            "equal lengths of at least 1 were expected."
        )
    value = float(statistic(*(array[None] for array in arrays))[0])

    def ends(draws: Iterator[NDArray[np.int64]]) -> tuple[float, float]:
        parts = [statistic(*(array[rows] for array in arrays)) for rows in draws]
        low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
        if method == "symmetric":
            low = 2 * value - high
        return min(float(low), value), max(float(high), value)

    low, high = ends(_rows(n, resamples, seed))
    if (place := cluster_robust.places(groups, n)) is not None:
        sizes = np.bincount(place)
        if len(sizes) == 1:
            return Interval(value, *within, n)
        wider = _stretch(sizes, level)
        less, more = ends(_whole_groups(place, sizes, resamples, seed))
        low = min(low, max(within[0], value - wider * (value - less)))
        high = max(high, min(within[1], value + wider * (more - value)))
    return Interval(value, low, high, n)


def _rows(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Which examples each resample holds, `(resamples at once, n)`."""
    random = np.random.default_rng(seed)
    batch = max(1, CELLS // n)
    for start in range(0, resamples, batch):
        yield random.integers(0, n, size=(min(batch, resamples - start), n))


def _whole_groups(
    place: NDArray[np.int64], sizes: NDArray[np.int64], resamples: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Which examples each resample holds, `(1, examples)`: as many whole groups as there are."""
    random, order = np.random.default_rng(seed), np.argsort(place, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for _ in range(resamples):
        drawn = random.integers(0, len(sizes), size=len(sizes))
        of = sizes[drawn]
        yield order[np.repeat(starts[drawn] - np.cumsum(of) + of, of) + np.arange(of.sum())][None]


def _stretch(sizes: NDArray[np.int64], level: float) -> float:
    """What the ends of a bootstrap of groups are too near by: their number is small, and they are unequal."""
    count, few = len(sizes), cluster_robust.quantile(cluster_robust.effective(sizes), level)
    return few / normal_quantile(level) * math.sqrt(count / (count - 1))

"""Intervals by resampling examples, a few hundred resamples at a time, the same bits on every machine."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.statistics import clustered
from headstart.statistics.clustered import Groups
from headstart.statistics.interval import Interval

CELLS = 2_000_000  # numbers resampled at once: 16 MB an array
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
        groups: `(n,)`, which group each example is of: whole groups are drawn then, since their examples are right or
            wrong together. With a handful of groups such an interval is still too narrow.

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
    draws = _rows(n, resamples, seed, groups)
    parts = [statistic(*(array[rows] for array in arrays)) for rows in draws]
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    if method == "symmetric":
        low = 2 * value - high
    return Interval(value, min(float(low), value), max(float(high), value), n)


def _rows(n: int, resamples: int, seed: int, groups: Groups) -> Iterator[NDArray[np.int64]]:
    """Which examples each resample holds, `(resamples at once, examples)`: as many as there are; or whole groups."""
    random, place = np.random.default_rng(seed), clustered.places(groups, n)
    if place is None:
        batch = max(1, CELLS // n)
        for start in range(0, resamples, batch):
            yield random.integers(0, n, size=(min(batch, resamples - start), n))
        return
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    for _ in range(resamples):
        drawn = random.integers(0, len(members), size=len(members))
        yield np.concatenate([members[group] for group in drawn])[None]

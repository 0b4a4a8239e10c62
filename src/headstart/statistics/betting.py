"""Evidence that may be looked at as often as one likes: e-values of means of bounded values.

An e-value of 20 rejects its hypothesis at level 0.05, now or at any later look (Ville's inequality): whoever bets
against a true hypothesis multiplies their money by 20 once in 20 times at most, however long they play.

The bets here are a mixture of constant ones. So the evidence does not depend on the order of the values, and it can
only fall when a value is replaced by a smaller one: a value that is not known yet may be counted as the least it can
be, and corrected when it is known, and the level still holds. Adaptive bets have neither property.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", arXiv:2010.09686.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARES = np.concatenate([2.0 ** -np.arange(1, 11), [0.75, 0.9, 0.99]])  # of the largest bet that cannot go broke


def above(values: ArrayLike, bar: float, *, least: float, counts: ArrayLike | None = None) -> float:
    """The e-value against "the mean is at most `bar`": large where the values speak for a mean above it.

    Args:
        values: each at least `least`.
        bar: above `least`.
        least: the smallest value there can be.
        counts: how often each value came; once each when left out.

    Raises:
        ValueError: if the bar, or a value, is below `least`.
    """
    seen = np.asarray(values, dtype=np.float64)
    often = np.ones_like(seen) if counts is None else np.asarray(counts, dtype=np.float64)
    return float(_mixture(often @ _growth(seen, bar, least)))


def highest_above(values: ArrayLike, bar: float, *, least: float) -> float:
    """The largest e-value that `above` has after any number of the values, in their order; at least 1.

    It rejects as an e-value does, since the level holds for all moments together. Where the last values are not known
    yet, and count as the least there can be, the evidence before them still stands.
    """
    seen = np.asarray(values, dtype=np.float64)
    return float(_mixture(np.cumsum(_growth(seen, bar, least), axis=0)).max(initial=1.0))


def below(values: ArrayLike, bar: float, *, most: float, counts: ArrayLike | None = None) -> float:
    """The e-value against "the mean is at least `bar`", of values of at most `most`; see `above`."""
    return above(-np.asarray(values, dtype=np.float64), -bar, least=-most, counts=counts)


def _growth(seen: NDArray[np.float64], bar: float, least: float) -> NDArray[np.float64]:
    """By how much each value multiplies each bet, `(values, bets)`, as logarithms."""
    if bar <= least or (seen.size and seen.min() < least):
        raise ValueError(f"values and the bar {bar} must not be below {least}")
    bets = SHARES / (bar - least)
    return np.log1p(bets[None, :] * (seen - bar)[:, None])


def _mixture(growth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of all bets, each given as the logarithm of what it has become in the last dimension."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(growth).mean(axis=-1))

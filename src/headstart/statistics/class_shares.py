"""Rows in which the classes come in given shares, chosen without repeating any, so that intervals stay what they say.

A weight for each row would use the rows of common classes a little better; a choice of rows lets every metric, test and
interval be computed as always.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.02  # of the shares, that classes with few rows may fall short by in all; more: more rows are chosen
SEED = 0


def choose(labels: Sequence[str], shares: Mapping[str, float]) -> NDArray[np.int64]:
    """As many rows as possible whose labels come in these shares, ascending; the same ones each time.

    A class that should come four times as often as it does leaves about a quarter of all rows. Classes with fewer rows
    than their share asks for may together fall short by `TOLERANCE`; those without any row are left out, and the
    others divide their share.

    Args:
        labels: one a row.
        shares: by class, not negative, of any sum above 0; a class that is not named has none.

    Raises:
        ValueError: if no class with a share has a row.
    """
    names = sorted({*labels} & {name for name, share in shares.items() if share > 0})
    if not names:
        raise ValueError("no row has a label that should come")
    of_class = {name: np.flatnonzero(np.asarray(labels, dtype=object) == name) for name in names}
    there = np.array([len(of_class[name]) for name in names])
    wanted = np.array([shares[name] for name in names], dtype=np.float64)
    wanted /= wanted.sum()

    def short(size: int) -> float:
        return float(np.maximum(wanted - there / size, 0.0).sum())

    low, high = 1, int(there.sum())
    while low < high:  # the largest size at which not too much is missing
        middle = (low + high + 1) // 2
        low, high = (middle, high) if short(middle) <= TOLERANCE else (low, middle - 1)
    counts = np.minimum(_rounded(wanted * low), there)
    random = np.random.default_rng(SEED)
    chosen = [random.permutation(of_class[name])[:count] for name, count in zip(names, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def reached(labels: Sequence[str], rows: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """The share of each class among the chosen rows."""
    found = np.asarray(labels, dtype=object)[rows]
    return {name: float((found == name).mean()) for name in classes}


def _rounded(amounts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers with the same sum: what is left over goes to the largest remainders."""
    whole = np.floor(amounts + 1e-9).astype(np.int64)
    left = round(float(amounts.sum())) - int(whole.sum())
    whole[np.argsort(whole - amounts, kind="stable")[:left]] += 1
    return whole

"""Faults of a stream of examples: other class shares, classes that are new, inputs that repeat.

Each answers with row numbers of a pool, `(n,)`, so that the caller keeps ids, groups and labels together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def with_shares(
    labels: Sequence[str], shares: dict[str, float], n: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Rows drawn with replacement so that classes come in these shares.

    Args:
        labels: of the pool, one a row.
        shares: by class; weights that need not sum to 1. A class left out does not come.
        n: how many rows.
        generator: of the draws.

    Raises:
        ValueError: if a class with a share above 0 has no row in the pool.
    """
    known = np.asarray(labels)
    names = [name for name, share in shares.items() if share > 0]
    rows = {name: np.flatnonzero(known == name) for name in names}
    if absent := [name for name in names if not len(rows[name])]:
        raise ValueError(f"the pool has no example of {absent[0]!r}")
    weights = np.array([shares[name] for name in names], dtype=np.float64)
    chosen = generator.choice(len(names), size=n, p=weights / weights.sum())
    return np.array([generator.choice(rows[names[place]]) for place in chosen], dtype=np.int64)


def one_class_tripled(labels: Sequence[str], n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """One class, drawn at random, three times as frequent as in the pool (at most 90%); the others keep their ratio."""
    shares = _shares(labels)
    name = sorted(shares)[int(generator.integers(len(shares)))]
    tripled = min(0.9, 3 * shares[name])
    rest = 1 - shares[name]
    moved = {other: share * (1 - tripled) / rest for other, share in shares.items() if other != name}
    return with_shares(labels, {**moved, name: tripled}, n, generator)


def dirichlet(labels: Sequence[str], n: int, generator: np.random.Generator, *, alpha: float) -> NDArray[np.int64]:
    """Class shares drawn from a Dirichlet distribution around none: 10 is mild, 1 strong, 0.1 leaves a few classes."""
    names = sorted(set(labels))
    shares = dict(zip(names, generator.dirichlet(np.full(len(names), alpha)).tolist(), strict=True))
    return with_shares(labels, shares, n, generator)


def repeated(n: int, pool: int, generator: np.random.Generator, *, times: int) -> NDArray[np.int64]:
    """`n` rows of which each comes `times` times, in random order."""
    distinct = generator.choice(pool, size=-(-n // times), replace=False)
    return np.asarray(generator.permutation(np.repeat(distinct, times))[:n], dtype=np.int64)


def _shares(labels: Sequence[str]) -> dict[str, float]:
    names, counts = np.unique(np.asarray(labels), return_counts=True)
    return dict(zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True))

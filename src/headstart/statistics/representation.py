"""How far apart two sets of features lie: similar in geometry (CKA), or told apart (A-distance)."""

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError


def linear_cka(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """How alike two networks see the same examples: 1 for the same up to rotation and scale, 0 for unrelated.

    Computed between features, `|B'A|^2 / (|A'A| |B'B|)` of the centred values, which costs d x d where the form between
    examples costs n x n; both give the same number. With as few examples as features it is high for unrelated
    networks too: compare like with like.
    Source: Kornblith et al. 2019, arXiv:1905.00414, equation 4.

    Args:
        a: `(examples, d)`.
        b: `(examples, e)`, of the same examples in the same order.

    Returns:
        A value in [0, 1]; 0 where one side is the same for every example.

    Raises:
        DataError: if the examples differ in number, or are fewer than two.
    """
    if len(a) != len(b) or len(a) < 2:
        raise DataError(f"features of {len(a)} and {len(b)} examples arrived; the same, at least 2, were expected.")
    first, second = _centred(a), _centred(b)
    size = float(np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second))
    if size == 0:
        return 0.0
    shared = float(np.linalg.norm(second.T @ first)) ** 2
    return min(1.0, shared / size)


def a_distance(error: float) -> float:
    """Proxy A-distance, 2 (1 - 2 error): 0 where two domains can't be told apart, 2 where they always are.

    An error above one half, which chance alone gives, counts as one half.
    Source: Ben-David et al. 2007, NeurIPS 19, "Analysis of representations for domain adaptation".

    Args:
        error: held-out error of a classifier between the domains, both equally frequent; in [0, 1].
    """
    return float(np.clip(2 * (1 - 2 * error), 0.0, 2.0))


def _centred(values: NDArray[np.floating]) -> NDArray[np.float64]:
    exact = np.asarray(values, dtype=np.float64)
    return np.asarray(exact - exact.mean(axis=0), dtype=np.float64)

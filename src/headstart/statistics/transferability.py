"""What frozen features promise before anything is trained on them: right or wrong by the nearest neighbours."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.statistics.cluster_robust import Groups

BLOCK = 4_000_000  # similarities held at once: 16 MB


def neighbours(
    features: NDArray[np.floating], targets: NDArray[np.int64], k: int, groups: Groups = None
) -> NDArray[np.bool_]:
    """Whether the k nearest others name each example's class: leave-one-out k-NN by cosine similarity.

    The most frequent class among them answers; of equally frequent ones that whose members are nearer. Members of the
    example's own group are no neighbours: near copies would flatter. An example left without any other is wrong.
    A block of rows at a time: 20,000 examples need 16 MB beside the features.

    Args:
        features: `(examples, d)`.
        targets: `(examples,)`, class indices.
        k: how many neighbours vote; fewer where there are fewer.
        groups: of the examples; None where there is none.

    Returns:
        `(examples,)`; its mean is the leave-one-out accuracy.

    Raises:
        DataError: if there is no example, or features are not finite.
        ValueError: if `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"{k} neighbours cannot vote; at least 1 was expected")
    directions = _checked(features, targets).astype(np.float32)
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(norms > 0, norms, np.float32(1))
    count, own = len(directions), _members(groups, len(directions))
    at_once = max(1, BLOCK // count)
    near = min(k, count - 1)
    if near == 0:
        return np.zeros(count, dtype=bool)
    votes = 1.0 + np.arange(near, 0, -1) / (near * (near + 1))  # the nearer counts more, all extras together a half
    classes, right = int(targets.max()) + 1, np.empty(count, dtype=bool)
    for start in range(0, count, at_once):
        rows = np.arange(start, min(count, start + at_once))
        alike = directions[rows] @ directions.T  # (rows, examples)
        for place, row in enumerate(rows):
            alike[place, own[row]] = -np.inf
        nearest = np.argpartition(alike, count - near, axis=1)[:, count - near :]
        seen = np.take_along_axis(alike, nearest, axis=1)
        order = np.argsort(-seen, axis=1, kind="stable")
        nearest, seen = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(seen, order, axis=1)
        score = np.zeros((len(rows), classes))
        np.add.at(score, (np.arange(len(rows))[:, None], targets[nearest]), np.where(np.isfinite(seen), votes, 0.0))
        right[rows] = (score.argmax(axis=1) == targets[rows]) & (score.max(axis=1) > 0)
    return right


def _checked(features: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(targets) or len(values) == 0:
        raise DataError(
            f"features of shape {values.shape} and {len(targets)} targets arrived; "
            "(examples, d) and as many targets were expected, at least 1."
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DataError(f"row {row} of the features is not finite.", action="Look at the backbone's output for it.")
    return values


def _members(groups: Sequence[str | None] | None, count: int) -> list[NDArray[np.int64]]:
    """For each example the places of its group, its own included; alone where it has none."""
    alone = list(np.arange(count)[:, None])
    if groups is None:
        return alone
    places: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None:
            places.setdefault(group, []).append(row)
    together = {group: np.array(rows) for group, rows in places.items()}
    return [alone[row] if group is None else together[group] for row, group in enumerate(groups)]

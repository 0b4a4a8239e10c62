"""What frozen features promise before anything is trained on them: LogME, and right or wrong by the nearest neighbours.

Neither trains a head. A score that disagrees with a probe's accuracy is not to be trusted: these rank candidates, the
probe decides.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.statistics.clustered import Groups

BLOCK = 4_000_000  # similarities held at once: 16 MB
NOTHING = 1e-10  # share of the largest squared singular value below which a direction is rounding and nothing else
RATIOS = (1e-8, 1e8)  # noise against prior variance, in units of that largest value: where the evidence is searched
STEPS = 129  # places in between, eight a decade, before the search is refined


def log_me(features: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Mean log evidence an example, in nats, of a Bayesian linear regression from features to each class.

    Higher is better; only differences between backbones on the same examples mean something, and they are small
    (hundredths), so ties are to be reported as ties. Each class is a target of 0 and 1 with Gaussian weights
    (precision a) and noise (precision b); the evidence is at its maximum over both. It is found over the ratio a / b,
    a having a closed form then, so that it is the global maximum to within 1e-6, also with fewer examples than features
    (a fixed-point iteration may stop at another one). Features are taken as they are: neither centred nor
    scaled, and their common scale does not matter.
    Source: You et al. 2021, arXiv:2102.11005.

    Args:
        features: `(examples, d)`.
        targets: `(examples,)`, class indices; classes without an example are left out.

    Returns:
        The mean over classes of log evidence divided by the number of examples.

    Raises:
        DataError: if there is no example, or features are all zero or not finite.
    """
    values = _checked(features, targets)
    _, member = np.unique(targets, return_inverse=True)
    hot = np.eye(int(member.max()) + 1)[member]  # (examples, classes)
    squared, inside = _projected(values, hot)
    outside = np.maximum(0.0, hot.sum(axis=0) - inside.sum(axis=0))  # of |y|^2, what no direction reaches
    scores = [_evidence(squared, *parts, len(values)) for parts in zip(inside.T, outside, strict=True)]
    return float(np.mean(scores))


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


def _projected(
    values: NDArray[np.float64], hot: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared singular values, and how much of each target's square lies along each left vector `(directions, k)`.

    From the smaller of the two Gram matrices: ten times faster than a decomposition of 20,000 x 384.
    """
    few = len(values) <= values.shape[1]
    squared, vectors = np.linalg.eigh(values @ values.T if few else values.T @ values)
    if squared[-1] <= 0:
        raise DataError("all features are zero: there is nothing to score.", action="Look at the backbone's output.")
    some = squared > NOTHING * squared[-1]
    squared, vectors = squared[some], vectors[:, some]
    if few:
        return squared, np.square(vectors.T @ hot)
    return squared, np.square(vectors.T @ (values.T @ hot)) / squared[:, None]


def _evidence(squared: NDArray[np.float64], inside: NDArray[np.float64], outside: float, count: int) -> float:
    """The greatest log evidence an example of one class.

    With r = a / b the target has covariance (F F' + r) / a, and a = n / (y' (F F' + r)^-1 y) is best for each r.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_ratio: float) -> float:
        ratio = math.exp(log_ratio)
        distance = float((inside / (squared + ratio)).sum() + outside / ratio)
        spread = float(np.log(squared + ratio).sum()) + (count - len(squared)) * log_ratio
        return 0.5 * (math.log(2 * math.pi * distance / count) + spread / count + 1)

    low, high = np.log(np.array(RATIOS) * squared[-1])
    grid = np.linspace(low, high, STEPS)
    best = int(np.argmin([loss(place) for place in grid]))
    around = (grid[max(0, best - 1)], grid[min(STEPS - 1, best + 1)])
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-4})
    return -min(float(found.fun), loss(float(grid[best])))

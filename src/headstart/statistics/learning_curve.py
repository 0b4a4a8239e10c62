"""What more labels would bring: a power law through the errors at several training sizes, carried on beyond the last.

error(n) = a + b n^-c      a: what no number of labels mends; c in [0.05, 2]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.statistics.interval import Interval, wilson

POWERS = np.geomspace(0.05, 2.0, 60)  # each 6% above the one before
PASSES = 3  # binomial variances come from the observed errors first, then from the fitted ones
REACH = 100  # times the largest size measured: beyond, nothing is promised


@dataclass(frozen=True)
class Curve:
    """A fitted curve and what its replicas say of its uncertainty.

    Attributes:
        floor: a, an error in [0, 1].
        scale: b, at least 0, for n counted in training examples.
        power: c.
        sizes: training examples, the fewest first.
        right: right answers at each size.
        judged: of so many.
        level: two-sided confidence of `at`.
        replicas: `(resamples, 3)`: a, b and c of curves fitted to counts drawn anew.
    """

    floor: float
    scale: float
    power: float
    sizes: tuple[int, ...]
    right: tuple[int, ...]
    judged: tuple[int, ...]
    level: float
    replicas: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def _law(self) -> NDArray[np.float64]:
        return np.array([self.floor, self.scale, self.power])

    def document(self, labels: int) -> dict[str, Any]:
        """The measured accuracies, the law, and what twice as many as `labels` would bring, as plain JSON values."""
        measured = zip(self.sizes, self.right, self.judged, strict=True)
        return {
            "measured": [{"labels": size, **wilson(right, of, self.level).document()} for size, right, of in measured],
            "law": {"floor": self.floor, "scale": self.scale, "power": self.power},
            "twice": {"labels": 2 * labels, **self.at(2 * labels).document(), "gain": self.gain(labels, 2 * labels)},
            "level": self.level,
        }

    def at(self, size: float) -> Interval:
        """Accuracy to expect with `size` training examples; `n` is the number of answers judged at the largest size.

        The interval is that of the expected accuracy, not of a test set's: a test set adds its own sampling error. It
        reaches up as far as down, at least: noise makes curves look flatter at their end than they are. Simulated at
        level 0.9 (6 curves, largest size 400 or 4,000, each of four sizes judged by 200, 1,000 or 4,000 answers of its
        own), it held the truth at twice the largest size in 0.90 of all runs (0.84 for the worst curve, quantiles alone
        0.88 and 0.76), and at four times in 0.89 (0.83).
        """
        value = float(1 - _error(self._law, size))
        low, high = np.quantile(1 - _error(self.replicas.T, size), [(1 - self.level) / 2, (1 + self.level) / 2])
        low, high = min(float(low), value), max(float(high), value)
        return Interval(value, low, min(1.0, max(high, 2 * value - low)), self.judged[-1])

    def gain(self, start: float, end: float) -> dict[str, float]:
        """Accuracy that going from `start` to `end` training examples brings: `{value, low, high}`.

        The interval reaches up as far as down, at least, as that of `at`. Simulated likewise, it held the truth of
        twice the largest size in 0.89 of all runs at level 0.9 (0.86 for the worst curve, quantiles alone 0.75).
        """
        before, after = (_error(np.vstack([self._law, self.replicas]).T, size) for size in (start, end))
        gains = before - after
        value = float(gains[0])
        low, high = np.quantile(gains[1:], [(1 - self.level) / 2, (1 + self.level) / 2])
        low, left = min(float(low), value), float(before[0])
        return {"value": value, "low": low, "high": min(left, max(float(high), 2 * value - low))}

    def left(self, start: float, end: float) -> tuple[float, float]:
        """Share of the errors made with `start` training examples that is left with `end`, and its standard error."""
        before, after = (_error(np.vstack([self._law, self.replicas]).T, size) for size in (start, end))
        shares = np.divide(after, before, out=np.ones_like(after), where=before > 0)
        return float(shares[0]), float(shares[1:].std())

    def labels_needed(self, accuracy: float) -> int | None:
        """The least training size at which the curve reaches `accuracy`.

        Not below the smallest size measured, as nothing is known there. None where the curve never reaches it, or
        only beyond 100 times the largest size measured.
        """
        allowed = 1 - accuracy - self.floor
        if allowed <= 0:
            return None
        needed = max((self.scale / allowed) ** (1 / self.power), self.sizes[0])
        return math.ceil(needed - 1e-9) if needed <= REACH * self.sizes[-1] else None


def fit(
    sizes: Sequence[int],
    right: Sequence[int],
    judged: int | Sequence[int],
    *,
    level: float,
    generator: np.random.Generator,
    resamples: int = 1000,
) -> Curve:
    """The power law that fits best, each error weighted by the inverse of its binomial variance.

    For each c of a grid the best a and b (neither negative) have a closed form; the c with the least weighted squares
    wins. The interval is a parametric bootstrap: right answers are drawn anew from a binomial at each size's own rate
    (one half added to either side, so that no rate is 0 or 1), and the curve is fitted again.
    Source of the form: Cortes et al. 1993, NeurIPS 6, "Learning curves"; Hestness et al. 2017, arXiv:1712.00409.

    Args:
        sizes: training examples, at least 3 different numbers.
        right: right answers at each size.
        judged: answers judged at each size, or at all of them.
        level: two-sided confidence, in (0, 1).
        generator: of the resampling.
        resamples: more: steadier ends of the intervals.

    Raises:
        DataError: if there are fewer than 3 different sizes, or counts that are none.
    """
    order = np.argsort(sizes, kind="stable")
    shown, hits = np.asarray(sizes)[order], np.asarray(right)[order]
    answers = np.broadcast_to(np.asarray(judged), shown.shape)[order]
    if len(set(sizes)) < 3 or min(shown.min(), answers.min()) < 1 or not ((hits >= 0) & (hits <= answers)).all():
        raise DataError(
            f"a learning curve through sizes {shown.tolist()} with {hits.tolist()} right of {answers.tolist()}; "
            "at least 3 different sizes, each with answers, were expected."
        )
    rate = (answers - hits + 0.5) / (answers + 1)
    drawn = generator.binomial(answers, rate, size=(resamples, len(shown)))
    fitted = _fit(shown.astype(np.float64), answers.astype(np.float64), np.vstack([answers - hits, drawn]))
    floor, scale, power = (float(value) for value in fitted[0])
    counts = [tuple(int(value) for value in column) for column in (shown, hits, answers)]
    return Curve(floor, scale, power, counts[0], counts[1], counts[2], level, fitted[1:])


def _error(curve: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Error of curves `(3, ...)` at a size; in [0, 1]."""
    return np.asarray(np.clip(curve[0] + curve[1] * float(size) ** -curve[2], 0.0, 1.0), dtype=np.float64)


def _fit(sizes: NDArray[np.float64], judged: NDArray[np.float64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    """a, b and c for each row of counts, `(rows, sizes)` to `(rows, 3)`."""
    error = wrong / judged
    expected = (wrong + 0.5) / (judged + 1)
    shape = (sizes / sizes[-1])[None, :] ** -POWERS[:, None]  # (powers, sizes); sizes as shares, so that b is an error
    for _ in range(PASSES):
        weight = judged / (expected * (1 - expected))
        floor, scale = _linear(shape, weight, error)  # (rows, powers) each
        missed = error[:, None, :] - floor[..., None] - scale[..., None] * shape
        best = np.einsum("rs,rps,rps->rp", weight, missed, missed).argmin(axis=1)
        rows = np.arange(len(error))
        floor, scale = floor[rows, best], scale[rows, best]
        least = 0.5 / (judged + 1)
        expected = np.clip(floor[:, None] + scale[:, None] * shape[best], least, 1 - least)
    return np.stack([floor, scale * sizes[-1] ** POWERS[best], POWERS[best]], axis=1)


def _linear(
    shape: NDArray[np.float64], weight: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted least squares for `error = a + b shape`, neither negative: the free solution, else the better edge."""
    total = weight.sum(axis=1, keepdims=True)
    x, xx = weight @ shape.T, weight @ np.square(shape).T  # (rows, powers)
    y, xy = (weight * error).sum(axis=1, keepdims=True), (weight * error) @ shape.T
    scale = (total * xy - x * y) / (total * xx - np.square(x))
    floor = (y - scale * x) / total
    flat, bare = y / total, xy / xx  # b = 0 and a = 0
    falls = scale > 0
    return np.where(falls, np.maximum(floor, 0.0), flat), np.where(falls, np.where(floor >= 0, scale, bare), 0.0)

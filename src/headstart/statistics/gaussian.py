"""How far a layer's inputs have moved, from sums alone: means and variances that shards can add up exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Counts, sums and sums of squares, `(..., channels)` each; added, they are those of both samples together.

    Attributes:
        count: how many values of each channel.
        total: their sums.
        squares: the sums of their squares.
    """

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.total / self.count, dtype=np.float64)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Biased, as BatchNorm's own is in training; never below 0."""
        return np.maximum(0.0, self.squares / self.count - np.square(self.mean))


def symmetric_divergence(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    other_mean: NDArray[np.float64],
    other_variance: NDArray[np.float64],
    *,
    epsilon: float | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sum of both Kullback-Leibler divergences between two normal distributions, channel by channel, in nats.

    `(v + d^2) / 2 w + (w + d^2) / 2 v - 1` for variances v and w (each with the layer's epsilon) and a distance d of
    the means. 0 where nothing has moved; 0.5 where the mean moved by 0.7 deviations.
    Source: Li et al. 2016, "Revisiting batch normalization for practical domain adaptation", arXiv:1603.04779.

    Args:
        mean: `(..., channels)`.
        variance: likewise.
        other_mean: broadcast against it.
        other_variance: likewise.
        epsilon: added to both variances, above 0; one, or one a channel.
    """
    here, there = variance + epsilon, other_variance + epsilon
    apart = np.square(mean - other_mean)
    return np.asarray((here + apart) / (2 * there) + (there + apart) / (2 * here) - 1, dtype=np.float64)

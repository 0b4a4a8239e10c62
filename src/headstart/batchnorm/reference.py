"""What the inputs of a network's BatchNorms looked like on the test split: what live traffic is compared with.

batchnorm.onnx    the network with the moments of each BatchNorm's input as outputs (`instrumented`)
batchnorm.npz     per channel: mean and variance as trained and as served, epsilon, and the moments of the test split,
                  measured as trained, in blocks

Channels of all layers stand side by side, layers in the order in which an input passes them. A network without
BatchNorm has neither file.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.contract import documents
from headstart.errors import BundleError
from headstart.statistics.gaussian import Moments, symmetric_divergence

FORMAT = 1
GRAPH, TABLE = "batchnorm.onnx", "batchnorm.npz"
BLOCKS = 50


@dataclass(frozen=True)
class Layers:
    """The BatchNorms of a network, in the order in which an input passes them.

    Attributes:
        names: where each stands in the network.
        widths: how many channels each has.
        epsilons: what each adds to its variances.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    epsilons: tuple[float, ...]

    @property
    def channels(self) -> int:
        return sum(self.widths)

    @property
    def epsilon(self) -> NDArray[np.float64]:
        """One a channel."""
        return np.repeat(np.asarray(self.epsilons, dtype=np.float64), self.widths)

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Values `(..., channels)` by layer."""
        parts = np.split(values, np.cumsum(self.widths)[:-1], axis=-1)
        return dict(zip(self.names, parts, strict=True))

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean over each layer's channels, `(..., layers)` for `(..., channels)`."""
        starts = np.concatenate([[0], np.cumsum(self.widths)[:-1]]).astype(np.int64)
        return np.asarray(np.add.reduceat(values, starts, axis=-1) / np.asarray(self.widths), dtype=np.float64)


@dataclass(frozen=True)
class Statistics:
    """Means and variances that BatchNorms normalise by, `(channels,)` each."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Stored statistics, and the moments of the reference's images.

    Attributes:
        layers: whose channels these are.
        stored: what the network was trained with.
        served: what it is served with: others where a cure was exported.
        blocks: moments of disjoint random parts of the reference, `(blocks, channels)`; an image counts 1, with its
            mean over all positions.
    """

    layers: Layers
    stored: Statistics
    served: Statistics
    blocks: Moments

    @property
    def images(self) -> int:
        return round(float(self.blocks.count[:, 0].sum()))

    @property
    def whole(self) -> Moments:
        """Moments of all images, `(channels,)`."""
        return summed(self.blocks)

    def as_trained(self, live: Moments) -> Statistics:
        """Live moments on the scale of the reference's: the same number once normalised, each by its own statistics.

        So inputs that a cure brings back to where they were are told from inputs that drift on.
        """
        epsilon = self.layers.epsilon
        ratio = (self.stored.variance + epsilon) / (self.served.variance + epsilon)
        mean = self.stored.mean + (live.mean - self.served.mean) * np.sqrt(ratio)
        return Statistics(mean, live.variance * ratio)


def divergences(layers: Layers, one: Moments | Statistics, other: Moments | Statistics) -> NDArray[np.float64]:
    """Symmetric divergence of each layer, `(..., layers)`, in nats: the mean over its channels."""
    apart = symmetric_divergence(one.mean, one.variance, other.mean, other.variance, epsilon=layers.epsilon)
    return layers.means(apart)


def of_images(means: NDArray[np.floating[Any]], squares: NDArray[np.floating[Any]]) -> Moments:
    """Moments of images, one row each, `(images, channels)`: means over positions of values and of their squares."""
    total = np.asarray(means, dtype=np.float64)
    return Moments(np.ones_like(total), total, np.asarray(squares, dtype=np.float64))


def summed(moments: Moments) -> Moments:
    """Moments of all rows together, `(channels,)` for `(rows, channels)`."""
    return Moments(moments.count.sum(axis=0), moments.total.sum(axis=0), moments.squares.sum(axis=0))


def in_blocks(moments: Moments, *, seed: int, blocks: int = BLOCKS) -> Moments:
    """Moments of disjoint random parts of equal size, give or take one: `(blocks, channels)` for `(images, channels)`.

    Fewer images than blocks are one block each.
    """
    images = len(moments.count)
    order = np.random.default_rng(seed).permutation(images)
    parts = [summed(_rows(moments, part)) for part in np.array_split(order, min(blocks, images))]
    return _stacked(parts)


def write(folder: Path, reference: Reference) -> None:
    """Write `batchnorm.npz` into `folder`, the same bytes for the same numbers."""
    layers, blocks = reference.layers, reference.blocks
    with artifacts.replaced(folder / TABLE) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            format=np.array(FORMAT),
            names=np.array(layers.names),
            widths=np.array(layers.widths),
            epsilons=np.array(layers.epsilons),
            mean=reference.stored.mean,
            variance=reference.stored.variance,
            served_mean=reference.served.mean,
            served_variance=reference.served.variance,
            count=blocks.count[:, 0],
            total=blocks.total.astype(np.float32),
            squares=blocks.squares.astype(np.float32),
        )


def read(folder: Path) -> Reference | None:
    """The reference that `write` wrote; None where the network has no BatchNorm, or the bundle is older.

    Raises:
        BundleError: if the file is unreadable or of another format.
    """
    path = folder / TABLE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            documents.check_format({"format": int(file["format"])}, FORMAT, str(path))
            layers = Layers(
                tuple(map(str, file["names"])), tuple(map(int, file["widths"])), tuple(map(float, file["epsilons"]))
            )
            total = file["total"].astype(np.float64)
            blocks = Moments(
                np.broadcast_to(file["count"][:, None].astype(np.float64), total.shape),
                total,
                file["squares"].astype(np.float64),
            )
            stored = Statistics(file["mean"], file["variance"])
            return Reference(layers, stored, Statistics(file["served_mean"], file["served_variance"]), blocks)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} cannot be read: {error}.", action=documents.REBUILD) from error


def _rows(moments: Moments, rows: NDArray[np.int64]) -> Moments:
    return Moments(moments.count[rows], moments.total[rows], moments.squares[rows])


def _stacked(parts: Sequence[Moments]) -> Moments:
    return Moments(
        np.stack([part.count for part in parts]),
        np.stack([part.total for part in parts]),
        np.stack([part.squares for part in parts]),
    )

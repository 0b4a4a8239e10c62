"""What entered a network's layers on the test split: what live traffic is compared with.

layers.npz    per channel: mean and variance as trained and as served, epsilon, and the moments of the test split,
              measured as trained, in blocks

Two kinds of networks have it. Where there are BatchNorms, the layers are these, measured by `batchnorm.onnx`
(`batchnorm.instrumented`). Else they are the first and the last block, measured by `model.onnx` with every answer
(`export.graph`); nothing is stored to normalise by, so the moments of the test split stand for it.

Channels of all layers stand side by side, layers in the order in which an input passes them. Format 1 was
`batchnorm.npz`, of networks with BatchNorm alone.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.contract import documents
from headstart.errors import BundleError
from headstart.statistics.gaussian import Moments, symmetric_divergence

FORMAT, READABLE = 2, (1, 2)
TABLE, FORMER = "layers.npz", "batchnorm.npz"
LAYERS = "headstart.layers"  # key of the metadata of `model.onnx`
BLOCKS = 50
MOST = 2000  # inputs of a reference: more hardly narrow its moments, and 50 blocks of them need larger windows
Kind = Literal["batchnorm", "blocks"]


@dataclass(frozen=True)
class Layers:
    """Layers of a network whose inputs are measured, in the order in which an input passes them.

    Attributes:
        names: where each stands in the network.
        widths: how many channels enter each.
        epsilons: what is added to the variances of each.
        kind: all its BatchNorms, or the first and the last of its blocks.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    epsilons: tuple[float, ...]
    kind: Kind = "batchnorm"

    @classmethod
    def of_model(cls, metadata: Mapping[str, str]) -> "Layers | None":
        """Those that `model.onnx` measures, by its metadata; None where it measures none.

        Raises:
            BundleError: if it does not say which.
        """
        if LAYERS not in metadata:
            return None
        try:
            described = json.loads(metadata[LAYERS])
            names, widths, epsilons = (tuple(described[key]) for key in ("names", "widths", "epsilons"))
            return cls(names, widths, epsilons, _kind(described["kind"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"model.onnx does not describe the layers that it measures: {error!r}.", action=documents.REBUILD
            ) from None

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
    """Means and variances that layers normalise by, `(channels,)` each."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Stored statistics, and the moments of the reference's inputs.

    Attributes:
        layers: whose channels these are.
        stored: what the network was trained with.
        served: what it is served with: others where a cure was exported.
        blocks: moments of disjoint random parts of the reference, `(blocks, channels)`; an input counts 1, with its
            mean over all positions or tokens.
    """

    layers: Layers
    stored: Statistics
    served: Statistics
    blocks: Moments

    @classmethod
    def of(cls, layers: Layers, moments: Moments, *, seed: int) -> "Reference":
        """That of blocks, which store nothing to normalise by, from the moments of inputs, `(inputs, channels)`.

        At most `MOST` of them are taken.
        """
        chosen = np.random.default_rng(seed).permutation(len(moments.count))[:MOST]
        blocks = in_blocks(_rows(moments, chosen), seed=seed)
        whole = summed(blocks)
        own = Statistics(whole.mean, whole.variance)
        return cls(layers, own, own, blocks)

    @property
    def inputs(self) -> int:
        return round(float(self.blocks.count[:, 0].sum()))

    @property
    def whole(self) -> Moments:
        """Moments of all inputs, `(channels,)`."""
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


def of_inputs(means: NDArray[np.floating[Any]], squares: NDArray[np.floating[Any]]) -> Moments:
    """Moments of inputs, one row each, `(inputs, channels)`: means over positions of values and of their squares."""
    total = np.asarray(means, dtype=np.float64)
    return Moments(np.ones_like(total), total, np.asarray(squares, dtype=np.float64))


def summed(moments: Moments) -> Moments:
    """Moments of all rows together, `(channels,)` for `(rows, channels)`."""
    return Moments(moments.count.sum(axis=0), moments.total.sum(axis=0), moments.squares.sum(axis=0))


def in_blocks(moments: Moments, *, seed: int, blocks: int = BLOCKS) -> Moments:
    """Moments of disjoint random parts of equal size, give or take one: `(blocks, channels)` for `(inputs, channels)`.

    Fewer inputs than blocks are one block each.
    """
    inputs = len(moments.count)
    order = np.random.default_rng(seed).permutation(inputs)
    parts = [summed(_rows(moments, part)) for part in np.array_split(order, min(blocks, inputs))]
    return _stacked(parts)


def write(folder: Path, reference: Reference) -> None:
    """Write `layers.npz` into `folder`, the same bytes for the same numbers."""
    layers, blocks = reference.layers, reference.blocks
    with artifacts.replaced(folder / TABLE) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            format=np.array(FORMAT),
            kind=np.array(layers.kind),
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
    """The reference that `write` wrote; None where the network gives none, or the bundle is older.

    Raises:
        BundleError: if the file is unreadable or of another format.
    """
    path = next((folder / name for name in (TABLE, FORMER) if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            documents.check_format({"format": int(file["format"])}, READABLE, str(path))
            layers = Layers(
                tuple(map(str, file["names"])),
                tuple(map(int, file["widths"])),
                tuple(map(float, file["epsilons"])),
                _kind(str(file["kind"]) if "kind" in file else "batchnorm"),  # format 1 has no kind
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


def _kind(value: str) -> Kind:
    """A kind that was written down, or a ValueError."""
    return get_args(Kind)[get_args(Kind).index(value)]  # type: ignore[no-any-return]


def _rows(moments: Moments, rows: NDArray[np.int64]) -> Moments:
    return Moments(moments.count[rows], moments.total[rows], moments.squares[rows])


def _stacked(parts: Sequence[Moments]) -> Moments:
    return Moments(
        np.stack([part.count for part in parts]),
        np.stack([part.total for part in parts]),
        np.stack([part.squares for part in parts]),
    )

"""The exported network that also says what enters its BatchNorms, and runs under other statistics than the stored ones.

`batchnorm.onnx` keeps its BatchNorms, which `model.onnx` has folded into the layers before them; it costs 1.6 to 3
times as much to run, so it answers no request. Means and variances are inputs: what a network with re-estimated
statistics would answer is found out without torch. It can also adapt: each layer then normalises by what aligns its
batch with a reference, whatever the layers below it do.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import layer_statistics
from headstart.bundle import Bundle
from headstart.contract import documents
from headstart.contract.inputs import Item
from headstart.errors import BundleError
from headstart.layer_statistics import MOST, Layers, Reference, Statistics, in_blocks, of_inputs
from headstart.predictor import Predictor, Preprocessor, session
from headstart.statistics.gaussian import Moments

GRAPH = "batchnorm.onnx"
LAYERS = "headstart.batchnorm.layers"  # key of the graph's metadata
MEAN, VARIANCE = "running_mean", "running_var"
INPUTS = ("pixel_values", "given_mean", "given_variance", "known_mean", "known_variance", "adapting")
OUTPUTS = ("logits", "features", "means", "squares")
STORED = ("stored_mean", "stored_variance")
SERVED = ("served_mean", "served_variance")
CONSTANT = "constant_"  # how the names of their constants begin
BATCH = 16
CHUNK = 256  # images prepared at once


@dataclass(frozen=True)
class Seen:
    """What a network made of images.

    Attributes:
        logits: `(images, classes)`.
        moments: of each image, `(images, channels)`.
    """

    logits: NDArray[np.float32]
    moments: Moments


class Instrumented:
    """A network with BatchNorm; safe to use from several threads.

    Attributes:
        layers: its BatchNorms.
        network: SHA-256 of all its weights but the statistics: a cure is made for one network.
        preprocessor: the contract's.
        stored: the statistics that it was trained with.
        served: those that it is served with; others than `stored` where a cure was exported.
    """

    def __init__(self, session: Any, preprocessor: Preprocessor, layers: Layers, network: str) -> None:
        self.layers = layers
        self.network = network
        self.preprocessor = preprocessor
        self._session = session
        self.stored, self.served = self._statistics()

    @classmethod
    def load(cls, bundle: Path, preprocessor: Preprocessor, *, threads: int | None = None) -> "Instrumented | None":
        """That of a sealed bundle, compared with the manifest; None where the network has no BatchNorm.

        Raises:
            BundleError: if the file is altered or unreadable.
        """
        sealed = Bundle.open(bundle)
        if GRAPH not in sealed.files:
            return None
        return cls.open(sealed.path(GRAPH), preprocessor, threads=threads)

    @classmethod
    def open(cls, graph: Path, preprocessor: Preprocessor, *, threads: int | None = None) -> "Instrumented":
        """That of the file that `export.instrumented.export` wrote.

        Args:
            graph: the file.
            preprocessor: the contract's.
            threads: of one run; `determinism.threads()` where not given.

        Raises:
            BundleError: if it is absent, unreadable, or no such file.
        """
        loaded = session(graph, threads=threads)
        try:
            described = json.loads(loaded.get_modelmeta().custom_metadata_map[LAYERS])
            names, widths, epsilons = (tuple(described[key]) for key in ("names", "widths", "epsilons"))
            layers = Layers(names, widths, epsilons)
            network = str(described["network"])
        except (KeyError, ValueError) as error:
            raise BundleError(
                f"{graph} does not describe its BatchNorms: {error!r}.", action=documents.REBUILD
            ) from None
        return cls(loaded, preprocessor, layers, network)

    def run(self, items: Sequence[Item], statistics: Statistics | None = None) -> Seen:
        """What the network makes of prepared images, under `statistics` or those that it is served with."""
        return self._run(items, statistics or self.served, None, BATCH)

    def adapt(self, items: Sequence[Item], known: Moments | Statistics, *, batch: int) -> Seen:
        """What the network makes of prepared images whose every layer is aligned with a reference, batch by batch.

        Args:
            items: prepared images.
            known: the moments that each layer's input has on the reference.
            batch: images aligned together, give or take a few: batches are of equal size.
        """
        return self._run(items, self.stored, known, -(-len(items) // max(1, len(items) // batch)))

    def _run(
        self, items: Sequence[Item], statistics: Statistics, known: Moments | Statistics | None, size: int
    ) -> Seen:
        feed = self._feed(statistics, known)
        parts = []
        for start in range(0, len(items), size):
            batch = self.preprocessor.collate(items[start : start + size])
            parts.append(self._session.run(["logits", "means", "squares"], {**batch, **feed}))
        logits, means, squares = (np.concatenate([part[place] for part in parts]) for place in range(3))
        return Seen(logits, of_inputs(means, squares))

    def reference(self, raw: Sequence[bytes], *, seed: int) -> Reference:
        """What enters the BatchNorms, as trained, on reference images, at most `MOST`, in random blocks.

        Raises:
            ContractError: if the contract refuses an image.
        """
        chosen = np.random.default_rng(seed).permutation(len(raw))[:MOST]
        parts = [
            self.run(
                self.preprocessor.prepare([raw[row] for row in chosen[start : start + CHUNK]]), self.stored
            ).moments
            for start in range(0, len(chosen), CHUNK)
        ]
        moments = Moments(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("count", "total", "squares"))
        )
        return Reference(self.layers, self.stored, self.served, in_blocks(moments, seed=seed))

    def _feed(self, statistics: Statistics, known: Moments | Statistics | None) -> dict[str, NDArray[np.float32]]:
        other = statistics if known is None else known
        values = (
            statistics.mean,
            statistics.variance,
            other.mean,
            other.variance,
            np.array([float(known is not None)]),
        )
        return {name: np.asarray(each, dtype=np.float32) for name, each in zip(INPUTS[1:], values, strict=True)}

    def _statistics(self) -> tuple[Statistics, Statistics]:
        image = next(each for each in self._session.get_inputs() if each.name == INPUTS[0])
        blank = np.zeros((1, *image.shape[1:]), dtype=np.float32)
        nothing = np.ones(self.layers.channels)
        feed = self._feed(Statistics(nothing, nothing), None)
        values = self._session.run([*STORED, *SERVED], {image.name: blank, **feed})
        mean, variance, served_mean, served_variance = (each.astype(np.float64) for each in values)
        return Statistics(mean, variance), Statistics(served_mean, served_variance)


def reference(
    graph: Path, predictor: Predictor, raw: Sequence[Any], moments: NDArray[np.float32] | None, *, seed: int
) -> Reference | None:
    """What entered the layers of a network on reference inputs; None where none is measured.

    Args:
        graph: `batchnorm.onnx`, which measures them where it exists.
        predictor: of the network, whose answers bring the moments along where it does not.
        raw: the inputs.
        moments: of these answers, `(inputs, 2, channels)`.
        seed: of the blocks.

    Raises:
        ContractError: if the contract refuses an input.
    """
    if graph.is_file():
        return Instrumented.open(graph, predictor.preprocessor).reference(raw, seed=seed)
    if predictor.layers is None or moments is None:
        return None
    return Reference.of(predictor.layers, of_inputs(moments[:, 0], moments[:, 1]), seed=seed)


def write(
    folder: Path,
    export: Path,
    predictor: Predictor,
    raw: Sequence[Any],
    moments: NDArray[np.float32] | None,
    *,
    seed: int,
) -> None:
    """Write `layers.npz` into `folder`, and `batchnorm.onnx` where the folder `export` holds one; see `reference`."""
    found = reference(export / GRAPH, predictor, raw, moments, seed=seed)
    if found is not None:
        layer_statistics.write(folder, found)
    if (export / GRAPH).is_file():
        shutil.copyfile(export / GRAPH, folder / GRAPH)

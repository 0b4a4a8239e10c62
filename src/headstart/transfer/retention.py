"""What a trained network still has of what its backbone knew: the meters of forgetting.

    kept          accuracy of a probe on the backbone's reference sample, after training and before, paired
    similarity    linear CKA of each layer's features, after against before (1: the same up to rotation and scale)
    moved         distance of each layer's weights from their start, as a share of the start's norm
    words         loss of the backbone's own masked-language head on hidden words of its own sample, before and after,
                  in nats a hidden token; where the checkpoint brought such a head

The sample is the backbone's own (`reference.parquet` beside it) where one is known; else what was kept is unknown, and
similarity is measured on validation inputs, which says how far features moved, not what was lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.backbones import layers, reference
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.statistics import paired, representation
from headstart.statistics.interval import Interval
from headstart.statistics.paired import Difference
from headstart.transfer import features, probe
from headstart.transfer.adapt import text
from headstart.transfer.context import TrainingContext


@dataclass(frozen=True)
class Before:
    """The network as it was before training, and what it is asked.

    Attributes:
        sample: inputs; of the reference where there is one, else of validation.
        known: whether the sample is the backbone's own reference.
        targets: `(examples,)`, class indices of the reference; None where it has no labels, or there is none.
        layers: each layer's features of the sample, input side first.
        right: `(examples,)`, what a probe on held-out folds answers rightly; None where there are no labels.
        strength: of that probe.
        weights: of the network.
        words: loss of the masked-language head on the reference, nats a hidden token; None without either.
    """

    sample: Dataset
    known: bool
    targets: NDArray[np.int64] | None
    layers: features.Layers
    right: NDArray[np.bool_] | None
    strength: float
    weights: Mapping[str, Tensor]
    words: Interval | None


@dataclass(frozen=True)
class Retention:
    """What was kept.

    Attributes:
        kept: accuracy on the reference after minus before, with its interval; None where unknown.
        accuracy: on the reference, before and after.
        similarity: layer to linear CKA in [0, 1].
        moved: layer to relative distance of its weights.
        words: loss of the masked-language head, before and after; None where there is none.
    """

    kept: Difference | None
    accuracy: tuple[float, float] | None
    similarity: dict[str, float]
    moved: dict[str, float]
    words: tuple[Interval, Interval] | None

    @property
    def lost(self) -> float | None:
        """Accuracy lost on the reference, at least 0; None where unknown."""
        return None if self.kept is None else max(0.0, -self.kept.interval.value)

    def document(self) -> dict[str, Any]:
        return {
            "kept": self.kept.interval.document() if self.kept else None,
            "accuracy": _by_time(self.accuracy) if self.accuracy else None,
            "similarity": self.similarity,
            "moved": self.moved,
            "words": _by_time([one.document() for one in self.words]) if self.words else None,
        }


def remember(network: Network, context: TrainingContext, validation: Dataset, most: int) -> Before:
    """Ask `network`, before it is trained, at most `most` examples."""
    path = context.backbone / reference.FILE
    known = path.is_file()
    sample = dataset.sample(path, most, seed=context.probe.seed) if known else _first(validation, most)
    seen = layer_features(network, context, sample)
    targets, right, strength = None, None, 0.0
    names = sorted(set(sample.labels) - {"", None})
    if known and len(names) > 1 and all(sample.labels):
        targets = sample.targets(names)
        strength, _ = probe.choose(seen[-1][1], targets, len(names), context.probe, groups=sample.groups)
        right = _right(seen[-1][1], targets, context, strength, sample)
    weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    words = _words(network, context, sample) if known else None
    return Before(sample, known, targets, seen, right, strength, weights, words)


def measure(network: Network, context: TrainingContext, before: Before, level: float) -> Retention:
    """What `network` has kept of what it was before."""
    seen = layer_features(network, context, before.sample)
    similarity = {
        name: representation.linear_cka(was, now) for (name, was), (_, now) in zip(before.layers, seen, strict=True)
    }
    kept = accuracy = None
    if before.targets is not None and before.right is not None:
        right = _right(seen[-1][1], before.targets, context, before.strength, before.sample)
        kept = paired.difference(right, before.right, level, before.sample.groups)
        accuracy = (float(before.right.mean()), float(right.mean()))
    after = _words(network, context, before.sample) if before.words else None
    words = (before.words, after) if before.words and after else None
    return Retention(kept, accuracy, similarity, moved(network, before.weights), words)


def moved(network: Network, start: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative distance of each layer group below the head: |w - w0| / |w0|."""
    result = {}
    for group in layers.groups(network)[:-1]:
        away = sum(float((value.detach().cpu() - start[name]).square().sum()) for name, value in group.parameters)
        size = sum(float(start[name].square().sum()) for name, _ in group.parameters)
        result[group.name] = float(np.sqrt(away / size)) if size > 0 else 0.0
    return result


def layer_features(network: Network, context: TrainingContext, sample: Dataset) -> features.Layers:
    """Each layer's features of the sample, not cached: the network is being trained; the last is what a head sees."""
    with torch.inference_mode():
        return features.compute_layers(network, context.preprocessor, sample, progress="retention")


def _right(
    seen: NDArray[np.float32], targets: NDArray[np.int64], context: TrainingContext, strength: float, sample: Dataset
) -> NDArray[np.bool_]:
    """What a probe of this strength answers rightly on held-out folds: fitted alike before and after."""
    own = context.probe.model_copy(update={"strengths": [strength]})
    _, logits = probe.choose(seen, targets, int(targets.max()) + 1, own, groups=sample.groups)
    right: NDArray[np.bool_] = logits.argmax(axis=1) == targets
    return right


def _words(network: Network, context: TrainingContext, sample: Dataset) -> Interval | None:
    """How hard the network finds hidden words of the sample, under the head that its backbone came with."""
    if context.modality == "image" or not len(sample):
        return None
    return text.held_out_loss(
        context.backbone,
        sample.inputs,
        preprocessor=context.preprocessor,
        seed=context.adapt.seed,
        most=len(sample),
        weights=network.backbone.state_dict(),
    )


def _by_time(pair: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("before", "after"), pair, strict=True))


def _first(rows: Dataset, most: int) -> Dataset:
    return rows.select(range(min(most, len(rows))))

"""The control: with few labels, is the pretrained network worth more than the same network from random weights?

Both learn the same examples by the same code and are judged on the same validation examples. Both train a fixed
number of epochs: stopping early on the examples that judge would flatter whoever stops more often.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data.dataset import Dataset
from headstart.params.transfer import FewLabels, FineTune, Probe
from headstart.predictor import Preprocessor
from headstart.statistics.interval import Interval, wilson
from headstart.transfer import augment, features, finetune, probe
from headstart.transfer.examples import Examples


@dataclass(frozen=True)
class Split:
    """A split with what the frozen backbone makes of it.

    Attributes:
        examples: raw payloads and labels.
        targets: `(examples,)`, class indices.
        features: `(examples, d)`.
    """

    examples: Dataset
    targets: NDArray[np.int64]
    features: NDArray[np.float32]

    def select(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> "Split":
        """The examples at `rows`, their targets renamed to `targets`."""
        return Split(self.examples.select(rows.tolist()), targets, self.features[rows])


@dataclass(frozen=True)
class Control:
    """What few labels gave, averaged over repeats.

    Attributes:
        per_class: labels of each class that were learned from, at most.
        classes: how many classes took part.
        repeats: independent draws of those labels.
        probe: the linear probe that fine-tuning started from.
        transfer: fine-tuned from it.
        scratch: the same network from random weights.
        passes: example passes of all transfer trainings together.
        seconds: of all trainings, `transfer` and `scratch`.
    """

    per_class: int
    classes: int
    repeats: int
    probe: Interval
    transfer: Interval
    scratch: Interval
    passes: int
    seconds: dict[str, float]

    def document(self) -> dict[str, Any]:
        """Everything that repeats to the byte: seconds and passes are left out."""
        return {
            "per_class": self.per_class,
            "classes": self.classes,
            "repeats": self.repeats,
            "probe": self.probe.document(),
            "transfer": self.transfer.document(),
            "scratch": self.scratch.document(),
        }


def measure(
    preprocessor: Preprocessor,
    backbone: Path,
    learn: Split,
    judge: Split,
    *,
    few: FewLabels,
    probe_params: Probe,
    fine_tune: FineTune,
    level: float,
    place: torch.device,
) -> Control:
    """Train both ways, `few.repeats` times, on `few.per_class` labels of at most `few.classes` classes.

    Args:
        preprocessor: the contract's.
        backbone: folder; its architecture serves both, its weights only one.
        learn: the train split.
        judge: the validation split.
        few: how many labels and epochs.
        probe_params: how the head that transfer starts from is fitted.
        fine_tune: everything else about training; both use it, from scratch all layers at one rate.
        level: two-sided confidence.
        place: where to compute.
    """
    chosen = classes(learn.targets, few)
    judged = _restrict(judge, chosen)
    right: dict[str, list[NDArray[np.bool_]]] = {"probe": [], "transfer": [], "scratch": []}
    seconds, passes = {"transfer": 0.0, "scratch": 0.0}, 0
    for repeat in range(few.repeats):
        rows = draw(learn.targets, chosen, few.per_class, seed=few.seed + repeat)
        shown = learn.select(rows, np.searchsorted(chosen, learn.targets[rows]))
        passes += few.epochs * len(rows)

        started = time.perf_counter()
        network = Network.from_backbone(backbone, len(chosen), dropout=fine_tune.dropout).to(place)
        head = probe.fit(shown.features, shown.targets, len(chosen), probe_params, level=level)
        network.set_head(head.weight, head.bias)
        right["probe"].append(head.logits(judged.features).argmax(axis=1) == judged.targets)
        params = fine_tune.model_copy(update={"epochs": few.epochs, "seed": few.seed + repeat})
        _train(network, preprocessor, shown, params, f"few labels, transfer {repeat + 1}/{few.repeats}")
        seconds["transfer"] += time.perf_counter() - started
        right["transfer"].append(_right(network, preprocessor, judged))

        started = time.perf_counter()
        network = Network.from_scratch(backbone, len(chosen), dropout=fine_tune.dropout, seed=few.seed + repeat).to(
            place
        )
        rate = few.scratch_learning_rate
        alike = {"learning_rate": rate, "head_learning_rate": rate, "layer_decay": 1.0, "frozen_layers": 0}
        params = params.model_copy(update={"epochs": few.scratch_epochs, **alike})
        _train(network, preprocessor, shown, params, f"few labels, from scratch {repeat + 1}/{few.repeats}")
        seconds["scratch"] += time.perf_counter() - started
        right["scratch"].append(_right(network, preprocessor, judged))
    intervals = {name: _averaged(repeats, level) for name, repeats in right.items()}
    return Control(few.per_class, len(chosen), few.repeats, passes=passes, seconds=seconds, **intervals)


def classes(targets: NDArray[np.int64], few: FewLabels) -> NDArray[np.int64]:
    """Which classes take part, in rising order: all, or as many as the control may have, drawn by its seed."""
    shown = np.unique(targets)
    if len(shown) <= few.classes:
        return shown
    return np.sort(np.random.default_rng(few.seed).choice(shown, few.classes, replace=False))


def draw(targets: NDArray[np.int64], chosen: NDArray[np.int64], per_class: int, *, seed: int) -> NDArray[np.int64]:
    """Rows of `per_class` examples of each chosen class, or of all it has; class by class."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.permutation(np.flatnonzero(targets == label))[:per_class] for label in chosen])


def _restrict(split: Split, chosen: NDArray[np.int64]) -> Split:
    rows = np.flatnonzero(np.isin(split.targets, chosen))
    return split.select(rows, np.searchsorted(chosen, split.targets[rows]))


def _train(network: Network, preprocessor: Preprocessor, shown: Split, params: FineTune, saying: str) -> None:
    change = augment.augmentation(params.augmentation) if network.modality == "image" else None
    examples = Examples(preprocessor, shown.examples, shown.targets, augment=change)
    finetune.run(network, examples, params, watch=None, progress=saying)


def _right(network: Network, preprocessor: Preprocessor, judged: Split) -> NDArray[np.bool_]:
    moved = features.compute(network, preprocessor, judged.examples, progress="judging")
    logits = moved @ network.head.weight.detach().cpu().numpy().T + network.head.bias.detach().cpu().numpy()
    answers: NDArray[np.bool_] = logits.argmax(axis=1) == judged.targets
    return answers


def _averaged(repeats: Sequence[NDArray[np.bool_]], level: float) -> Interval:
    """Mean accuracy of the repeats, as sure as one repeat is.

    All repeats are judged on the same examples, so counting each answer as a new one would promise too much.
    """
    mean = float(np.mean(repeats))
    one = wilson(round(mean * len(repeats[0])), len(repeats[0]), level)
    return Interval(mean, min(mean, one.low), max(mean, one.high), one.n)

"""What is measured before a strategy is chosen: the data, the probe, each layer, few labels, and the work ahead."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.determinism import folder_digest
from headstart.params.transfer import Plan, Probe
from headstart.predictor import Preprocessor
from headstart.statistics.interval import Interval, wilson
from headstart.transfer import control, device, features, probe
from headstart.transfer.control import Control, Setting, Split
from headstart.transfer.examples import Prepared


@dataclass(frozen=True)
class Work:
    """What training costs, counted and not timed: input units that pass through the network.

    Attributes:
        unit: `tokens` or `pixels`.
        linear_probe: each training example once.
        fine_tune: each training example in every epoch.
        budget: the most fine-tuning may cost.
    """

    unit: str
    linear_probe: int
    fine_tune: int
    budget: int


@dataclass(frozen=True)
class Evidence:
    """All that the rule of the planner may look at.

    Attributes:
        examples: counts by split, classes, and labels a class in train.
        probe: accuracy of the linear probe on held-out folds of train.
        strength: its strength.
        layers: accuracy of a probe on each layer's output, input side first; which layers transfer.
        few_labels: the control.
        work: of each strategy.
    """

    examples: dict[str, Any]
    probe: Interval
    strength: float
    layers: list[tuple[str, Interval]]
    few_labels: Control
    work: Work

    def document(self) -> dict[str, Any]:
        return {
            "examples": self.examples,
            "probe": {**self.probe.document(), "strength": self.strength},
            "layers": [{"layer": name, **accuracy.document()} for name, accuracy in self.layers],
            "few_labels": self.few_labels.document(),
            "work": vars(self.work),
        }


def gather(params: Plan, *, backbone: Path, data: Path, cache: Path) -> tuple[Evidence, dict[str, float]]:
    """The evidence, and seconds by part. Of the test split only the number of rows is read."""
    place = device.settle(params.fine_tune.seed)
    preprocessor = Preprocessor.load(data / "contract")
    labels, key = preprocessor.contract.labels, folder_digest(backbone)
    network = Network.from_backbone(backbone, len(labels), dropout=0.0).to(place)
    splits = {}
    started = time.perf_counter()
    for name in ("train", "validation"):
        rows = dataset.read(data / f"{name}.parquet")
        saying = f"features of {name}"
        values = features.extract(network, preprocessor, rows, cache=cache, key=key, progress=saying)
        splits[name] = Split(rows, rows.targets(labels), values)
    learn = splits["train"]
    head = probe.fit(
        learn.features,
        learn.targets,
        len(labels),
        params.probe,
        level=params.choice.interval,
        groups=learn.examples.groups,
    )
    seconds = {"probe": time.perf_counter() - started}

    started = time.perf_counter()
    some = _some(learn.targets, params.choice.layer_examples, seed=params.probe.seed)
    few = learn.select(some)
    by_layer = features.extract_layers(
        network, preprocessor, few.examples, cache=cache, key=key, progress="features by layer"
    )
    plain = params.probe.model_copy(update={"strengths": [head.strength], "folds": params.choice.folds})
    layers = [(name, _held_out(values, few, len(labels), plain, params.choice.interval)) for name, values in by_layer]
    seconds["layers"] = time.perf_counter() - started

    setting = Setting(
        preprocessor,
        backbone,
        params.few_labels,
        params.probe,
        params.fine_tune,
        level=params.choice.interval,
        place=place,
    )
    few_labels = control.measure(setting, learn, splits["validation"])
    seconds |= {f"few_labels/{name}": value for name, value in few_labels.seconds.items()}
    examples = _examples(splits, pq.read_metadata(data / "test.parquet").num_rows)
    a_pass = few_labels.seconds["transfer"] / max(1, few_labels.passes)
    seconds["fine_tune_predicted"] = a_pass * examples["train"] * params.fine_tune.epochs
    work = count_work(preprocessor, learn.examples, params)
    return Evidence(examples, head.accuracy_cv, head.strength, layers, few_labels, work), seconds


def count_work(preprocessor: Preprocessor, learn: dataset.Dataset, params: Plan) -> Work:
    """Tokens after cutting, special ones included, or pixels after resizing, of all training examples."""
    prepared = Prepared(preprocessor, learn.inputs)
    if params.modality == "text":
        once = sum(len(ids) for ids in prepared.get(range(len(learn))))
    else:
        once = len(learn) * int(np.prod(prepared.get([0])[0].shape[-2:]))
    unit = "tokens" if params.modality == "text" else "pixels"
    return Work(unit, once, once * params.fine_tune.epochs, params.choice.budget)


def _examples(splits: dict[str, Split], test: int) -> dict[str, Any]:
    learn = splits["train"]
    counts = np.bincount(learn.targets)
    counts = counts[counts > 0]
    return {
        "train": len(learn.targets),
        "validation": len(splits["validation"].targets),
        "test": test,
        "classes": len(counts),
        "per_class": {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())},
    }


def _some(targets: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """At most `count` rows, with the classes' shares as they are."""
    if len(targets) <= count:
        return np.arange(len(targets))
    share = probe.folds(targets, -(-len(targets) // count), seed=seed)
    return np.flatnonzero(share == 0)


def _held_out(values: NDArray[np.float32], few: Split, classes: int, params: Probe, level: float) -> Interval:
    right = (
        probe.choose(values, few.targets, classes, params, groups=few.examples.groups)[1].argmax(axis=1) == few.targets
    )
    return wilson(int(right.sum()), len(right), level)

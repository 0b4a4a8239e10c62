"""What the plan knows before it chooses: size, domain gap, what the frozen features are worth, which layers, cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.determinism import folder_digest
from headstart.params.transfer import Plan
from headstart.statistics import clustered, learning_curve, transferability
from headstart.statistics.clustered import Groups
from headstart.statistics.interval import Interval
from headstart.statistics.learning_curve import Curve
from headstart.transfer import control, features, gap, probe
from headstart.transfer.adapt import text
from headstart.transfer.control import Control
from headstart.transfer.examples import Prepared
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split

NEIGHBOURS = 5  # of the k-nearest-neighbour check
RESAMPLES = 500  # behind the curve's interval
CURVE = (0.125, 0.25, 0.5, 1.0)  # shares of train that the probe's learning curve rests on


@dataclass(frozen=True)
class Evidence:
    """All that the plan may look at before the race.

    Attributes:
        backbone: name of its folder, architecture, parameters.
        examples: counts by split, classes, labels a class, imbalance, classes too small to judge, conflicting labels.
        probe: accuracy of the linear probe on held-out folds of train.
        strength: its strength.
        layers: accuracy of a probe on each layer's output, input side first; which layers transfer.
        gap: how far the target lies from the backbone's own domain (`gap.measure`).
        transferability: LogME, nearest neighbours, and the probe's learning curve.
        curve: of the probe; None where train is too small for one.
        few_labels: the control.
        unit: of work, `tokens` or `pixels`.
        once: work of passing all of train through the network once.
    """

    backbone: dict[str, Any]
    examples: dict[str, Any]
    probe: Interval
    strength: float
    layers: list[tuple[str, Interval]]
    gap: dict[str, Any]
    transferability: dict[str, Any]
    curve: Curve | None
    few_labels: Control
    unit: str
    once: int

    def document(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone,
            "examples": self.examples,
            "probe": {**self.probe.document(), "strength": self.strength},
            "layers": [{"layer": name, **accuracy.document()} for name, accuracy in self.layers],
            "gap": self.gap,
            "transferability": self.transferability,
            "few_labels": self.few_labels.document(),
        }


@dataclass(frozen=True)
class Ground:
    """What evidence and race both stand on.

    Attributes:
        setting: how to train.
        learn: train, with the frozen backbone's features.
        validation: likewise.
        head: the probe on all of train.
        test_rows: how many there are; nothing else of test is looked at.
        conflicts: rows that `prepare` found to be equal to another and labelled otherwise.
    """

    setting: Setting
    learn: Split
    validation: Split
    head: Head
    test_rows: int
    conflicts: int = 0


def ground(params: Plan, setting: Setting, data: Path) -> tuple[Ground, dict[str, float]]:
    """Splits, features and the probe, and the seconds they took."""
    started = time.perf_counter()
    learn, validation = (
        setting.split(dataset.read(data / f"{name}.parquet"), progress=f"features of {name}")
        for name in ("train", "validation")
    )
    head = probe.fit(
        learn.features,
        learn.targets,
        setting.classes,
        params.probe,
        level=setting.level,
        groups=learn.examples.groups,
    )
    test_rows = pq.read_metadata(data / "test.parquet").num_rows
    seconds = {"probe": time.perf_counter() - started}
    return Ground(setting, learn, validation, head, test_rows, _conflicts(data)), seconds


def gather(
    params: Plan, whole: Ground, found: Ground, by_layer: Sequence[tuple[str, NDArray[np.bool_]]], together: Groups
) -> tuple[Evidence, dict[str, float]]:
    """The evidence, and seconds by part.

    Args:
        params: how it is measured.
        whole: on all layers: the domain gap, and the control that trains them.
        found: on the layers that a probe has: what features are worth.
        by_layer: as `layers` found it, of the whole backbone.
        together: groups of the examples that it was found on.
    """
    setting, learn, level = whole.setting, found.learn, params.choice.interval
    network = Network.from_backbone(setting.backbone, setting.classes, dropout=0.0).to(setting.place)
    seconds, started = dict[str, float](), time.perf_counter()
    distance = gap.of_backbone(
        network,
        setting,
        whole.learn,
        most=params.choice.layer_examples,
        level=level,
        masked_language_loss=_masked_language_loss(params, whole),
    )
    curve = _curve(params, found)
    shown = {
        "log_me": transferability.log_me(learn.features, learn.targets),
        "neighbours": _neighbours(learn, level),
        "curve": curve.document(len(learn)) if curve else None,
    }
    seconds["gap"] = time.perf_counter() - started

    few_labels = control.measure(setting, params.few_labels, whole.learn, whole.validation)
    seconds |= {f"few_labels/{name}": value for name, value in few_labels.seconds.items()}
    a_pass = few_labels.seconds["transfer"] / max(1, few_labels.passes)
    seconds["a_pass"] = a_pass * len(learn)  # one epoch of fine-tuning all of train, extrapolated
    unit, once = count_work(found)
    sizes = _examples(params, found)
    backbone = {
        "name": setting.backbone.name,
        "kind": network.backbone.config.model_type,
        "parameters": sum(parameter.numel() for parameter in network.backbone.parameters()),
    }
    head = found.head
    measured = [(name, clustered.share(right, level, together)) for name, right in by_layer]
    return (
        Evidence(
            backbone, sizes, head.accuracy_cv, head.strength, measured, distance, shown, curve, few_labels, unit, once
        ),
        seconds,
    )


def count_work(found: Ground) -> tuple[str, int]:
    """Unit and work of one pass: tokens after cutting, special ones included, or pixels after resizing."""
    prepared = Prepared(found.setting.preprocessor, found.learn.examples.inputs)
    if found.setting.modality == "text":
        return "tokens", sum(len(ids) for ids in prepared.get(range(len(found.learn))))
    return "pixels", len(found.learn) * int(np.prod(prepared.get([0])[0].shape[-2:]))


def _examples(params: Plan, found: Ground) -> dict[str, Any]:
    targets = found.learn.targets
    counts = np.bincount(targets)
    counts = counts[counts > 0]
    return {
        "train": len(targets),
        "groups": clustered.count(found.learn.examples.groups),
        "validation": len(found.validation),
        "test": found.test_rows,
        "classes": len(counts),
        "per_class": {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())},
        "imbalance": float(counts.max() / counts.min()),
        "small_classes": int((counts < params.choice.examples_per_class).sum()),
        "conflicts": found.conflicts,
    }


def layers(params: Plan, found: Ground) -> tuple[list[tuple[str, NDArray[np.bool_]]], Groups]:
    """Which examples of a sample of train a probe on each layer answers rightly when they are held out; their groups.

    The stem comes first.
    """
    learn, setting = found.learn, found.setting
    network = Network.from_backbone(setting.backbone, setting.classes, dropout=0.0).to(setting.place)
    few = learn.select(_some(learn.targets, params.choice.layer_examples, seed=params.probe.seed))
    key = folder_digest(setting.backbone)
    by_layer = features.extract_layers(
        network, setting.preprocessor, few.examples, cache=setting.cache, key=key, progress="features by layer"
    )
    plain = params.probe.model_copy(update={"strengths": [found.head.strength], "folds": params.choice.folds})
    right = [(name, _held_out(values, few, setting.classes, plain)) for name, values in by_layer]
    return right, few.examples.groups


def _conflicts(data: Path) -> int:
    """As the finding `label_conflicts` counts them; those of train are put aside. 0 where nothing was checked."""
    path = data / "findings.json"
    found = artifacts.read_json(path) if path.is_file() else []
    return sum(int(one["statistic"] or 0) for one in found if one["check"] == "label_conflicts")


def _neighbours(learn: Split, level: float) -> dict[str, Any]:
    right = transferability.neighbours(learn.features, learn.targets, NEIGHBOURS, groups=learn.examples.groups)
    return {"k": NEIGHBOURS, **clustered.share(right, level, learn.examples.groups).document()}


def _curve(params: Plan, found: Ground) -> Curve | None:
    """The probe's learning curve: nested shares of train without one fold, judged on that fold and on validation.

    Where examples come in groups the fold is the one of most groups: the largest group alone may fill another. None
    where the smallest share would show fewer than two classes or fewer than eight examples.
    """
    learn, validation = found.learn, found.validation
    fold = probe.folds(learn.targets, params.choice.folds, seed=params.probe.seed, groups=learn.examples.groups)
    aside = probe.fold_of_most_groups(fold, learn.examples.groups)
    own, judges = np.flatnonzero(fold != aside), learn.select(np.flatnonzero(fold == aside)).joined(validation)
    order = _balanced(learn.targets[own], seed=params.probe.seed)
    sizes, answered = [], []
    for share in CURVE:
        rows = own[order[: round(share * len(own))]]
        if len(rows) < 8 or len(np.unique(learn.targets[rows])) < 2:
            return None
        head = probe.refit(
            learn.features[rows],
            learn.targets[rows],
            found.setting.classes,
            params.probe,
            strength=found.head.strength,
            accuracy_cv=found.head.accuracy_cv,
        )
        sizes.append(len(rows))
        answered.append(int((head.logits(judges.features).argmax(axis=1) == judges.targets).sum()))
    generator = np.random.default_rng(params.probe.seed)
    level = params.choice.interval
    return learning_curve.fit(sizes, answered, len(judges), level=level, resamples=RESAMPLES, generator=generator)


def _masked_language_loss(params: Plan, found: Ground) -> Interval | None:
    if found.setting.modality == "image":
        return None
    texts = found.learn.examples.inputs
    return text.held_out_loss(
        found.setting.backbone,
        texts,
        preprocessor=found.setting.preprocessor,
        seed=params.adapt.seed,
        most=params.choice.layer_examples,
    )


def _balanced(targets: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """A random order of which every beginning has the classes' shares, as nearly as can be."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    place = np.empty(len(targets))
    for label in np.unique(targets):
        own = shuffled[targets[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def _some(targets: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """About `count` rows, with the classes' shares as they are and none of them absent."""
    if len(targets) <= count:
        return np.arange(len(targets))
    share = probe.folds(targets, -(-len(targets) // count), seed=seed)
    chosen = np.flatnonzero(share == 0)
    absent = np.setdiff1d(targets, targets[chosen])
    return np.union1d(chosen, [int(np.flatnonzero(targets == label)[0]) for label in absent]).astype(np.int64)


def _held_out(values: NDArray[np.float32], few: Split, classes: int, params: Any) -> NDArray[np.bool_]:
    _, logits = probe.choose(values, few.targets, classes, params, groups=few.examples.groups)
    right: NDArray[np.bool_] = logits.argmax(axis=1) == few.targets
    return right

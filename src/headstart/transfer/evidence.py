"""What the plan measures: sizes, the linear probe, each layer's features, nearest neighbours, domain shift.

Nothing is trained but logistic regressions on frozen features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.determinism import folder_digest
from headstart.params.transfer import Probe
from headstart.statistics import cluster_robust, paired, transferability
from headstart.statistics.cluster_robust import Groups
from headstart.transfer import features, probe
from headstart.transfer.context import LEVEL, Split, TrainingContext
from headstart.transfer.examples import Prepared
from headstart.transfer.probe import Head

NEIGHBOURS = 5
LAYER_EXAMPLES = 600  # each layer is probed on at most so many: twelve layers in two seconds, intervals of 8 points
SMALLEST = 8  # training examples; the gain by twice the labels is not measured on fewer


@dataclass(frozen=True)
class Probed:
    """Train with the linear probe of a backbone's features.

    Attributes:
        context: whose backbone gave the features.
        learn: train.
        head: the probe, with its held-out answers.
    """

    context: TrainingContext
    learn: Split
    head: Head

    @property
    def right(self) -> NDArray[np.bool_]:
        assert self.head.right is not None  # it was fitted with folds held out
        return self.head.right

    def document(self) -> dict[str, Any]:
        """Cross-validated accuracy and strength."""
        accuracy = cluster_robust.share(self.right, LEVEL, self.learn.examples.groups)
        return {**accuracy.document(), "strength": self.head.strength}


def probed(context: TrainingContext, data: Path) -> Probed:
    """Features of train, and the linear probe of them."""
    learn = context.read(data, "train")
    groups = learn.examples.groups
    return Probed(
        context, learn, probe.fit(learn.features, learn.targets, context.classes, context.probe, groups=groups)
    )


def sizes(learn: Split, data: Path) -> dict[str, Any]:
    """Examples by split and class, groups, and rows that `prepare` found labelled otherwise than an equal one."""
    counts = np.bincount(learn.targets)
    counts = counts[counts > 0]
    return {
        "train": len(learn),
        "groups": cluster_robust.count(learn.examples.groups),
        "validation": pq.read_metadata(data / "validation.parquet").num_rows,
        "test": pq.read_metadata(data / "test.parquet").num_rows,
        "classes": len(counts),
        "per_class": {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())},
        "conflicts": _conflicts(data),
    }


def one_pass(context: TrainingContext, learn: Split) -> tuple[str, int]:
    """Unit and count of what passes the network once with train: tokens after truncation, or pixels after resizing."""
    prepared = Prepared(context.preprocessor, learn.examples.inputs)
    if context.modality == "text":
        return "tokens", sum(len(ids) for ids in prepared.get(range(len(learn))))
    return "pixels", len(learn) * int(np.prod(prepared.get([0])[0].shape[-2:]))


def layers(whole: Probed) -> tuple[list[tuple[str, NDArray[np.bool_]]], Groups]:
    """Which examples of a sample of train a probe on each layer answers rightly when held out, and their groups.

    The stem comes first.
    """
    context, learn = whole.context, whole.learn
    few = learn.select(sample(learn.targets, LAYER_EXAMPLES, seed=context.probe.seed))
    by_layer = features.extract_layers(
        context.frozen(),
        context.preprocessor,
        few.examples,
        cache=context.cache,
        key=folder_digest(context.backbone),
        progress="features by layer",
    )
    plain = context.probe.model_copy(update={"strengths": [whole.head.strength]})
    right = [(name, _held_out(values, few, context.classes, plain)) for name, values in by_layer]
    return right, few.examples.groups


def layer_documents(by_layer: Sequence[tuple[str, NDArray[np.bool_]]], groups: Groups) -> list[dict[str, Any]]:
    return [{"layer": name, **cluster_robust.share(right, LEVEL, groups).document()} for name, right in by_layer]


def neighbours(found: Probed) -> dict[str, Any]:
    """Leave-one-out accuracy of the nearest neighbours, members of the same group left out."""
    learn = found.learn
    right = transferability.neighbours(learn.features, learn.targets, NEIGHBOURS, groups=learn.examples.groups)
    return {"k": NEIGHBOURS, **cluster_robust.share(right, LEVEL, learn.examples.groups).document()}


def twice_the_labels(found: Probed) -> dict[str, Any] | None:
    """What the second half of the labels brought: the probe of half of train against that of all of it, measured.

    Each fold is held out from both, and both answer the same examples. None where train is too small.
    """
    learn, context = found.learn, found.context
    groups = learn.examples.groups
    fold = probe.folds(learn.targets, context.probe.folds, seed=context.probe.seed, groups=groups)
    right = np.zeros(len(learn), dtype=bool)
    for held_out in range(int(fold.max()) + 1):
        rows, judged = np.flatnonzero(fold != held_out), fold == held_out
        half = rows[_balanced(learn.targets[rows], seed=context.probe.seed)[: len(rows) // 2]]
        if len(half) < SMALLEST or len(np.unique(learn.targets[half])) < 2:
            return None
        head = probe.refit(
            learn.features[half], learn.targets[half], context.classes, context.probe, strength=found.head.strength
        )
        right[judged] = head.logits(learn.features[judged]).argmax(axis=1) == learn.targets[judged]
    gain = paired.difference(found.right, right, LEVEL, groups)
    return {
        "labels": len(learn),
        "half": cluster_robust.share(right, LEVEL, groups).document(),
        "gain": gain.interval.document(),
    }


def sample(targets: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """About `count` rows, with the classes' shares as they are and none of them absent."""
    if len(targets) <= count:
        return np.arange(len(targets))
    share = probe.folds(targets, -(-len(targets) // count), seed=seed)
    chosen = np.flatnonzero(share == 0)
    absent = np.setdiff1d(targets, targets[chosen])
    return np.union1d(chosen, [int(np.flatnonzero(targets == label)[0]) for label in absent]).astype(np.int64)


def _conflicts(data: Path) -> int:
    """As the finding `label_conflicts` counts them; 0 where nothing was checked."""
    path = data / "findings.json"
    found = artifacts.read_json(path) if path.is_file() else []
    return sum(int(one["statistic"] or 0) for one in found if one["check"] == "label_conflicts")


def _balanced(targets: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """A random order of which every beginning has the classes' shares, as nearly as can be."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    place = np.empty(len(targets))
    for label in np.unique(targets):
        own = shuffled[targets[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def _held_out(values: NDArray[np.float32], few: Split, classes: int, params: Probe) -> NDArray[np.bool_]:
    _, logits = probe.choose(values, few.targets, classes, params, groups=few.examples.groups)
    right: NDArray[np.bool_] = logits.argmax(axis=1) == few.targets
    return right

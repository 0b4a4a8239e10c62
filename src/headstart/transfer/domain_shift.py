"""How far a model's data lie from what its backbone was pretrained on, before anything is trained.

A weak probe tells the data's features from those of a sample of the backbone's own domain, where one is kept beside it.
It describes and decides nothing: texts of different origin are told apart nearly always, and a saturated distance says
that the data are different, not by how much, nor that transfer is harmed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import determinism
from headstart.backbones.reference import FILE
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.errors import ContractError
from headstart.params.transfer import Probe
from headstart.predictor import Preprocessor
from headstart.statistics.interval import Interval, wilson
from headstart.statistics.representation import a_distance
from headstart.transfer import probe
from headstart.transfer.context import LEVEL, Split, TrainingContext

MOST = 600  # examples of either side that are looked at
STRENGTH = 0.001  # of the probe between domains: weak, so that it says how far before it says only that
ITERATIONS = 100
SATURATED = 1.9  # fewer than 1 in 40 is mistaken
LEAST = 4  # examples of either side
SEED = 23


@dataclass(frozen=True)
class Side:
    """Examples of one domain with the frozen network's features; labels do not matter."""

    examples: Dataset
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.examples)

    def sample(self, most: int) -> "Side":
        """At most so many, those whose id's hash is least, in their order."""
        rows = np.flatnonzero(determinism.sample(self.examples.ids, most, seed=SEED))
        return Side(self.examples.select(rows.tolist()), self.features[rows])


def measure(context: TrainingContext, learn: Split) -> dict[str, Any] | None:
    """The distance from the sample beside the backbone, as `distance` has it; None where there is no such sample."""
    path = context.backbone / FILE
    if not path.is_file():
        return None
    own = acceptable(context.preprocessor, dataset.read(path))
    seen = context.features(own, progress="the backbone's own domain")
    return distance(Side(learn.examples, learn.features), Side(own, seen))


def acceptable(preprocessor: Preprocessor, examples: Dataset) -> Dataset:
    """The examples that the contract accepts: a reference was not drawn with this model's limits in mind."""
    rows = []
    for row, payload in enumerate(examples.inputs):
        try:
            preprocessor.check([payload])
        except ContractError:
            continue
        rows.append(row)
    return examples.select(rows)


def distance(target: Side, reference: Side) -> dict[str, Any] | None:
    """Proxy A-distance, 0 (indistinguishable) to 2 (always told apart); None where a side has fewer than `LEAST`.

    From the held-out error of a weak probe between equally many of both sides. Either half is judged by the probe that
    learned from the other; a group is never in both. The interval is Wilson's of the error, carried over, and as wide
    as that of one half: the halves' errors rise and fall together. Between draws of one distribution (2 x 200 examples,
    64 features, 200 times) it missed the truth in 5% at level 0.9, and in 18% had all answers counted as independent.
    Source: Ben-David et al. 2007, "Analysis of representations for domain adaptation".
    """
    count = min(MOST, len(target), len(reference))
    if count < LEAST:
        return None
    sides = {"target": target.sample(count), "reference": reference.sample(count)}
    values = np.concatenate([side.features for side in sides.values()])
    domain = np.repeat(np.array([0, 1]), count)
    groups = [
        None if group is None else f"{name} {group}" for name, side in sides.items() for group in side.examples.groups
    ]
    weak = Probe(strengths=[STRENGTH], folds=2, iterations=ITERATIONS, class_weights="none", seed=SEED)
    wrong = probe.choose(values, domain, 2, weak, groups=groups)[1].argmax(axis=1) != domain
    share = float(wrong.mean())
    half = wilson(round(share * count), count, LEVEL)
    error = Interval(share, min(share, half.low), max(share, half.high), count)
    found = Interval(a_distance(error.value), a_distance(error.high), a_distance(error.low), error.n)
    return {**found.document(), "error": error.document(), "saturated": found.value >= SATURATED}

"""`plan` and `train`: what is measured before a strategy is chosen, and how each strategy trains."""

import math
from typing import Annotated, Literal

from pydantic import Field

from headstart.params.adapt import Adapt
from headstart.params.section import Amount, Count, Modality, Positive, Section, Seed, Several, Share, Strategy

ClassWeights = Literal["none", "balanced"]


class Probe(Section):
    """Logistic regression on frozen features; its strength is chosen by cross-validation."""

    strengths: Annotated[list[Positive], Field(min_length=1)]
    folds: Several
    iterations: Count
    class_weights: ClassWeights
    seed: Seed


class Augmentation(Section):
    """Random changes of training images: degrees, share of a side, mirrored or not."""

    rotation: float
    shift: Share
    mirror: bool


class FineTune(Section):
    """Head first (from the probe), then every layer with its own rate."""

    epochs: Count
    least_steps: Count
    batch_size: Count
    learning_rate: Positive
    head_learning_rate: Positive
    layer_decay: Share
    pull: Amount
    class_weights: ClassWeights
    dropout: Share
    patience: Count
    stop_on: Literal["loss", "accuracy", "macro_f1"]
    precision: Literal["auto", "float32", "bfloat16"]
    seed: Seed
    augmentation: Augmentation

    @property
    def balanced(self) -> bool:
        """Whether every class counts alike where two networks are compared, however rare it is."""
        return self.class_weights == "balanced" or self.stop_on == "macro_f1"

    def passes(self, examples: int) -> int:
        """How often an epoch shows each of these: once, or as often as it takes to train for `least_steps` in all."""
        epoch_steps = math.ceil(self.least_steps / self.epochs)
        return (epoch_steps - 1) * self.batch_size // examples + 1


class Scratch(Section):
    """How the same architecture learns from random weights; all else as in `fine_tune`."""

    epochs: Count
    learning_rate: Positive


class Lora(Section):
    """Low-rank updates of the linear layers, merged into them before export; all else as in `fine_tune`."""

    rank: Count
    learning_rate: Positive
    epochs: Count


class Plan(Section):
    """Everything the stage `plan` may depend on: which strategies may be trained, and how each would train."""

    modality: Modality
    backbone: str
    strategy: Literal["auto", Strategy]
    layers: Literal["auto", "all"]
    good_enough: Share
    budget: Count
    probe: Probe
    fine_tune: FineTune
    lora: Lora
    adapt: Adapt
    scratch: Scratch


class Forgetting(Section):
    """How much of what the backbone knew a trained network may lose before that is mitigated."""

    budget: Share


class Screen(Section):
    """The gate before export, on validation data."""

    loss_growth: Positive


class Train(Section):
    """Everything the stage `train` may depend on."""

    modality: Modality
    backbone: str
    probe: Probe
    fine_tune: FineTune
    lora: Lora
    adapt: Adapt
    scratch: Scratch
    forgetting: Forgetting
    screen: Screen

"""`plan` and `train`: what is measured before a strategy is chosen, and how each strategy trains."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from headstart.params.adapt import Adapt
from headstart.params.section import (
    Amount,
    Count,
    Doubt,
    Level,
    Modality,
    Positive,
    Section,
    Seed,
    Several,
    Share,
    Strategy,
)

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
    def classes_alike(self) -> bool:
        """Whether every class counts alike where two networks are compared, however rare it is."""
        return self.class_weights == "balanced" or self.stop_on == "macro_f1"


class Scratch(Section):
    """How the same architecture learns from random weights; all else as in `fine_tune`."""

    epochs: Count
    learning_rate: Positive


class Lora(Section):
    """Low-rank updates of the linear layers, merged into them before export; all else as in `fine_tune`."""

    rank: Count
    learning_rate: Positive
    epochs: Count


class FewLabels(Section):
    """The control: the same network with few labels, transferred against from scratch."""

    per_class: Count
    classes: Several
    epochs: Count
    scratch_epochs: Count
    scratch_learning_rate: Positive
    augmented: bool
    judged: Count
    repeats: Count
    seed: Seed


class Choice(Section):
    """What the plan may choose from, and where it does not look further."""

    strategy: Literal["auto", Strategy]
    layers: Literal["auto", "all"]
    good_enough: Share
    target: Level | None
    examples_per_class: Count
    budget: Count
    folds: Several
    layer_examples: Count
    interval: Level


class Race(Section):
    """Successive halving: candidates learn from a growing share of train and are judged on what none has seen."""

    candidates: list[Literal["linear_probe", "lora", "fine_tune", "adapt_then_fine_tune"]]
    shares: Annotated[list[Share], Field(min_length=1)]
    examples: Count
    judged: Count
    budget: Count
    doubt: Doubt
    seed: Seed

    @field_validator("candidates")
    @classmethod
    def _held_to_the_probe(cls, value: list[Strategy]) -> list[Strategy]:
        if "linear_probe" not in value:
            raise PydanticCustomError("yardstick", "a list with linear_probe, which all others are held to,")
        return value

    @field_validator("shares")
    @classmethod
    def _growing(cls, value: list[float]) -> list[float]:
        if any(later <= earlier for earlier, later in pairwise([0.0, *value])):
            raise PydanticCustomError("growing", "shares above 0 that grow from rung to rung")
        return value


class Plan(Section):
    """Everything the stage `plan` may depend on."""

    modality: Modality
    backbone: str
    choice: Choice
    race: Race
    few_labels: FewLabels
    probe: Probe
    fine_tune: FineTune
    lora: Lora
    adapt: Adapt
    scratch: Scratch


class Forgetting(Section):
    """How much of what the backbone knew may be lost, and the ladder that is climbed where it is more."""

    budget: Share
    worth: Share
    examples: Count
    alphas: list[Share]
    pull: Positive
    layer_decay: Share
    level: Level


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

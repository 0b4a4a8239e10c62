"""`plan` and `train`: what is measured before a strategy is chosen, and how each strategy trains."""

from typing import Literal

from headstart.params.section import Count, Modality, Positive, Section, Seed, Share


class Probe(Section):
    """Logistic regression on frozen features; its strength is chosen by cross-validation."""

    strengths: list[Positive]
    folds: Count
    iterations: Count
    seed: Seed


class Augmentation(Section):
    """Random changes of training images: degrees, share of a side, mirrored or not."""

    rotation: float
    shift: Share
    mirror: bool


class FineTune(Section):
    """Head first (from the probe), then every layer with its own rate."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    head_learning_rate: Positive
    layer_decay: Share
    warmup: Share
    weight_decay: float
    clip_norm: Positive
    dropout: Share
    patience: Count
    frozen_layers: int
    precision: Literal["auto", "float32", "bfloat16"]
    seed: Seed
    augmentation: Augmentation


class FewLabels(Section):
    """The control: the same network with few labels, transferred against from scratch."""

    per_class: Count
    classes: Count
    epochs: Count
    scratch_epochs: Count
    scratch_learning_rate: Positive
    augmented: bool
    judged: Count
    repeats: Count
    seed: Seed


class Choice(Section):
    """The measured rule by which the plan picks a strategy."""

    strategy: Literal["auto", "linear_probe", "fine_tune"]
    good_enough: Share
    examples_per_class: Count
    budget: Count
    mended: Share
    mended_at_most: Share
    folds: Count
    layer_examples: Count
    interval: Share


class Plan(Section):
    """Everything the stage `plan` may depend on."""

    modality: Modality
    backbone: str
    choice: Choice
    few_labels: FewLabels
    probe: Probe
    fine_tune: FineTune


class Screen(Section):
    """The gate before export, on validation data."""

    loss_growth: Positive
    above_majority: Share


class Train(Section):
    """Everything the stage `train` may depend on."""

    modality: Modality
    backbone: str
    probe: Probe
    fine_tune: FineTune
    screen: Screen

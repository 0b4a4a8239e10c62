"""`prepare`: contract, splits and checks of the data."""

from headstart.params.section import Count, Modality, Section, Seed, Share


class Split(Section):
    """Shares of all examples; used only where the source has no such split."""

    validation: Share
    test: Share
    seed: Seed


class Checks(Section):
    """What stops a run or puts a row aside."""

    leaked_share: Share
    examples_per_class: Count


class Limits(Section):
    """What the contract refuses: inputs beyond these never reach the model."""

    tokens: Count
    characters: Count
    pixels: Count
    megabytes: Count


class Prepare(Section):
    """Everything the stage `prepare` may depend on."""

    modality: Modality
    backbone: str
    split: Split
    checks: Checks
    limits: Limits
    labels: dict[str, str]

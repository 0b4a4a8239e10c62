"""`prepare`: contract, splits and checks of the data."""

from headstart.params.section import Count, Modality, Section, Seed, Share
from headstart.params.transfer import Probe


class Split(Section):
    """Shares of all examples; used only where the source has no such split."""

    validation: Share
    test: Share
    seed: Seed


class Checks(Section):
    """What stops a run, puts a row aside, or is worth a finding.

    `put_aside` names checks (such as `near_leak`) whose rows go to the quarantine; those of the others that could are
    named only. At most `sample` rows are compared with one another, and `featured` are shown to the backbone, both
    drawn by a hash of their ids. A label is suspected where another class is more probable by `suspicion` at least.
    """

    leaked_share: Share
    put_aside: list[str]
    sample: Count
    featured: Count
    suspicion: Share


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
    probe: Probe

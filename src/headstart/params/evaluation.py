"""`export`, `evaluate`, `seal` and `gates`: the file that is served, and what it must show."""

from typing import Annotated

from pydantic import Field

from headstart.params.section import Count, Difference, Modality, Section, Share


class Override(Section):
    """Why one candidate that the screen refused is exported all the same; `headstart run NAME --reason WHY` writes it.

    Attributes:
        candidate: which, as its refusal names it; another candidate is not exported.
        reason: why.
    """

    candidate: str
    reason: Annotated[str, Field(min_length=1)]


class Export(Section):
    """Everything the stage `export` may depend on."""

    modality: Modality
    backbone: str
    override: Override | None = None  # workspaces from before it have none


class Evaluate(Section):
    """Everything the stage `evaluate` may depend on."""

    modality: Modality
    level: Share
    expected_shares: dict[str, float] | None = None  # `data.expected_shares`


class Seal(Section):
    """Everything the stage `seal` may depend on."""

    modality: Modality
    profile: Count


class Gates(Section):
    """What a candidate must show after export; read by the release flow. A bar of None is not asked for."""

    accuracy: Share | None
    macro_f1: Share | None
    calibration_error: Share | None
    baseline_margin: Difference
    champion_margin: Share
    level: Share


class Release(Section):
    """Whether a candidate that passed waits for a person, and what the model card says that it is for."""

    approval: bool
    intended_use: str | None = None

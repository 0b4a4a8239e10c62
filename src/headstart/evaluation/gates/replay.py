"""Gate `replay`: the sealed bundle gives its own golden answers again, from raw input to probability."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "replay"
DIFFERENCE = 1e-4  # of one probability, at most
ACTION = (
    "Compare library versions and processor with those that sealed it (headstart doctor); "
    "seal the model again on the kind of machine that serves it."
)


def judge(replay: Mapping[str, Any] | None, difference_allowed: float = DIFFERENCE) -> Finding:
    """Whether no golden answer changes its label and none its probabilities by more than is allowed.

    Args:
        replay: `examples`, `max_difference` of a probability, `label_flips`.
        difference_allowed: the largest difference of one probability.
    """
    examples, difference, flips = (bars.count(replay, key) for key in ("examples", "max_difference", "label_flips"))
    if not examples or difference is None or flips is None:
        return bars.missing(
            CHECK, difference_allowed, "The golden examples were not replayed, or not every answer is a number"
        )
    told = (
        f"Of {int(examples)} golden examples {int(flips)} get another label, and probabilities differ by "
        f"{difference:.1e} at most ({difference_allowed:.1e} allowed)"
    )
    evidence = {"examples": int(examples), "label_flips": int(flips)}
    if flips or difference > difference_allowed:
        return Finding(CHECK, "fail", difference, difference_allowed, f"{told}.", ACTION, evidence)
    return Finding(CHECK, "pass", difference, difference_allowed, f"{told}.", "", evidence)

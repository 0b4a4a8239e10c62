"""Gate `calibration_error`: whether a probability of 0.9 is right nine times in ten, after temperature scaling."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "calibration_error"
ACTION = (
    "Confidence is fitted on the validation split: give that more examples, of the same kind as the test split's (its "
    "share is prepare.split.validation where the source names no splits)"
)


def judge(evaluation: Mapping[str, Any] | None, bar: float) -> Finding:
    """Whether the interval of expected calibration error on the test split lies below `bar`."""
    interval = bars.measured(evaluation, "metrics", "ece")
    if interval is None:
        return bars.missing(CHECK, bar, "The evaluation has no calibration error")
    key, groups = "gates.calibration_error", bars.count(evaluation, "groups")
    return bars.at_most(CHECK, interval, bar, what="Calibration error", action=ACTION, key=key, groups=groups)

"""Gate `accuracy`: how often the exported file is right on the test split, against a bar where one is set."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "accuracy"
ACTION = "Add examples of the classes that are confused (see the report)"


def judge(evaluation: Mapping[str, Any] | None, bar: float | None) -> Finding:
    """Whether the interval of test accuracy lies above `bar`; without a bar what was measured is reported."""
    interval = bars.measured(evaluation, "metrics", "accuracy")
    if interval is None:
        return bars.missing(CHECK, bar, "The evaluation has no test accuracy")
    groups = bars.count(evaluation, "groups")
    return bars.at_least(CHECK, interval, bar, what="Accuracy", action=ACTION, key="gates.accuracy", groups=groups)

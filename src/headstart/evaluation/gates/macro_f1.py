"""Gate `macro_f1`: each class counts the same, so a rare class that is given up shows here, not in accuracy."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "macro_f1"
ACTION = "Add examples of the classes with the lowest F1 (see the report)"


def judge(evaluation: Mapping[str, Any] | None, bar: float | None) -> Finding:
    """Whether the interval of test macro-F1 lies above `bar`; without a bar what was measured is reported."""
    interval = bars.measured(evaluation, "metrics", "macro_f1")
    if interval is None:
        return bars.missing(CHECK, bar, "The evaluation has no test macro-F1")
    groups = bars.count(evaluation, "groups")
    return bars.at_least(CHECK, interval, bar, what="Macro-F1", action=ACTION, key="gates.macro_f1", groups=groups)

"""The gate before export, on validation data: stops what is hopeless, so that it never looks at the test set."""

from collections.abc import Mapping
from typing import Any

from headstart.findings import Finding
from headstart.params.transfer import Screen


def judge(history: Mapping[str, Any], params: Screen, majority_share: float) -> list[Finding]:
    """Findings `nonfinite`, `diverged` and `above_majority` from what training wrote down (`history.json`).
    """
    raise NotImplementedError

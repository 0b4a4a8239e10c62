"""Charts of a window beside its reference, drawn by Evidently, which decides nothing.

Only summaries are drawn, no drift test of Evidently's: its tests take the reference for exact and would call 22 to
100% of clean windows of 5,000 rows drifted, against the verdict above them; and where a window is too small to be
judged, nothing may say that there is no drift. Labels are drawn as one more column, because Evidently's own page on
classification fails on two classes, on labels of some classes only, and on labels outside the classes.
The charts carry their scripts and fonts and open without a network; the page around them is `report.monitor`'s.

Evidently writes names into a script as they are, and labels come from whoever can send feedback: names that could end
the script are drawn with characters that look alike.
"""

import json
from typing import Any

from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.settings import disable_telemetry

LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "&": "＆"})


def charts(profile: Profile, window: Window) -> tuple[str, dict[str, Any]]:
    """Draw the distributions of a window (`current`) beside the reference's.

    Args:
        profile: the reference.
        window: at least one answer.

    Returns:
        A whole HTML page of 4 MB, and what it shows as Evidently's own document.
    """
    disable_telemetry()
    import numpy as np
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataSummaryPreset

    current, reference = _frames(window, profile)
    numbers = ["confidence", *sorted(map(_harmless, profile.properties))]
    columns = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in current.columns if name not in numbers]
    )
    sides = (Dataset.from_pandas(frame, data_definition=columns) for frame in (current, reference))
    with np.errstate(invalid="ignore", divide="ignore"):  # it correlates columns that never change, too
        snapshot = Report([DataSummaryPreset()], include_tests=False).run(*sides)
    shown = dict(json.loads(snapshot.json(), parse_constant=lambda _: None))  # NaN is not JSON
    return snapshot.get_html_str(as_iframe=False), shown


def _frames(window: Window, profile: Profile) -> tuple[Any, Any]:
    """Window and reference as tables with the same columns."""
    import numpy as np
    import pandas as pd

    missing = np.full(window.rows, np.nan)
    current: dict[str, Any] = {
        "predicted": [_harmless(name) for name in window.predicted],
        "confidence": window.confidence,
        **{_harmless(name): window.properties.get(name, missing) for name in profile.properties},
    }
    reference: dict[str, Any] = {
        "predicted": [_harmless(name) for name in profile.predicted],
        "confidence": profile.confidence,
        **{_harmless(name): values for name, values in profile.properties.items()},
    }
    if window.labelled:
        for table, side, labels in ((current, window, window.truth), (reference, profile, profile.labels)):
            table["label"] = [None if label is None else _harmless(label) for label in labels]
            table["answer"] = _answers(labels, side.predicted)
    return pd.DataFrame(current), pd.DataFrame(reference)


def _harmless(name: str) -> str:
    """The name without characters that mean something in HTML."""
    return name.translate(LOOKALIKES)


def _answers(labels: Any, predicted: Any) -> list[str | None]:
    return [
        None if label is None else "right" if label == guess else "wrong"
        for label, guess in zip(labels, predicted, strict=True)
    ]

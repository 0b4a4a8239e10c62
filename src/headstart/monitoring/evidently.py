"""The page people look at: Evidently draws window against reference, and decides nothing.

Its default tests alarm on 30 to 96% of clean windows at some sizes, so it is given ours to show: the same level, a
method by name. The pages carry their scripts and fonts and open without a network.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import Template

from headstart import artifacts
from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.settings import hush

FORMAT = 1
BANNER = Template(
    """<body><div style="font: 15px/1.5 system-ui, sans-serif; padding: 16px 24px; color: #fff;
background: {{ {'ok': '#1b5e20', 'alert': '#b71c1c', 'unsure': '#5d4037'}[verdict] }}">
<strong>{{ model }}: {{ verdict }}</strong>
{%- if causes %} · {{ causes[0].cause }} · remedy: {{ remedy }}{% endif %}
<br>{{ window.rows }} answers from {{ window.start }} to {{ window.end }}, {{ window.labelled }} with labels.
headstart's own tests decide; the charts below are drawn by Evidently against the model's reference data.
<ul style="margin: 8px 0 0; padding-left: 20px">
{%- for finding in findings %}<li>{{ finding.verdict }}: {{ finding.check }}: {{ finding.reason }}</li>{% endfor -%}
</ul></div>""",
    autoescape=True,
)


def report(model: str, profile: Profile, window: Window, document: dict[str, Any], page: Path) -> list[Path]:
    """Draw a judged window: `page`, and `page` with `-quality` where labels were enough to judge; the pages' paths.

    Beside each page stands a `.json` with the same numbers. A page is 4 MB: keep those of alerts, and the newest.

    Args:
        model: its name, for the heading.
        profile: the reference.
        window: at least one answer.
        document: both from `watch.watch`; shown above the charts.
        page: an `.html` path.
    """
    hush()
    from evidently import DataDefinition, MulticlassClassification
    from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset

    before, after = _reference(profile), _traffic(window, profile)
    bars = {finding["check"]: finding["bar"] for finding in document["findings"] if finding["verdict"] != "unsure"}
    numbers = ["confidence", *sorted(profile.properties)]
    drift = DataDriftPreset(
        columns=["predicted", *numbers],
        drift_share=1 / (1 + len(numbers)),  # one is enough, as for us
        num_method="ks",
        num_threshold=bars.get("confidence", 0.0),
        cat_method="chisquare",
        cat_threshold=bars.get("predicted_classes", 0.0),
    )
    columns = DataDefinition(numerical_columns=numbers, categorical_columns=["predicted"])
    frames = after.drop(columns="label"), before.drop(columns="label")
    pages = [_page(page, [drift, DataSummaryPreset()], columns, frames, model, document)]
    if "quality" in bars:
        columns = DataDefinition(
            categorical_columns=["label", "predicted"],
            classification=[MulticlassClassification(target="label", prediction_labels="predicted")],
        )
        pair = ["label", "predicted"]
        frames = after.dropna(subset="label")[pair], before[pair]
        quality = page.with_name(f"{page.stem}-quality.html")
        pages.append(_page(quality, [ClassificationPreset()], columns, frames, model, document))
    return pages


def _page(
    path: Path, presets: list[Any], columns: Any, frames: tuple[Any, Any], model: str, document: dict[str, Any]
) -> Path:
    """One page and, beside it, the same numbers as JSON."""
    import numpy as np
    from evidently import Dataset, Report

    current, reference = (Dataset.from_pandas(frame, data_definition=columns) for frame in frames)
    with np.errstate(invalid="ignore", divide="ignore"):  # it correlates columns that never change, too
        snapshot = Report(presets).run(current, reference)
    numbers = json.loads(snapshot.json(), parse_constant=lambda _: None)  # NaN is not JSON
    artifacts.write_json(path.with_suffix(".json"), {"format": FORMAT, "headstart": document, "evidently": numbers})
    with artifacts.replaced(path) as temporary:
        snapshot.save_html(str(temporary))
        page = temporary.read_text(encoding="utf-8")
        banner = BANNER.render(model=model, **document)
        temporary.write_text(page.replace("<body>", banner, 1), encoding="utf-8")
    return path


def _reference(profile: Profile) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "label": list(profile.labels),
            "predicted": list(profile.predicted),
            "confidence": profile.confidence,
            **profile.properties,
        }
    )


def _traffic(window: Window, profile: Profile) -> Any:
    import numpy as np
    import pandas as pd

    missing = np.full(window.rows, np.nan)
    return pd.DataFrame(
        {
            "label": list(window.truth),
            "predicted": list(window.predicted),
            "confidence": window.confidence,
            **{name: window.properties.get(name, missing) for name in profile.properties},
        }
    )

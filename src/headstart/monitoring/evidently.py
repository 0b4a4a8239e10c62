"""The page people look at: our verdict, and distributions drawn by Evidently, which decides nothing.

Only summaries are drawn, no drift test of Evidently's: its tests take the reference for exact and would call 22 to
100% of clean windows of 5,000 rows drifted, against the verdict above them; and where a window is too small to be
judged, nothing may say that there is no drift. Labels are drawn as one more column, because Evidently's own page on
classification fails on two classes, on labels of some classes only, and on labels outside the classes.
Pages carry their scripts and fonts and open without a network.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import Template

from headstart import artifacts
from headstart.monitoring import label_shift
from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.settings import hush

BANNER = Template(
    """<div style="font: 15px/1.5 system-ui, sans-serif; padding: 16px 24px; color: #fff;
background: {{ {'ok': '#1b5e20', 'alert': '#b71c1c', 'unsure': '#5d4037'}[verdict] }}">
<strong>{{ model }}: {{ verdict }}</strong>
{%- if causes %} · {{ causes[0].cause }} · remedy: {{ remedy }}{% endif %}
{%- for cause in causes if cause.evidence.meaning %}<br>{{ cause.evidence.meaning }}{% endfor %}
<br>{{ window.rows }} answers from {{ window.start }} to {{ window.end }}, {{ window.distinct }} distinct inputs,
{{ window.labelled }} with labels, {{ window.refused }} inputs refused.
{% if verdict == "unsure" -%}
There was too little to judge: that nothing is found below does not mean that nothing has changed.
{% endif -%}
{% if not_drawn -%}
The charts could not be drawn: {{ not_drawn }}
{%- else -%}
The findings below decide; the charts show the distributions of{% if window.versions|length > 1 %} version {{ drawn }}'s
answers and{% endif %} inputs (current) beside the reference data.
{%- endif %}
<ul style="margin: 8px 0 0; padding-left: 20px">
{%- for finding in findings %}<li>{{ finding.verdict }}: {{ finding.check }}: {{ finding.reason }}</li>{% endfor -%}
</ul>
{%- if moved %}<table style="margin: 8px 0 0; color: inherit; font: inherit">
<caption style="text-align: left">Class mix: then and now, estimated from {{ window.distinct }} inputs without labels;
the classes that moved most.</caption>
<tr><th align="left">class</th><th align="right">then</th><th align="right">now</th><th>95% interval</th></tr>
{%- for name, share in moved %}
<tr><td>{{ name }}</td><td align="right">{{ "%.1f%%" % (100 * share.reference) }}</td>
<td align="right">{{ "%.1f%%" % (100 * share.value) }}</td>
<td>{{ "%.1f%%" % (100 * share.low) }} to {{ "%.1f%%" % (100 * share.high) }}</td></tr>
{%- endfor %}</table>
{%- elif estimates.shares_reason %}The shares of the classes can't be estimated: {{ estimates.shares_reason }}
{% endif -%}
</div>""",
    autoescape=True,
)
PLAIN = Template(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ model }}</title></head><body>{{ banner }}</body></html>
""",
    autoescape=True,
)


def report(model: str, profile: Profile, window: Window, document: dict[str, Any], page: Path) -> dict[str, Any]:
    """Draw a judged window as `page`.

    A page is 4 MB: keep those of alerts, and the newest.

    Args:
        model: its name, for the heading.
        profile: the reference.
        window: at least one answer.
        document: from `watch.watch`; shown above the charts.
        page: an `.html` path.

    Returns:
        What the charts show, as Evidently's own document.
    """
    hush()
    import numpy as np
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataSummaryPreset

    current, reference = _frames(window, profile)
    numbers = ["confidence", *sorted(profile.properties)]
    columns = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in current.columns if name not in numbers]
    )
    sides = (Dataset.from_pandas(frame, data_definition=columns) for frame in (current, reference))
    with np.errstate(invalid="ignore", divide="ignore"):  # it correlates columns that never change, too
        snapshot = Report([DataSummaryPreset()], include_tests=False).run(*sides)
    with artifacts.replaced(page) as temporary:
        snapshot.save_html(str(temporary))
        html = temporary.read_text(encoding="utf-8")
        banner = _banner(model, document, drawn=window.version)
        temporary.write_text(html.replace("<body>", f"<body>{banner}", 1), encoding="utf-8")
    return dict(json.loads(snapshot.json(), parse_constant=lambda _: None))  # NaN is not JSON


def plain(model: str, document: dict[str, Any], page: Path, *, because: str) -> None:
    """The page without charts, where they could not be drawn: verdict, findings, and why nothing else is there.

    Args:
        model: its name, for the heading.
        document: from `watch.watch`.
        page: an `.html` path.
        because: one sentence.
    """
    from markupsafe import Markup

    banner = _banner(model, document, not_drawn=because)
    artifacts.write_text(page, PLAIN.render(model=model, banner=Markup(banner)))


def _banner(model: str, document: dict[str, Any], **about: Any) -> str:
    shares = document["estimates"]["shares"]
    return str(BANNER.render(model=model, moved=label_shift.moved(shares) if shares else [], **about, **document))


def _frames(window: Window, profile: Profile) -> tuple[Any, Any]:
    """Window and reference as tables with the same columns."""
    import numpy as np
    import pandas as pd

    missing = np.full(window.rows, np.nan)
    current: dict[str, Any] = {
        "predicted": list(window.predicted),
        "confidence": window.confidence,
        **{name: window.properties.get(name, missing) for name in profile.properties},
    }
    reference: dict[str, Any] = {
        "predicted": list(profile.predicted),
        "confidence": profile.confidence,
        **profile.properties,
    }
    if window.labelled:
        current |= {"label": list(window.truth), "answer": _answers(window.truth, window.predicted)}
        reference |= {"label": list(profile.labels), "answer": _answers(profile.labels, profile.predicted)}
    return pd.DataFrame(current), pd.DataFrame(reference)


def _answers(labels: Any, predicted: Any) -> list[str | None]:
    return [
        None if label is None else "right" if label == guess else "wrong"
        for label, guess in zip(labels, predicted, strict=True)
    ]

"""The page of one look at live traffic: what happened, how sure that is, what to do; the evidence and charts below.

Everything on it comes from the monitor's document and from what earlier looks ended in. Charts are drawn elsewhere and
decide nothing; they stand in a sandboxed frame, so that their styles and scripts touch nothing else.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from markupsafe import Markup

from headstart.faults.table import CARRIED_OUT, CAUSES
from headstart.report import monitor_words, sparklines, vocabulary
from headstart.report.monitor_words import is_p_value, p_value, short, span
from headstart.report.plots import percent, rounded, scientific
from headstart.report.sparklines import Sparkline
from headstart.report.templates import environment

HERE = Path(__file__).parent
Document = Mapping[str, Any]

LOOKS = 48  # of the past that are shown: two days of hourly ones
HOUR = timedelta(hours=1)
LABELLED_LAYERS = 28  # more have no room for a name each
CLASSES = 8  # whose shares are shown at once; the others are folded
HEADLINES = {"ok": "No change seen", "alert": "Something changed", "unsure": "Too little to tell"}
NO_LOOK = "No verdict"
TONES = {"ok": "pass", "alert": "fail", "unsure": "unsure"}
LAYER_CHECKS = {"batchnorm_drift": "each BatchNorm", "layer_drift": "the first and the last block"}
ORDER = {"fail": 0, "unsure": 1, "pass": 2}
# the page can't look into the frame of the charts, so that they say how high they are
SENDS_HEIGHT = (
    "<script>new ResizeObserver(() => parent.postMessage(document.documentElement.scrollHeight, '*'))"
    ".observe(document.documentElement)</script>"
)


def render(model: str, document: Document, *, looks: Sequence[Document] = (), charts: str | None = None) -> str:
    """The page as HTML; everything that comes from traffic is escaped.

    Args:
        model: its name.
        document: of the look: what `monitor --json` prints for the model.
        looks: this and earlier ones, oldest first: {`start`, `end`, `verdict`}.
        charts: a whole HTML page with charts of the window; None where there is none.
    """
    template = environment().get_template("monitor.html")
    framed = charts and charts + SENDS_HEIGHT
    html = template.render(_view(model, document, looks), charts=framed, no_charts=_no_charts(model, document))
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written


def _view(model: str, document: Document, looks: Sequence[Document]) -> dict[str, Any]:
    causes, window = document["causes"], document["window"]
    named = [cause for cause in causes if cause["cause"] != "none"]
    findings = sorted(document["findings"], key=lambda finding: ORDER[finding["verdict"]])
    return {
        "own_style": Markup((HERE / "monitor.css").read_text(encoding="utf-8")),  # our own file
        "model": model,
        "document": document,
        "headline": NO_LOOK if window["start"] is None else HEADLINES[document["verdict"]],
        "tone": TONES[document["verdict"]],
        "happened": monitor_words.happened(document),
        "when": span(window),
        "facts": _facts(window),
        "cause": named[0]["cause"] if named else None,
        "meaning": CAUSES[named[0]["cause"]].meaning if named else None,
        "shows_in": monitor_words.shows_in(document) if named else "",
        "client": named[0]["evidence"].get("client") if named else None,
        "others": monitor_words.others(document),
        "sure": monitor_words.sure(document),
        "advice": monitor_words.advice(model, document),
        "retraining": _retraining(document),
        "looks": _looks(looks, window["end"]),
        "accuracy": _accuracy(document),
        "shares": _shares(document["estimates"]["shares"]),
        "shown": CLASSES,
        **_told(findings),
        "layers": _layers(findings),
        "verdicts": {"pass": "passed", "fail": "alarmed", "unsure": "unsure"},
    }


def _facts(window: Document) -> list[tuple[str, str]]:
    if window["start"] is None:
        return []
    versions = window.get("versions") or {}
    distinct = "" if window["distinct"] == window["rows"] else f", {window['distinct']:,} of them distinct"
    facts = [(f"{window['rows']:,}", f"{'answer' if window['rows'] == 1 else 'answers'}{distinct}")]
    facts.append((f"{window['labelled']:,}", "of them with the right label"))
    facts.append((f"{window['refused']:,}", f"{'input was' if window['refused'] == 1 else 'inputs were'} refused"))
    if len(versions) > 1:
        counts = ", ".join(f"{count:,} by version {version}" for version, count in versions.items())
        facts.append((f"{len(versions)} versions", f"answered: {counts}"))
    elif versions:
        facts.append((f"version {next(iter(versions))}", "answered"))
    return facts


def _retraining(document: Document) -> str:
    """Whether the alert started a training or a cure, and why (not); empty where that is no question."""
    decided, remedy = document["retraining"], document["remedy"]
    if document["verdict"] != "alert" and not decided["started"]:
        return ""
    what, done = (f"The cure {remedy}", "carried out") if remedy in CARRIED_OUT else ("Training", "started")
    was = "was" if decided["started"] else "was not"
    return f"{what} {was} {done}: {decided['reason'].rstrip('.')}."


def _looks(looks: Sequence[Document], end: str) -> dict[str, Any] | None:
    """The last looks, a block each; None where this is the first."""
    last = [look for look in looks if look["end"] <= end][-LOOKS:]
    if len(last) < 2:
        return None
    counts = {verdict: sum(look["verdict"] == verdict for look in last) for verdict in HEADLINES}
    told = [f"{counts['alert']} raised an alarm", f"{counts['ok']} did not"]
    if counts["unsure"]:
        told.append(f"{counts['unsure']} saw too little")
    return {
        "blocks": [
            {"tone": TONES[look["verdict"]], "title": f"{short(look['end'])}: {HEADLINES[look['verdict']].lower()}"}
            for look in last
        ],
        "first": short(last[0]["end"]),
        "last": short(last[-1]["end"]),
        "words": f"Of the last {len(last)} looks {', '.join(told[:2])}"
        + (f", {told[2]}." if counts["unsure"] else "."),
    }


def _accuracy(document: Document) -> dict[str, Any] | None:
    """What labels show, against the test set; None where no label came."""
    found = document["estimates"]["accuracy"]
    if found is None:
        return None
    quality = [finding for finding in document["findings"] if finding["check"] == "quality"]
    references = [finding["evidence"].get("accuracy_reference") for finding in quality]
    before = references[0] if len(references) == 1 else None  # several versions have several
    start = 0.0 if min(found["low"], before or 1.0) < 0.55 else 0.5
    caption = "" if before is None else f"test set {percent(before)}"
    return {
        "value": percent(found["value"]),
        "between": f"{percent(found['low'])} – {percent(found['high'])}",
        "n": found["n"],
        "sparkline": sparklines.sparkline(found, start, 1.0, mark=before, caption=caption),
        "start": rounded(start),
    }


def _shares(shares: Mapping[str, Document] | None) -> list[dict[str, Any]]:
    """Each class's share then and now, those that moved farthest first; all on one scale."""
    if not shares:
        return []
    most = max(max(share["high"], share["reference"]) for share in shares.values()) or 1.0
    ordered = sorted(shares.items(), key=lambda entry: -abs(entry[1]["value"] - entry[1]["reference"]))
    return [
        {
            "label": label,
            "then": percent(share["reference"]),
            "now": percent(share["value"]),
            "between": f"{percent(share['low'])} – {percent(share['high'])}",
            "apart": not share["low"] <= share["reference"] <= share["high"],
            "sparkline": sparklines.sparkline(share, 0.0, most, mark=share["reference"]),
        }
        for label, share in ordered
    ]


def _told(findings: Sequence[Document]) -> dict[str, list[dict[str, Any]]]:
    """What is shown at once, what could not tell, and what raised no alarm, each with its numbers as text and strip."""
    drawn = [
        {
            **finding,
            "said": monitor_words.first_up(finding["reason"]),
            "measured": _measured(finding),
            "drawn": _beyond(finding),
        }
        for finding in findings
    ]
    told: dict[str, list[dict[str, Any]]] = {"open": [], "untold": [], "passed": []}
    for finding in drawn:
        unsure = "open" if finding["action"] else "untold"
        told[{"fail": "open", "unsure": unsure, "pass": "passed"}[finding["verdict"]]].append(finding)
    return told


def _measured(finding: Document) -> list[str]:
    statistic, bar = finding["statistic"], finding["bar"]
    if statistic is None:
        return []
    if is_p_value(finding["check"]):
        return [p_value(statistic), "raises no alarm" if bar is None else f"alarms at {scientific(bar)}"]
    if finding["check"] in {"refusals", "repeated_inputs"}:
        return [percent(statistic), f"alarms at {rounded(bar)}"]
    if finding["check"] == "window":
        return [f"{statistic:,.0f}", f"{bar:,.0f} needed"]
    return [scientific(statistic), *([] if bar is None else [f"bar {scientific(bar)}"])]


def _beyond(finding: Document) -> Sparkline | None:
    """How much evidence there is against the bar: p-values by their exponents, shares as they are."""
    statistic, bar = finding["statistic"], finding["bar"]
    if statistic is None or not bar:
        return None
    if is_p_value(finding["check"]):
        need = -math.log10(bar)
        have = -math.log10(statistic) if statistic > 0 else math.inf
        end = 2.5 * need
    elif finding["check"] in {"refusals", "repeated_inputs"}:
        have, need, end = statistic, bar, 1.0
    elif finding["check"] == "window":
        have, need, end = statistic, bar, max(1.25 * bar, statistic)
    else:
        return None
    at, mark = (round(100 * min(1.0, max(0.0, value / end)), 2) for value in (have, need))
    return Sparkline(0.0, at, at, mark, "")


def _no_charts(model: str, document: Document) -> tuple[str, str]:
    """Why there are no charts, and the command that draws them; empty where none does."""
    if document.get("page_error"):
        return f"The charts could not be drawn: {document['page_error']}", ""
    window = document["window"]
    if not window["rows"]:
        return "There is nothing to draw.", ""
    command = f"headstart monitor {shlex.quote(model)} --charts --now {window['end']}"
    return "Charts are drawn where a window alarms. This command draws them for this one:", command


def _layers(findings: Sequence[Document]) -> dict[str, Any] | None:
    """A map of how far the inputs of each layer moved: layers down the page, hours across.

    One column, the window's, where no hour had inputs enough; None where nothing was measured.
    """
    measured = [finding for finding in findings if finding["check"] in LAYER_CHECKS]
    if not measured:
        return None
    found: Document = measured[0]["evidence"]
    history, layers = found.get("history", {"names": [], "hours": []}), found.get("layers", [])
    names, columns = [_layer_name(name) for name in history["names"]], _every_hour(history["hours"])
    if not columns and layers:
        names = [_layer_name(layer["layer"]) for layer in layers]
        beyond, moved = ([layer[key] for layer in layers] for key in ("apart", "moved"))
        columns = [{"label": "", "when": "this window", "beyond": beyond, "moved": moved}]
    if not columns:
        return None
    most = max(max(column["beyond"], default=0.0) for column in columns) or 1.0
    apart = -(-len(names) // LABELLED_LAYERS)  # two rows with a name
    rows = [
        {
            "name": name,
            "label": "" if place % apart else name,
            "cells": [_cell(column, place, name, most) for column in columns],
        }
        for place, name in enumerate(names)
    ]
    return {
        "what": LAYER_CHECKS[measured[0]["check"]],
        "rows": rows,
        "hours": [column["label"] for column in columns],
        "words": monitor_words.layers_moved(columns),
        "most": f"{scientific(most)} nats",
        "dense": len(rows) > LABELLED_LAYERS,
    }


def _every_hour(hours: Sequence[Document]) -> list[dict[str, Any]]:
    """The hours from the first to the last, each with what was measured, or nothing; every sixth has a label."""
    known = {datetime.fromisoformat(hour["start"]): hour for hour in hours}
    if not known:
        return []
    first, last = min(known), max(known)
    columns = []
    for passed in range(int((last - first) / HOUR) + 1):
        start = first + passed * HOUR
        hour = known.get(start, {"beyond": [], "moved": []})
        label = f"{start:%H:%M}" if start.hour % 6 == 0 or (start == last and start.hour % 6 > 2) else ""
        columns.append({**hour, "label": label, "when": f"{short(start.isoformat())} UTC"})
    return columns


def _cell(column: Document, place: int, name: str, most: float) -> dict[str, Any]:
    if not column["beyond"]:
        return {"tone": "absent", "shade": 0, "title": f"{column['when']}: too few inputs"}
    value, moved = column["beyond"][place], column["moved"][place]
    return {
        "tone": "moved" if moved else "still",
        "shade": round(100 * math.sqrt(max(0.0, value) / most)),  # by its root: else one layer hides all others
        "title": f"{name}, {column['when']}: {scientific(value)} nats{', moved' if moved else ''}",
    }


def _layer_name(name: str) -> str:
    return vocabulary.layer(name.removeprefix("backbone.").removesuffix(".normalization"))

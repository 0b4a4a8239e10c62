"""One self-contained page about a model's data, before and beside any training: what is in it, what is wrong with it.

page = render(gather("tickets"))
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from headstart import artifacts
from headstart.data.checks.privacy import masked, masked_id
from headstart.report import sparklines, tables, vocabulary
from headstart.report.data_evidence import SPLITS, DataEvidence, gather
from headstart.report.figure import ACCENT, LINE, SMALL, SOFT, canvas, panel, svg
from headstart.report.plots import percent, rounded

__all__ = ["gather", "render", "write"]

HERE = Path(__file__).parent
SHOWN, LISTED, SHOWN_CLASSES = 200, 24, 12
TITLES = {
    "revision_labels": "Labels are as they were",
    "revision_classes": "Classes are as they were",
    "revision_splits": "No example changed sides",
    "revision_balance": "Classes come as often as before",
    "revision_characters": "Texts are as long as before",
    "revision_words": "Texts have as many words as before",
    "revision_vocabulary": "The words used are the same",
    "revision_pixels": "Images are as large as before",
    "revision_aspect": "Images are of the same shape",
    "revision_kilobytes": "Files are as large as before",
    "imbalance": "No class outweighs the others too far",
    "near_leak": "No validation or test example is nearly a training one",
    "near_duplicates": "Few examples are nearly equal",
    "label_errors": "Labels fit what the backbone sees",
    "train_like_test": "Test examples look like training ones",
    "metadata_shortcut": "Nothing beside the input gives the label away",
    "length_shortcut": "Length or size does not give the label away",
    "token_shortcut": "No single word gives the label away",
    "watermark": "No mark in the image gives the label away",
    "personal_data": "No personal data stands in texts",
    "truncation": "Texts fit into the model",
    "mojibake": "Texts were decoded rightly",
    "markup": "Texts are free of markup",
    "control_characters": "Texts are free of control characters",
    "lengths": "Lengths are of one kind",
    "scripts": "Texts are in one script",
    "sizes": "Images are of sizes that go together",
    "modes": "Images are of one colour mode",
    "rotated": "Images are stored upright",
    "truncated_images": "Image files are whole",
    "constant_images": "Images show something",
    "animated": "Images do not move",
    "carved_splits": "Splits are as large as asked for",
    "class_shares": "Classes come in the same shares in every split",
    "time_order": "Test examples are later than training ones",
    "sources": "Every source gave rows",
}


def render(evidence: DataEvidence, *, diff: Mapping[str, Any] | None = None) -> str:
    """The page as HTML; everything that comes from data is escaped.

    Args:
        evidence: from `gather`.
        diff: what `data.revisions.compare` gave, with `old` and `new` beside it: {`revision`, `when`}.
    """
    html = _environment().get_template("data.html").render(_view(evidence, diff))
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written


def write(model: str, *, revision: str | None = None, diff: Mapping[str, Any] | None = None) -> Path:
    """Gather and render to `artifacts/releases/<model>/data.html`, or `data-diff.html`; where that is."""
    path = artifacts.release(model) / ("data-diff.html" if diff else "data.html")
    artifacts.write_text(path, render(gather(model, revision=revision), diff=diff))
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, rounded=rounded, breakable=_breakable)
    environment.filters.update(dated=_dated, title_of=_title, sparkline_of=sparklines.of_finding)
    environment.globals["style"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))  # our own files
    environment.globals["own_style"] = Markup((HERE / "data.css").read_text(encoding="utf-8"))
    return environment


def _dated(revision: Mapping[str, Any]) -> str:
    """`df3c38e0 (2026-11-23 10:30 UTC)`."""
    when = f" ({datetime.fromisoformat(revision['when']):%Y-%m-%d %H:%M} UTC)" if revision["when"] else ""
    return f"{revision['revision'][:8]}{when}"


def _breakable(text: str) -> Markup:
    """Escaped, with places where a long label may be broken."""
    return Markup(re.sub(r"(?<=[_/.:-])(?=\w)", "<wbr>", str(escape(text))))  # escaped first


def _title(check: str) -> str:
    return TITLES.get(check) or vocabulary.title(check)


def _view(evidence: DataEvidence, diff: Mapping[str, Any] | None) -> dict[str, Any]:
    summary = evidence.summary
    rows = {name: summary["rows"][name] for name in SPLITS}
    total = sum(rows.values())
    examples = [(label, [_card(*one) for one in held]) for label, held in evidence.examples.items() if held]
    counts = (diff or {}).get("classes", {}).get("counts", {})
    changes = sorted(counts.items(), key=lambda item: (-abs(item[1]["after"] - item[1]["before"]), item[0]))
    open_findings = [finding for finding in evidence.findings if finding["verdict"] != "pass"]
    differing = [finding for finding in (diff or {}).get("findings", ()) if finding["verdict"] != "pass"]
    return {
        "evidence": evidence,
        "kind": "a text classifier" if evidence.modality == "text" else "an image classifier",
        "things": "texts" if evidence.modality == "text" else "images",
        "verdicts": vocabulary.VERDICTS,
        "aside": vocabulary.ASIDE,
        "level": 0.95,
        "status": _status(open_findings, differing),
        "summary": _summary(evidence, total),
        "facts": _facts(evidence, total),
        "origin": _origin(evidence),
        "unit": "characters" if evidence.modality == "text" else "pixels",
        "total": total,
        "splits": [tables.Part(name, count, round(100 * count / max(1, total), 2)) for name, count in rows.items()],
        "classes": _classes(summary["per_class"]),
        "listed": LISTED,
        "histogram": _histogram(evidence.sizes, evidence.modality),
        "middle": _middle(evidence.sizes),
        "first_examples": examples[:SHOWN_CLASSES],
        "more_examples": examples[SHOWN_CLASSES:],
        "open": sorted(open_findings, key=vocabulary.urgency),
        "passed": [finding for finding in evidence.findings if finding["verdict"] == "pass"],
        "quarantine": [
            {
                "check": one.check,
                "count": one.count,
                "rows": [
                    {**_card(row["id"], row[evidence.modality]), "label": row["label"], "reason": row["reason"]}
                    for row in one.rows
                ],
            }
            for one in evidence.quarantine
        ],
        "suspected": evidence.suspects[0],
        "suspects": [{**row, **_card(row["id"], row["payload"])} for row in evidence.suspects[1]],
        "diff": diff,
        "changes": changes[:LISTED],
        "changes_left": len(changes[LISTED:]),
        "diff_open": differing,
        "diff_passed": [one for one in (diff or {}).get("findings", ()) if one["verdict"] == "pass"],
    }


def _status(findings: Sequence[Mapping[str, Any]], differing: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Whether it may be trained on, in one word and one sentence; what a comparison found is counted with the rest."""
    failed = [finding for finding in (*findings, *differing) if finding["verdict"] == "fail"]
    if failed:
        names = "; ".join(f"“{_title(finding['check'])}”" for finding in failed)
        return {"tone": "fail", "badge": "Not to be trained on", "sentence": f"A check says no: {names}."}
    if count := len(findings) + len(differing):
        worth = "One finding is" if count == 1 else f"{count} findings are"
        changed = f", {len(differing)} of them on what changed" if differing else ""
        return {
            "tone": "unsure",
            "badge": "Worth a look",
            "sentence": f"It can be trained on. {worth} worth a look first{changed}.",
        }
    return {"tone": "pass", "badge": "In order", "sentence": "It can be trained on, and every check passed."}


def _summary(evidence: DataEvidence, total: int) -> str:
    names = list(evidence.summary["classes"])
    things = "texts" if evidence.modality == "text" else "images"
    shown = ", ".join(names) if len(names) <= 12 and sum(map(len, names)) < 90 else ""
    shown = shown or f"{names[0]}, {names[1]} and {len(names) - 2} more" if len(names) > 1 else ", ".join(names)
    return f"{total:,} {things} of {len(names)} classes: {shown}."


def _facts(evidence: DataEvidence, total: int) -> list[tuple[str, str]]:
    counts = [sum(counts.values()) for counts in evidence.summary["per_class"].values()]
    facts = [(f"{total:,} rows", f"kept; {evidence.summary['quarantined']:,} put aside")]
    if counts and min(counts):
        facts.append((f"{max(counts) / min(counts):.1f} to 1", "the largest class against the smallest"))
    if evidence.revision:
        facts.append((evidence.revision[:8], "is the name of this revision"))
    return facts


def _origin(evidence: DataEvidence) -> str:
    """Where rows and splits come from, in a sentence each."""
    carved = list(evidence.summary.get("carved", ()))
    made = f"{' and '.join(carved)} {'was' if len(carved) == 1 else 'were'} carved by hash" if carved else ""
    source = evidence.source.get("source")
    unlabelled = evidence.source.get("rows", {}).get("unlabelled", 0)
    parts = [f"They come from {source}." if source else ""]
    parts.append(
        f"The splits are the source's own{f'; {made}' if made else ''}." if len(carved) < 2 else f"{made.capitalize()}."
    )
    parts.append(f"{unlabelled:,} rows have no label and are kept apart." if unlabelled else "")
    return " ".join(part for part in parts if part)


def _classes(per_class: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Classes with their rows, most first; widths of bars in per cent of the largest class."""
    totals = {label: sum(counts.values()) for label, counts in per_class.items()}
    most = max(totals.values(), default=0) or 1
    return [
        {
            "label": label,
            "counts": {name: per_class[label][name] for name in SPLITS},
            "total": totals[label],
            "widths": {name: round(100 * count / most, 2) for name in SPLITS for count in (per_class[label][name],)},
        }
        for label in sorted(totals, key=lambda label: (-totals[label], label))
    ]


def _card(name: str, payload: Any) -> dict[str, Any]:
    text = masked(payload) if isinstance(payload, str) else None
    return {
        "id": masked_id(name),
        "text": text if text is None or len(text) <= SHOWN else f"{text[: SHOWN - 1].rstrip()}…",
        "image": tables.thumbnail(payload) if isinstance(payload, bytes) else None,
    }


def _middle(sizes: Mapping[str, NDArray[np.float64]]) -> dict[str, str]:
    """Smallest, median and largest of all splits together."""
    every = np.concatenate([np.zeros(0), *sizes.values()])
    if not len(every):
        return {}
    return {"least": f"{every.min():,.0f}", "median": f"{np.median(every):,.0f}", "most": f"{every.max():,.0f}"}


def _histogram(
    sizes: Mapping[str, NDArray[np.float64]], modality: str, *, width: int = 500, height: int = 150
) -> Markup | None:
    """How many rows are of which length (text, on a logarithmic scale where it is long) or side (image)."""
    every = np.concatenate([np.zeros(0), *sizes.values()])
    if not len(every) or every.min() == every.max():
        return None
    unit = "characters" if modality == "text" else "pixels, the longer side"
    low, high = max(1.0, float(every.min())), float(every.max()) + 1
    wide = high / low > 20
    edges = np.geomspace(low, high, 41) if wide else np.linspace(low, high, 41)
    counts, _ = np.histogram(np.maximum(every, low), edges)
    alt = f"Histogram of {unit}: from {every.min():.0f} to {every.max():.0f}, half below {np.median(every):.0f}."
    with canvas(width, height + 30) as figure:
        axes = panel(figure, 4, 18, width - 8, height - 18)
        axes.set_xscale("log" if wide else "linear")
        axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.9, align="edge", color=ACCENT)
        middle = float(np.median(every))
        axes.axvline(middle, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate(f"half below {middle:,.0f}", (middle, 1.0), (4, 4), xycoords=("data", "axes fraction"),
                      textcoords="offset points", fontsize=SMALL, color=SOFT)  # fmt: skip
        axes.set(xlim=(low, high), yticks=[])
        ticks = [float(tick) for power in range(7) for tick in (10**power, 3 * 10**power)]
        if not wide:
            ticks = list(MaxNLocator(6, integer=True).tick_values(low, high))
        ticks = [tick for tick in ticks if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.axhline(0, color=LINE, linewidth=1)
        return svg(figure, alt)

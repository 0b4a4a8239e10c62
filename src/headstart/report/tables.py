"""The page's tables and cards: classes, mistakes, data and provenance as rows of ready text."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from headstart.report import confusion
from headstart.report.evidence import Evidence
from headstart.report.sparklines import Sparkline, sparkline
from headstart.statistics.interval import Interval, wilson

Document = Mapping[str, Any]
THUMBNAIL = 112
SHOWN_TEXT = 260
SHOWN_VALUE = 160


@dataclass(frozen=True)
class ClassRow:
    """One class: recall with Wilson's interval, and what it is most often taken for."""

    label: str
    support: int
    precision: float
    f1: float
    recall: float
    sparkline: Sparkline
    taken_for: str


@dataclass(frozen=True)
class Card:
    """One mistake: a text, or an image as a data URI; both None where the raw input is gone."""

    identifier: str
    label: str
    predicted: str
    probability: float
    text: str | None
    image: str | None


@dataclass(frozen=True)
class Part:
    """One split: its rows and its share of all, in per cent."""

    name: str
    rows: int
    share: float


def class_rows(evaluation: Document, level: float) -> tuple[float, list[ClassRow]]:
    """Where the scale of the sparklines starts (it ends at 1), and the rows: weakest F1 first, ties by class order."""
    rows = []
    intervals = {one["label"]: _recall(one, level) for one in evaluation["per_class"]}
    start = max(0.0, math.floor(10 * min(interval.low for interval in intervals.values())) / 10)
    for one, counts in zip(evaluation["per_class"], evaluation["confusion"], strict=True):
        place = evaluation["classes"].index(one["label"])
        wrong = [(count, -other) for other, count in enumerate(counts) if other != place and count]
        most = max(wrong, default=None)
        taken = f"{evaluation['classes'][-most[1]]} ({most[0]})" if most else ""
        drawn = sparkline(intervals[one["label"]].document(), start, 1.0)
        figures = (one["precision"], one["f1"], one["recall"])
        rows.append(ClassRow(one["label"], int(one["support"]), *figures, drawn, taken))
    return start, sorted(rows, key=lambda row: row.f1)


def cards(evidence: Evidence) -> list[Card]:
    """The most confident mistakes with their raw inputs."""
    result = []
    for mistake in (evidence.evaluation or {}).get("mistakes", ()):
        payload = evidence.payloads.get(mistake["id"])
        text = _cut(payload, SHOWN_TEXT) if isinstance(payload, str) else None
        image = thumbnail(payload) if isinstance(payload, bytes) else None
        facts = (mistake["id"], mistake["label"], mistake["predicted"], mistake["probability"])
        result.append(Card(*facts, text=text, image=image))
    return result


def thumbnail(encoded: bytes) -> str | None:
    """A data URI, at most 112 pixels a side so that a page of photos stays small; None for what can't be drawn."""
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            image = ImageOps.exif_transpose(opened).convert("L" if opened.mode in ("1", "L") else "RGB")
    except OSError:  # Pillow's word for data that is no image; the card says that it cannot be shown
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    if max(image.size) <= 48:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=82)
    kind = "png" if max(image.size) <= 48 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def splits(evidence: Evidence) -> list[Part]:
    """Rows of each split and their share of all kept rows."""
    total = sum(evidence.rows.values())
    return [Part(name, rows, round(100 * rows / max(1, total), 2)) for name, rows in evidence.rows.items()]


def provenance(evidence: Evidence) -> list[tuple[str, str]]:
    """What went in: enough to build the same bytes again."""
    rows: list[tuple[str, str]] = []
    judgement, contract, backbone = evidence.judgement or {}, evidence.contract or {}, evidence.backbone or {}
    if judgement.get("version") is not None:
        rows.append(("registered version", str(judgement["version"])))
    if evidence.manifest:
        rows.append(("bundle (SHA-256 of its manifest)", evidence.manifest))
    rows += [(f"contract hash, {key}", value) for key, value in _flat(contract.get("hash") or {})]
    for key in ("name", "source", "kind", "parameters", "layers", "hidden_size", "revision"):
        if backbone.get(key) is not None:
            value = f"{backbone[key]:,}" if key == "parameters" else str(backbone[key])
            rows.append(("backbone" if key == "name" else f"backbone {key.replace('_', ' ')}", value))
    rows += [(f"backbone {name}", str(digest)) for name, digest in sorted((backbone.get("files") or {}).items())]
    source = {key: value for key, value in (evidence.source or {}).items() if key not in ("format", "findings")}
    rows += [(f"data {key.replace('.', ' ', 1)}", value) for key, value in _flat(source)]
    rows += [
        (f"{stage} {key}", value)
        for stage, section in evidence.params.items()
        for key, value in _flat(section)
        if key.split(".")[-1] == "seed"
    ]
    if evidence.libraries:
        rows.append(("libraries", ", ".join(evidence.libraries)))
    return rows


def lineage(evidence: Evidence) -> list[tuple[str, str]]:
    """What each stage wrote and its MD5, by path; empty for a model that was not sealed."""
    stages = (evidence.lineage or {}).get("stages", {})
    return sorted((path, digest) for stage in stages.values() for path, digest in stage["outs"].items())


def most_mixed_up(evaluation: Document) -> list[confusion.MixUp]:
    """The ten commonest mix-ups, for the list beside the matrix."""
    return confusion.mix_ups(evaluation["classes"], evaluation["confusion"], 10)


def _recall(one: Document, level: float) -> Interval:
    support = int(one["support"])
    return wilson(min(support, round(one["recall"] * support)), support, level)


def _flat(document: Document, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in sorted(document.items()):
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            rows.append((f"{prefix}{key}", _cut(str(value), SHOWN_VALUE)))
    return rows


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"

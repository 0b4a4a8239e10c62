"""Why rows stand in the quarantine, in words, and the first of each check."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

KINDS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a card number",
    "national_phone": "what may be a national phone number",
}
"""What seems to be personal."""

WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "payloads": lambda found: found["refused"] or f"the row has no {found['noun']}",
    "leak": lambda found: f"equal to {row(found['twin'])}",
    "label_conflicts": lambda found: f"equal rows of {found['split']} have the labels {', '.join(found['labels'])}",
    "duplicates": lambda found: f"repeats {row(found['twin'])}",
    "untrained_labels": lambda found: f"no row of train has the label {found['label']!r}",
    "near_leak": lambda found: _near(found),
    "near_duplicates": lambda found: _near(found),
    "mojibake": lambda found: "the text was decoded with the wrong encoding",
    "control_characters": lambda found: "the text has control characters",
    "markup": lambda found: "the text has HTML tags or entities",
    "truncated_images": lambda found: "the image is cut off",
    "animated": lambda found: "the image is animated",
    "constant_images": lambda found: "the image shows nothing",
    "personal_data": lambda found: f"the text holds {' and '.join(KINDS[kind] for kind in found['kinds'])}",
}


@dataclass(frozen=True)
class Quarantined:
    """Rows that one check put aside.

    Attributes:
        check: its name.
        count: how many.
        rows: the first of them: the columns asked for, and `reason`.
    """

    check: str
    count: int
    rows: list[dict[str, Any]] = field(default_factory=list)


def read(path: Path, columns: Sequence[str], most: int) -> list[Quarantined]:
    """What each check put aside, most first; nothing where nothing was prepared.

    Up to version 0.1 the file has a column `reason`, a sentence, where it has `numbers` now.
    """
    if not path.is_file():
        return []
    why = "numbers" if "numbers" in pq.read_schema(path).names else "reason"
    counts: dict[str, int] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(256, columns=["check", why, *columns]):
            for found in batch.to_pylist():
                check, told = found["check"], found.pop(why)
                counts[check] = counts.get(check, 0) + 1
                held = rows.setdefault(check, [])
                if len(held) < most:
                    held.append({**found, "reason": told if why == "reason" else reason(check, json.loads(told))})
    return [
        Quarantined(check, counts[check], rows[check]) for check in sorted(rows, key=lambda name: (-counts[name], name))
    ]


def reason(check: str, numbers: Mapping[str, Any]) -> str:
    """Why a row was put aside, in a few words; the check's name where no words are known for it."""
    return WORDS[check](numbers) if check in WORDS else check.replace("_", " ")


def row(named: Mapping[str, Any] | str) -> str:
    """`source row 412 (train)`; documents up to version 0.1 hold these words."""
    return named if isinstance(named, str) else f"source row {named['row']} ({named['split']})"


def _near(found: Mapping[str, Any]) -> str:
    how = f"{found['how']}, " if found["how"] else ""
    return f"nearly equal to {row(found['twin'])} ({how}similarity {found['similarity']:.2f})"

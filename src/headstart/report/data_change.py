"""What changed in a model's data since the last revision, as Markdown for Prefect's pages."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.report import data_page, vocabulary
from headstart.report.plots import percent

CLASSES = 20  # whose shares are listed: those that moved most


def summary(model: str, change: Mapping[str, Any]) -> str:
    """One line: rows in, out, relabelled and moved."""
    rows = change["rows"]
    return (
        f"{model}: {rows['in']:,} rows in, {rows['out']:,} out, {change['relabelled']['count']:,} with another label, "
        f"{change['moved']['count']:,} in another split"
    )


def markdown(model: str, change: Mapping[str, Any]) -> str:
    """Counts, sizes of splits, shares of classes and what the comparison found.

    Args:
        model: its name.
        change: what `stages.changes.between` gave.
    """
    old, new = (change[side]["revision"][:8] for side in ("old", "new"))
    lines = [f"# New data of {_cell(model)}", f"Revision {new} against {old}. {_cell(summary(model, change))}."]
    lines += _table(
        ("rows", "before", "now"),
        [
            ("all", f"{change['rows']['before']:,}", f"{change['rows']['after']:,}"),
            *((name, f"{side['before']:,}", f"{side['after']:,}") for name, side in change["splits"].items()),
        ],
    )
    lines += _table(("class", "share before", "share now", "rows before", "rows now"), _shares(change))
    found = [one for one in change["findings"] if one["verdict"] != "pass"]
    rows = [(_title(one["check"]), one["verdict"], one["reason"], one["action"]) for one in found]
    lines += _table(("check", "verdict", "reason", "what to do"), rows) if rows else ["Every comparison passed."]
    return "\n\n".join(lines) + "\n"


def _shares(change: Mapping[str, Any]) -> list[tuple[str, ...]]:
    counts, rows = change["classes"]["counts"], change["rows"]
    before, after = max(1, rows["before"]), max(1, rows["after"])
    shares = {name: (each["before"] / before, each["after"] / after) for name, each in counts.items()}
    moved = sorted(shares, key=lambda name: (-abs(shares[name][1] - shares[name][0]), name))[:CLASSES]
    return [
        (name, *map(percent, shares[name]), f"{counts[name]['before']:,}", f"{counts[name]['after']:,}")
        for name in moved
    ]


def _title(check: str) -> str:
    return data_page.TITLES.get(check) or vocabulary.title(check)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)]


def _cell(text: str) -> str:
    """One line in which Markdown finds nothing to interpret; a row of dashes is the table's own."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", flat)

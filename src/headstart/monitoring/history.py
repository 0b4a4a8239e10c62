"""What the monitor said before: one line a look, so that trouble that lasts can be told from a bad hour."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart import artifacts

FILE = "history.jsonl"


def record(folder: Path, document: dict[str, Any]) -> None:
    """Write `document` as the newest look of `folder` and keep its verdict in the history.

    Args:
        folder: `Workspace.monitor(model)`.
        document: from `monitor.watch`.
    """
    artifacts.write_json(folder / "window.json", document)
    line = {"verdict": document["verdict"], "remedy": document["remedy"], **document["window"]}
    kept = [entry for entry in read(folder) if entry["end"] != line["end"]]
    text = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in [*kept, line])
    artifacts.write_text(folder / FILE, text)


def read(folder: Path) -> list[dict[str, Any]]:
    """All looks, oldest first: {`verdict`, `remedy`, `start`, `end`, `rows`, `labelled`, `version`}."""
    path = folder / FILE
    if not path.is_file():
        return []
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(entries, key=lambda entry: datetime.fromisoformat(entry["end"]))


def disjoint(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Verdicts of the newest look and of earlier ones that share no minute with each other, oldest first.

    Looking three times within an hour is not trouble that lasted three windows.
    """
    verdicts: list[str] = []
    before: datetime | None = None
    for entry in reversed(entries):
        if before is None or datetime.fromisoformat(entry["end"]) <= before:
            verdicts.append(str(entry["verdict"]))
            before = datetime.fromisoformat(entry["start"])
    return verdicts[::-1]

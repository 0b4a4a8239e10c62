"""A model's raw data through time: a log of its revisions, and what is different between two of them.

    data/raw/.revisions/<model>.jsonl    one line a revision: {`revision`, `rows`, `when`}; contents are DVC's

Drift is judged on what came in against what was there (or, where rows only went, on what went against what stayed):
two revisions share most rows, and as wholes they would look more alike than chance allows.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import settings
from headstart.data import raw, split
from headstart.data.checks.privacy import masked, masked_id
from headstart.data.contents import Content, alike, changed, codes_of, distinct, read, signatures
from headstart.data.dataset import SPLITS
from headstart.data.drift import drift
from headstart.findings import Finding
from headstart.params.prepare import Prepare

NAMED = 10
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Revision:
    """One line of the log: DVC's MD5 of the folder, how many rows it has, when it was recorded (ISO 8601)."""

    revision: str
    rows: int
    when: str


def note(folder: Path, revision: str) -> None:
    """Append a revision of `data/raw/<model>/` to the model's log, unless the log ends with it."""
    known = history(folder)
    if known and known[-1].revision == revision:
        return
    about = raw.meta(folder)
    line = {
        "revision": revision,
        "rows": about.rows + about.unlabelled,
        "when": settings.now().isoformat(timespec="seconds"),
    }
    path = _log(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def history(folder: Path) -> list[Revision]:
    """The model's revisions, oldest first; a line that a crash cut off is passed over."""
    path, found = _log(folder), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(Revision(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def compare(old: Path, new: Path, params: Prepare) -> dict[str, Any]:
    """What is different between two revisions, as plain JSON values.

    `rows` in and out are counted by content; `relabelled`, `classes` new and vanished, `duplicates` and `conflicts`
    before and after, as are the sizes of `splits`; `moved` are rows whose split changed, which only the source's own
    splits or groups can bring about; `findings` hold these and the tests for drift, each with its p-value.

    Args:
        old: a folder as ingest wrote it.
        new: likewise.
        params: how labels and splits are made of it, and the level of all tests together (Bonferroni).

    Raises:
        DataError: if a folder holds no ingested data.
    """
    before, after = alike(read(old, params), read(new, params))
    came, went = ~np.isin(after.keys, before.keys), ~np.isin(before.keys, after.keys)
    rows = _row_counts(before, after)
    relabelled, moved = _relabelled(before, after, params), _moved(before, after)
    counts = [np.bincount(side.labels, minlength=len(side.classes)).tolist() for side in (before, after)]
    each = [{"before": then, "after": now} for then, now in zip(*counts, strict=True)]
    classes = {
        "new": [name for name, count in zip(before.classes, each, strict=True) if not count["before"]],
        "vanished": [name for name, count in zip(before.classes, each, strict=True) if not count["after"]],
    }
    return {
        "rows": rows,
        "relabelled": relabelled,
        "classes": {**classes, "counts": dict(zip(before.classes, each, strict=True))},
        "duplicates": {"before": _duplicates(before), "after": _duplicates(after)},
        "conflicts": {"before": _conflicts(before), "after": _conflicts(after)},
        "splits": _splits(before, after),
        "moved": moved,
        "level": params.checks.level,
        "findings": [
            finding.document()
            for finding in (
                _about_labels(relabelled),
                _about_classes(classes),
                _about_splits(moved),
                *drift(
                    (before.folder, before.labels, ~went, went),
                    (after.folder, after.labels, came),
                    before.classes,
                    params,
                ),
            )
        ],
    }


def _log(folder: Path) -> Path:
    return folder.parent / ".revisions" / f"{folder.name}.jsonl"


def _row_counts(before: Content, after: Content) -> dict[str, int]:
    """Rows of both, those that came in and went out, and those that stayed; equal ones are told apart by number."""
    keys, at = np.unique(np.concatenate([before.keys, after.keys]), return_inverse=True)
    first, second = (np.bincount(part, minlength=len(keys)) for part in np.split(at, [len(before.keys)]))
    counts = {"in": np.maximum(second - first, 0), "out": np.maximum(first - second, 0)}
    counts |= {"stayed": np.minimum(first, second)}
    return {"before": len(before.keys), "after": len(after.keys)} | {k: int(v.sum()) for k, v in counts.items()}


def _relabelled(before: Content, after: Content, params: Prepare) -> dict[str, Any]:
    """Contents of both revisions whose labels are not the same; the first few by name."""
    places = changed(after, *(signatures(side.keys, side.labels) for side in (before, after)))
    held = [
        [sorted(side.classes[code] for code in codes) for codes in codes_of(side, "labels", after.keys[places])]
        for side in (before, after)
    ]
    pairs = Counter((" / ".join(old), " / ".join(new)) for old, new in zip(*held, strict=True))
    shown = _payloads(after.folder, places[:NAMED], params.modality)
    return {
        "count": len(places),
        "pairs": [{"old": old, "new": new, "count": count} for (old, new), count in pairs.most_common(NAMED)],
        "rows": [
            {"id": masked_id(after.ids[place]), "old": old, "new": new, "text": shown.get(place)}
            for place, old, new in list(zip(places, *held, strict=True))[:NAMED]
        ],
    }


def _payloads(folder: Path, places: Sequence[int], modality: str) -> dict[int, str]:
    """The texts at these places, masked, at most 200 characters; none of images."""
    found: dict[int, str] = {}
    first = 0
    for batch in raw.batches(folder) if modality == "text" and places else ():
        for place in places:
            if first <= place < first + len(batch):
                found[place] = masked(batch["text"][place - first].as_py() or "")[:200]
        first += len(batch)
    return found


def _moved(before: Content, after: Content) -> dict[str, Any]:
    """Contents of both revisions that stand in other splits than before, and why."""
    carved = [
        set(split.carved({SPLITS[code] for code in np.unique(side.given) if code >= 0})) for side in (before, after)
    ]
    places = changed(after, *(signatures(side.keys, side.homes.astype(np.int64)) for side in (before, after)))
    keys = after.keys[places]
    homes, given = ([codes_of(side, name, keys) for side in (before, after)] for name in ("homes", "given"))
    rows = []
    for at, place in enumerate(places):
        why = "its group changed"
        if given[0][at] != given[1][at]:
            why = "the source names another split"
        elif carved[0] != carved[1]:
            why = "the source now brings other splits"
        names = [[SPLITS[code] for code in sorted(side[at])] for side in homes]
        rows.append({"id": masked_id(after.ids[place]), "old": names[0], "new": names[1], "reason": why})
    return {"count": len(rows), "reasons": dict(Counter(str(row["reason"]) for row in rows)), "rows": rows[:NAMED]}


def _duplicates(side: Content) -> int:
    """Rows that repeat content and label of an earlier one."""
    return len(side.keys) - len(distinct(side))


def _conflicts(side: Content) -> int:
    """Rows whose content stands with more than one label."""
    keys, counts = np.unique(distinct(side)[:, 0], return_counts=True)
    return int(np.isin(side.keys, keys[counts > 1]).sum())


def _splits(before: Content, after: Content) -> dict[str, dict[str, int]]:
    """How many different contents each split has, before what prepare puts aside."""
    counts = [
        [len(np.unique(side.keys[side.homes == place])) for place in range(len(SPLITS))] for side in (before, after)
    ]
    return {name: {"before": old, "after": new} for name, old, new in zip(SPLITS, *counts, strict=True)}


def _finding(check: str, count: int, said: Callable[[], tuple[str, str]], fine: str, *, fail: bool = False) -> Finding:
    if not count:
        return Finding(check, "pass", 0.0, 0.0, fine)
    reason, action = said()
    return Finding(check, "fail" if fail else "unsure", float(count), 0.0, reason, action)


def _about_labels(relabelled: dict[str, Any]) -> Finding:
    def said() -> tuple[str, str]:
        pairs = ", ".join(f"{pair['old']} to {pair['new']} ({pair['count']})" for pair in relabelled["pairs"][:3])
        return (
            f"{relabelled['count']:,} examples have another label than before: {pairs}.",
            "Look at some of them: a mended label helps, a changed meaning asks for a new name.",
        )

    return _finding("revision_labels", relabelled["count"], said, "Every example that stayed has the label it had.")


def _about_classes(classes: dict[str, list[str]]) -> Finding:
    def said() -> tuple[str, str]:
        parts = [f"{kind}: {', '.join(names[:NAMED])}" for kind, names in classes.items() if names]
        return (
            f"Classes are not the same ({'; '.join(parts)}).",
            "A renamed class can be mapped back under prepare.labels; another set of classes is another contract.",
        )

    return _finding("revision_classes", sum(map(len, classes.values())), said, "The classes are the same.")


def _about_splits(moved: dict[str, Any]) -> Finding:
    def said() -> tuple[str, str]:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in moved["reasons"].items())
        return (
            f"{moved['count']:,} examples stand in another split than before: {reasons}.",
            "Figures of the two revisions are not comparable where a trained example became a test example.",
        )

    return _finding("revision_splits", moved["count"], said, "No example that stayed changed sides.")

"""A model's raw data through time: a log of its revisions, and what is different between two of them.

    data/raw/.revisions/<model>.jsonl    one line a revision: {`revision`, `rows`, `when`}; contents are DVC's

Drift is judged on what came in against what was there (or, where rows only went, on what went against what stayed):
two revisions share most rows, and as wholes they would look more alike than chance allows.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import settings
from headstart.data import raw
from headstart.data.checks import LEVEL
from headstart.data.checks.privacy import masked, masked_id
from headstart.data.dataset import SPLITS
from headstart.data.drift import drift
from headstart.data.examples import Examples, Places, read
from headstart.determinism import digest
from headstart.findings import Finding
from headstart.params.prepare import Prepare

NAMED = 10
Signatures = tuple[NDArray[np.int64], NDArray[np.uint64]]


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
        params: how labels and splits are made of it. All tests together have the level `LEVEL` (Bonferroni).

    Raises:
        DataError: if a folder holds no ingested data.
    """
    before, after = _with_all_classes(read(old, params)[0], read(new, params)[0])
    came, went = ~np.isin(after.contents, before.contents), ~np.isin(before.contents, after.contents)
    rows = _row_counts(before, after)
    relabelled, moved = _relabelled(before, after, new, params), _moved(before, after)
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
        "level": LEVEL,
        "findings": [
            finding.document()
            for finding in (
                _about_labels(relabelled),
                _about_classes(classes),
                _about_splits(moved),
                *drift(
                    (old, before.labels, ~went, went),
                    (new, after.labels, came),
                    before.classes,
                    params,
                ),
            )
        ],
    }


def _log(folder: Path) -> Path:
    return folder.parent / ".revisions" / f"{folder.name}.jsonl"


def _row_counts(before: Examples, after: Examples) -> dict[str, int]:
    """Rows of both, those that came in and went out, and those that stayed; equal ones are told apart by number."""
    keys, at = np.unique(np.concatenate([before.contents, after.contents]), return_inverse=True)
    first, second = (np.bincount(part, minlength=len(keys)) for part in np.split(at, [len(before.contents)]))
    counts = {"in": np.maximum(second - first, 0), "out": np.maximum(first - second, 0)}
    counts |= {"stayed": np.minimum(first, second)}
    return {"before": len(before.contents), "after": len(after.contents)} | {k: int(v.sum()) for k, v in counts.items()}


def _relabelled(before: Examples, after: Examples, folder: Path, params: Prepare) -> dict[str, Any]:
    """Contents of both revisions whose labels are not the same; the first few by name."""
    places = _changed(after, *(_signatures(side.contents, side.labels) for side in (before, after)))
    held = [
        [sorted(side.classes[code] for code in codes) for codes in _codes_of(side, "labels", after.contents[places])]
        for side in (before, after)
    ]
    pairs = Counter((" / ".join(old), " / ".join(new)) for old, new in zip(*held, strict=True))
    shown = _payloads(folder, places[:NAMED], params.modality)
    return {
        "count": len(places),
        "pairs": [{"old": old, "new": new, "count": count} for (old, new), count in pairs.most_common(NAMED)],
        "rows": [
            {"id": masked_id(str(after.ids[place])), "old": old, "new": new, "text": shown.get(place)}
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


def _moved(before: Examples, after: Examples) -> dict[str, Any]:
    """Contents of both revisions that stand in other splits than before, and why."""
    places = _changed(after, *(_signatures(side.contents, side.splits) for side in (before, after)))
    keys = after.contents[places]
    homes, given = ([_codes_of(side, name, keys) for side in (before, after)] for name in ("splits", "given"))
    rows = []
    for at, place in enumerate(places):
        why = "its group changed"
        if given[0][at] != given[1][at]:
            why = "the source names another split"
        elif before.carved != after.carved:
            why = "the source now brings other splits"
        names = [[SPLITS[code] for code in sorted(side[at])] for side in homes]
        rows.append({"id": masked_id(str(after.ids[place])), "old": names[0], "new": names[1], "reason": why})
    return {"count": len(rows), "reasons": dict(Counter(str(row["reason"]) for row in rows)), "rows": rows[:NAMED]}


def _duplicates(side: Examples) -> int:
    """Rows that repeat content and label of an earlier one."""
    return len(side.contents) - len(_distinct(side))


def _conflicts(side: Examples) -> int:
    """Rows whose content stands with more than one label."""
    keys, counts = np.unique(_distinct(side)[:, 0], return_counts=True)
    return int(np.isin(side.contents, keys[counts > 1]).sum())


def _splits(before: Examples, after: Examples) -> dict[str, dict[str, int]]:
    """How many different contents each split has, before what prepare puts aside."""
    counts = [
        [len(np.unique(side.contents[side.splits == code])) for code in range(len(SPLITS))] for side in (before, after)
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


def _with_all_classes(before: Examples, after: Examples) -> tuple[Examples, Examples]:
    """Both with the labels of either."""
    classes = sorted({*before.classes, *after.classes})

    def renumbered(side: Examples) -> Examples:
        place = np.array([classes.index(name) for name in side.classes], dtype=np.int32)
        return replace(side, labels=place[side.labels], classes=classes)

    return renumbered(before), renumbered(after)


def _signatures(contents: Places, values: NDArray[np.integer]) -> Signatures:
    """Each content once, and a number that two share if and (but for one in 2^64) only if they have equal values."""
    pairs = np.unique(np.stack([contents, values.astype(np.int64)], axis=1), axis=0)
    mixed = np.array([int(digest(int(value))[:16], 16) for value in range(int(values.max(initial=0)) + 1)], np.uint64)
    known, first = np.unique(pairs[:, 0], return_index=True)
    return known, np.add.reduceat(mixed[pairs[:, 1]], first) if len(known) else mixed[:0]


def _changed(after: Examples, old: Signatures, new: Signatures) -> list[int]:
    """Where in `after` the contents stand first whose signature is not what it was."""
    both, at_old, at_new = np.intersect1d(old[0], new[0], assume_unique=True, return_indices=True)
    others = both[old[1][at_old] != new[1][at_new]]
    known, first = np.unique(after.contents, return_index=True)
    places: list[int] = np.sort(first[np.searchsorted(known, others)]).tolist()
    return places


def _codes_of(side: Examples, name: str, keys: Places) -> list[set[int]]:
    """The values that each content has in a column."""
    held: dict[int, set[int]] = {key: set() for key in keys.tolist()}
    for place in np.flatnonzero(np.isin(side.contents, keys)):
        held[int(side.contents[place])].add(int(getattr(side, name)[place]))
    return [held[key] for key in keys.tolist()]


def _distinct(side: Examples) -> Places:
    """Each content once for each label it has."""
    pairs: Places = np.unique(np.stack([side.contents, side.labels.astype(np.int64)], axis=1), axis=0)
    return pairs

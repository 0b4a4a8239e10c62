"""Whether what stands beside the input gives the label away: how ids are made, groups, the time of day."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks.rows import counts
from headstart.data.examples import Examples, Places
from headstart.findings import Finding
from headstart.statistics.interval import wilson

SHOWN = 3
FEWEST = 20  # rows on each side, below which nothing is said
COVERED, PURE = 0.15, 0.95  # share of a class with one value, and of the rows with that value in that class


def shortcut(examples: Examples, *, level: float, seed: int) -> Finding:
    """`metadata_shortcut`: a column that predicts the label of unseen training rows better than the largest class does,
    or a value of it that stands in `COVERED` of a class and hardly anywhere else.

    Half of the training rows, drawn by `seed`, say which label each value goes with; on the other half the lower end of
    the accuracy (Wilson, at `level` for all columns and values) is held against the share of the largest class, with
    its own upper end. The model never sees these columns, so its accuracy is not inflated by them: they show that
    classes were collected differently, and then the inputs often differ in the same way.
    """
    train = examples.split("train")
    share = counts(examples, "train").max() / max(1, len(train))
    told: list[tuple[float, dict[str, Any]]] = []
    columns = _columns(examples, train)
    labels, learned = examples.labels[train], np.random.default_rng(seed).permutation(len(train)) % 2 == 0
    for name, values in columns.items():
        if len(train) < 2 * FEWEST:
            continue
        right, known = _guess(values[learned], labels[learned], values[~learned], labels[~learned])
        accuracy = wilson(int(right.sum()), len(right), 1 - 2 * level / len(columns))
        majority = wilson(round(share * len(right)), len(right), 1 - 2 * level / len(columns))
        if known and accuracy.low > majority.high:
            told.append((accuracy.value, {"column": name, "accuracy": accuracy.value, "low": accuracy.low}))
            continue
        for value, label, covered in _telling(values, labels, learned, level / len(columns)):
            held = {"column": name, "value": value, "label": examples.classes[label], "covered": covered}
            told.append((covered, held))
    told.sort(key=lambda entry: -entry[0])
    return Finding(
        check="metadata_shortcut",
        verdict="unsure" if told else "pass",
        statistic=told[0][0] if told else None,
        bar=float(share),
        evidence={
            "columns": list(dict.fromkeys(one["column"] for _, one in told)),
            "found": [one for _, one in told[:SHOWN]],
            "looked_at": list(columns),
        },
    )


def _telling(
    values: NDArray[np.object_], labels: NDArray[np.int32], learned: NDArray[np.bool_], level: float
) -> list[tuple[str, int, float]]:
    """Values that tell a class, with how much of it: suspected on the rows learned from, confirmed on the others."""
    names, member = np.unique(values.astype(str), return_inverse=True)
    tables = [np.zeros((len(names), int(labels.max()) + 1)) for _ in range(2)]
    for table, half in zip(tables, (learned, ~learned), strict=True):
        np.add.at(table, (member[half], labels[half]), 1.0)
    shares = tables[1].sum(axis=0) / max(1.0, tables[1].sum())
    fits = [
        (table >= COVERED * np.maximum(table.sum(axis=0), 1)) & (table >= PURE * table.sum(axis=1, keepdims=True))
        for table in tables
    ]
    suspects = np.argwhere(fits[0] & (tables[0].sum(axis=1, keepdims=True) > 0))
    found = []
    for value, label in suspects[fits[1][tuple(suspects.T)]].tolist():
        inside, total = int(tables[1][value, label]), int(tables[1][value].sum())
        if wilson(inside, total, 1 - 2 * level / len(suspects)).low > shares[label]:
            found.append((str(names[value]), label, inside / float(tables[1][:, label].sum())))
    return found


def _columns(examples: Examples, train: Places) -> dict[str, NDArray[np.object_]]:
    """What could give a label away, by name; columns with one value, or with a value a row, can't."""
    ids = [str(examples.ids[int(place)]) for place in train]
    times = [examples.times[int(place)].as_py() for place in train]
    names = [examples.group_names[group] if group >= 0 else "" for group in examples.groups[train]]
    found: dict[str, Sequence[str]] = {}
    if not _is_folder(ids, examples, train):
        found["id_start"] = [_stem(name) for name in ids]
    if not _is_folder(names, examples, train):
        found |= {"group_start": [_stem(name) for name in names], "group": names}
    if any(times):
        found["date"] = [time[:10] if time else "" for time in times]
        found["hour"] = [time[11:13] if time else "" for time in times]
    return {
        name: np.array(values, dtype=object)
        for name, values in found.items()
        if 1 < len(set(values)) <= max(2, len(values) // 2)
    }


def _stem(name: str) -> str:
    """`invoice_` of `invoice_0041`: how a name begins, up to the first digit or folder."""
    return re.split(r"[\d/]", name, maxsplit=1)[0]


def _is_folder(column: Sequence[str], examples: Examples, train: Places) -> bool:
    """Whether values are a folder for each class, as the ids of class folders begin: the label by another name."""
    folders = [value.partition("/")[0] for value in column]
    pairs = set(zip(folders, examples.labels[train].tolist(), strict=True))
    return all("/" in value for value in column) and len(pairs) == len(set(folders)) == len({b for _, b in pairs})


def _guess(
    seen: NDArray[np.object_], labels: NDArray[np.int32], unseen: NDArray[np.object_], truth: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], bool]:
    """Whether the most frequent label of a value seen is right for each unseen row, and if any value was known."""
    values, member = np.unique(seen.astype(str), return_inverse=True)
    table = np.zeros((len(values), int(max(labels.max(), truth.max())) + 1))
    np.add.at(table, (member, labels), 1.0)
    best = table.argmax(axis=1)
    slot = np.minimum(np.searchsorted(values, unseen.astype(str)), len(values) - 1)
    known = values[slot] == unseen.astype(str)
    guess = np.where(known, best[slot], table.sum(axis=0).argmax())
    return guess == truth, bool(known.any())

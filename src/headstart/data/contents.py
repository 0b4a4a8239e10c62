"""One revision of raw data as columns: a key a content, labels and splits as codes; payloads are left out."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data import labels, raw, split
from headstart.data.dataset import SPLITS
from headstart.data.identity import content_key
from headstart.determinism import digest
from headstart.params.prepare import Prepare


@dataclass(frozen=True)
class Content:
    """One revision's labelled rows as columns, payloads left out.

    Attributes:
        folder: where its files are.
        keys: rows with equal payloads share one.
        labels: as the model would know them, as indices into `classes`.
        classes: the labels that rows have, sorted.
        given: the source's own split as an index into `SPLITS`, -1 where it names none.
        homes: the split that `prepare` gives, likewise.
        ids: of the rows.
    """

    folder: Path
    keys: NDArray[np.uint64]
    labels: NDArray[np.int64]
    classes: list[str]
    given: NDArray[np.int8]
    homes: NDArray[np.int8]
    ids: list[str]


def read(folder: Path, params: Prepare) -> Content:
    """The labelled rows of a folder as ingest wrote it, with labels and splits as `prepare` makes them."""
    keys: list[int] = []
    positions: list[float] = []
    ids: list[str] = []
    written: list[str] = []
    given: list[int] = []
    for batch in raw.batches(folder):
        groups = batch["group"].to_pylist()
        for payload, group in zip(batch[params.modality].to_pylist(), groups, strict=True):
            key = content_key(payload)
            keys.append(int(key[:16], 16))
            positions.append(split.position(group or key, params.split))
        ids += batch["id"].to_pylist()
        written += batch["label"].to_pylist()
        given += [SPLITS.index(name) if name in SPLITS else -1 for name in batch["split"].to_pylist()]
    becomes, _ = labels.clean(Counter(written), params.labels)
    classes = sorted(set(becomes.values()))
    number = {name: classes.index(becomes[name]) for name in becomes}
    codes = np.array(given, dtype=np.int8)
    return Content(
        folder=folder,
        keys=np.array(keys, dtype=np.uint64),
        labels=np.array([number[name] for name in written], dtype=np.int64),
        classes=classes,
        given=codes,
        homes=split.assign(np.array(positions), codes, params.split),
        ids=ids,
    )


def alike(before: Content, after: Content) -> tuple[Content, Content]:
    """Both with the labels of either."""
    classes = sorted({*before.classes, *after.classes})
    place = {name: at for at, name in enumerate(classes)}

    def with_all(side: Content) -> Content:
        labels = np.array([place[name] for name in side.classes], dtype=np.int64)[side.labels]
        return replace(side, labels=labels, classes=classes)

    return with_all(before), with_all(after)


def signatures(keys: NDArray[np.uint64], values: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Each key once, and a number that two keys share if and (but for one in 2^64) only if they have equal values."""
    pairs = np.unique(np.stack([keys, values.astype(np.uint64)], axis=1), axis=0)
    mixed = np.array([int(digest(int(value))[:16], 16) for value in range(int(values.max(initial=0)) + 1)], np.uint64)
    known, first = np.unique(pairs[:, 0], return_index=True)
    return known, np.add.reduceat(mixed[pairs[:, 1].astype(np.int64)], first) if len(known) else known


def changed(
    after: Content,
    old: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    new: tuple[NDArray[np.uint64], NDArray[np.uint64]],
) -> list[int]:
    """Where in `after` the contents stand first whose signature is not what it was."""
    both, at_old, at_new = np.intersect1d(old[0], new[0], assume_unique=True, return_indices=True)
    others = both[old[1][at_old] != new[1][at_new]]
    known, first = np.unique(after.keys, return_index=True)
    places: list[int] = np.sort(first[np.searchsorted(known, others)]).tolist()
    return places


def codes_of(side: Content, name: str, keys: NDArray[np.uint64]) -> list[set[int]]:
    """The values that each content has in a column."""
    held: dict[int, set[int]] = {key: set() for key in keys.tolist()}
    for place in np.flatnonzero(np.isin(side.keys, keys)):
        held[int(side.keys[place])].add(int(getattr(side, name)[place]))
    return [held[key] for key in keys.tolist()]


def distinct(side: Content) -> NDArray[np.uint64]:
    """Each content once for each label it has."""
    pairs: NDArray[np.uint64] = np.unique(np.stack([side.keys, side.labels.astype(np.uint64)], axis=1), axis=0)
    return pairs

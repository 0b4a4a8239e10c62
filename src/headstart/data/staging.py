"""Rows of sources to the two files of `data/raw/<model>/`: streamed, and once more where the end changes the beginning.

Ids are unique in the end: a 64-bit hash a row is held in memory, text only for those that clash. A row keeps the
source's own id where it stands on that row alone. Others get, in the order of the source, the id with its split in
front, or the start of the content's key; where such a name is taken, a count behind it.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart.contract.labels import normal
from headstart.data import dataset, raw
from headstart.data.identity import content_key
from headstart.data.rows import whole_numbers, without_decimal_point
from headstart.data.sources import Source, shown
from headstart.determinism import digest
from headstart.params.section import Modality
from headstart.progress import bar

KEY_DIGITS = 16
NAMED = 10
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Staged:
    """What is known of rows that were written.

    Attributes:
        rows: by source.
        written: by file.
        splits: labelled rows by split.
        repeated: how many ids the sources give to more than one row.
        named: the first ten of those by name.
    """

    rows: dict[str, int]
    written: dict[str, int]
    splits: Counter[str]
    repeated: int
    named: list[str]


def write(folder: Path, opened: Sequence[Source], modality: Modality) -> Staged:
    """Stream every source into the two files of `folder`.

    Where ids clash, or labels are whole numbers and some have a decimal point, which only the end shows, the files are
    streamed once more.
    """
    staging = _Staging(folder, modality)
    try:
        for source in opened:
            with bar(f"reading {shown(source.name)}", "rows") as progress:
                for batch in source.batches:
                    staging.add(source, batch)
                    progress.update(len(batch))
    finally:
        staging.close()
    staged = staging.told_apart()
    return replace(staged, rows={source.name: staged.rows.get(source.name, 0) for source in opened})


class _Staging:
    """The two files while they are written, and what has to be known of all rows in the end."""

    def __init__(self, folder: Path, modality: Modality) -> None:
        self._folder = folder
        self._schemas = {
            raw.LABELLED: raw.schema(modality, labels=True),
            raw.UNLABELLED: raw.schema(modality, labels=False),
        }
        self._files = {name: dataset.Writer(folder / name, schema) for name, schema in self._schemas.items()}
        self._register = Register()
        self._flags: list[NDArray[np.bool_]] = [np.empty(0, np.bool_)]  # which rows have a label
        self._labels: set[str] | None = set()  # all of them, as long as they are whole numbers
        self._whole_groups, self._group_points = True, False  # whether all are whole numbers, and any has a point
        self._rows: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()

    def add(self, source: Source, batch: pa.RecordBatch) -> None:
        """Write the next rows, with ids that are not told apart yet."""
        labels, splits = batch["label"].to_pylist(), batch["split"].to_pylist()
        mask = np.array([bool(source.labelled and label and normal(label)) for label in labels], np.bool_)
        if self._labels is not None:
            new = {label for label in labels if source.labelled and label} - self._labels
            self._labels = self._labels | new if whole_numbers(new) else None
        if self._whole_groups:
            groups = {group for group in batch["group"].to_pylist() if group}
            self._whole_groups = whole_numbers(groups)
            self._group_points |= any(without_decimal_point(group) != group for group in groups)
        self._splits.update(split or "none" for split, has in zip(splits, mask, strict=True) if has)
        names = self._register.add(batch["id"].to_pylist(), batch.column(2))
        batch = batch.set_column(0, "id", pa.array(names, pa.string()))
        self._files[raw.LABELLED].write(batch.filter(pa.array(mask)))
        without = batch.filter(pa.array(~mask)).select(self._schemas[raw.UNLABELLED].names)
        self._files[raw.UNLABELLED].write(without)
        self._flags.append(mask)
        self._rows[source.name] += len(batch)

    def close(self) -> None:
        """End the files."""
        for file in self._files.values():
            file.close()

    def told_apart(self) -> Staged:
        """Write the files once more where that is needed."""
        self._has_label = np.concatenate(self._flags)
        points = any(without_decimal_point(label) != label for label in self._labels or ())
        pointed = {"label"} if points else set[str]()
        pointed |= {"group"} if self._whole_groups and self._group_points else set()
        clashes = self._register.clashes(self._clashing)
        if pointed or clashes.renamed:
            self._rewrite(clashes, pointed)
        written = {name: file.rows for name, file in self._files.items()}
        return Staged(dict(self._rows), written, self._splits, clashes.repeated, clashes.named)

    def _clashing(self, mask: NDArray[np.bool_]) -> Iterator["Clash"]:
        """The rows of `mask`, with their place in the sources."""
        for name, places in self._places():
            start = 0
            with pq.ParquetFile(self._folder / name) as file:
                for batch in file.iter_batches(dataset.GROUP_ROWS, columns=["id", "split"]):
                    here = places[start : start + batch.num_rows]
                    start += batch.num_rows
                    batch = batch.filter(pa.array(mask[here]))
                    yield from zip(
                        here[mask[here]].tolist(), *(each.to_pylist() for each in batch.columns), strict=True
                    )

    def _rewrite(self, clashes: "Clashes", pointed: Collection[str]) -> None:
        """Stream both files once more, with unique ids, and the columns `pointed` without decimal points."""
        renamed = pa.array(clashes.renamed, pa.string())
        for name, places in self._places():
            start, old = 0, self._folder / f"old-{name}"
            (self._folder / name).rename(old)
            writer = dataset.Writer(self._folder / name, self._schemas[name])
            with bar("telling ids apart", "rows") as progress, pq.ParquetFile(old, pre_buffer=False) as file:
                for batch in dataset.stream(file):
                    here = places[start : start + batch.num_rows]
                    start += batch.num_rows
                    mask = np.isin(here, clashes.places)
                    own = renamed.take(pa.array(np.searchsorted(clashes.places, here[mask])))
                    batch = batch.set_column(0, "id", pc.replace_with_mask(batch.column(0), pa.array(mask), own))
                    for column in sorted({*pointed} & {*batch.schema.names}):
                        values = [value and without_decimal_point(value) for value in batch[column].to_pylist()]
                        at = batch.schema.get_field_index(column)
                        batch = batch.set_column(at, column, pa.array(values, pa.string()))
                    writer.write(batch)
                    progress.update(batch.num_rows)
            writer.close()
            old.unlink()

    def _places(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Each file, and where its rows stand in the sources."""
        yield raw.LABELLED, np.flatnonzero(self._has_label)
        yield raw.UNLABELLED, np.flatnonzero(~self._has_label)


# place in the source, the id given or made from the content, the split
Clash = tuple[int, str, str | None]


@dataclass(frozen=True)
class Clashes:
    """Rows whose ids have to be told apart.

    Attributes:
        places: in the order of the source, from 0.
        renamed: their ids.
        repeated: how many given ids stand on more than one row.
        named: the first ten of those by name.
    """

    places: NDArray[np.int64]
    renamed: list[str]
    repeated: int
    named: list[str]


class Register:
    """Collects the ids of all rows, then names those that clash."""

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.uint64]] = []
        self._given: list[NDArray[np.bool_]] = []

    def add(self, ids: Sequence[str | None], payload: pa.Array) -> list[str]:
        """The next rows; their ids, made from the content where the source has none, not told apart yet."""
        inputs = [None] * len(ids) if all(ids) else payload.to_pylist()
        names = [name or content_key(content)[:KEY_DIGITS] for name, content in zip(ids, inputs, strict=True)]
        hashes = [_hash(name) if own else int(name, 16) for own, name in zip(ids, names, strict=True)]
        self._hashes.append(np.array(hashes, np.uint64))
        self._given.append(np.fromiter(map(bool, ids), np.bool_, len(names)))
        return names

    def clashes(self, rows: Callable[[NDArray[np.bool_]], Iterator[Clash]]) -> Clashes:
        """What has to be renamed.

        Args:
            rows: gives, for a mask over all rows, those rows; in any order.
        """
        hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes])
        given = np.concatenate([np.empty(0, np.bool_), *self._given])
        own, counts = np.unique(hashes[given], return_counts=True)
        repeated = own[counts > 1]
        single = own[counts == 1]
        made, counts = np.unique(hashes[~given], return_counts=True)
        clashing = np.where(given, _among(hashes, repeated), _among(hashes, made[counts > 1]) | _among(hashes, own))
        if not clashing.any():
            return Clashes(np.empty(0, np.int64), [], 0, [])
        found = sorted(rows(clashing))
        taken: set[str] = set()
        seen: Counter[str] = Counter()
        named: list[str] = []
        renamed = []
        for place, name, split in found:
            if given[place]:
                _remember(named, name)
                name = f"{split}/{name}" if split else name
            seen[name] += 1
            while _is_taken(candidate := name if seen[name] == 1 else f"{name}#{seen[name]}", taken, single):
                seen[name] += 1
            if "#" in candidate:  # without, nothing but a first `name` is called so
                taken.add(candidate)
            renamed.append(candidate)
        return Clashes(np.flatnonzero(clashing), renamed, len(repeated), named)


def _is_taken(name: str, taken: set[str], single: NDArray[np.uint64]) -> bool:
    """Whether a name was given out before, or is the source's own for one row."""
    if name in taken:
        return True
    value = np.uint64(_hash(name))
    place = int(np.searchsorted(single, value))
    return place < len(single) and bool(single[place] == value)


def _among(values: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.isin(values, known) if len(known) else np.zeros(len(values), np.bool_)


def _hash(name: str) -> int:
    """64 bits of a name; a content key is its own."""
    return int(name if len(name) == KEY_DIGITS and _HEX.issuperset(name) else digest(name)[:KEY_DIGITS], 16)


def _remember(named: list[str], name: str) -> None:
    """Keep the first ten by name."""
    if name not in named and (len(named) < NAMED or name < named[-1]):
        insort(named, name)
        del named[NAMED:]

"""Rows on their way to `data/raw/`: streamed into two files, and once more where the end changes the beginning."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from headstart.contract.labels import normal
from headstart.data import ids, raw
from headstart.data.rows import Batch, whole_numbers, without_decimal_point
from headstart.data.sources import Source, shown
from headstart.params.section import Modality

PATIENCE_S = 2


@dataclass
class Spool:
    """What is known of the rows once all have been written with their ids not told apart.

    Attributes:
        register: their ids.
        has_label: one flag a row, in the order of the sources.
        rows: by source.
        written: by file.
        splits: labelled rows by split.
        points: whether every label is a whole number and some have a decimal point.
    """

    register: ids.Register = field(default_factory=ids.Register)
    has_label: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    rows: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    splits: Counter[str] = field(default_factory=Counter)
    points: bool = False


def fill(folder: Path, opened: Sequence[Source], modality: Modality) -> Spool:
    """Stream every source into the two files."""
    spool = Spool()
    schema, without = raw.schema(modality, labels=True), raw.schema(modality, labels=False)
    files = {
        raw.LABELLED: raw.Writer(folder / raw.LABELLED, schema),
        raw.UNLABELLED: raw.Writer(folder / raw.UNLABELLED, without),
    }
    flags: list[NDArray[np.bool_]] = []
    labels: set[str] | None = set()
    try:
        for source in opened:
            spool.rows[source.name] = 0
            with _bar(f"reading {shown(source.name)}") as bar:
                for batch in source.batches:
                    rows = _record_batch(batch, spool.register, schema)
                    given = [bool(label and normal(label)) for label in batch.labels] if source.labelled else []
                    mask = np.array(given, np.bool_) if source.labelled else np.zeros(len(batch), np.bool_)
                    if labels is not None:
                        new = {label for label in batch.labels if source.labelled and label} - labels
                        labels = labels | new if whole_numbers(new) else None
                    spool.splits.update(split or "none" for split, has in zip(batch.splits, mask, strict=True) if has)
                    files[raw.LABELLED].write(rows.filter(pa.array(mask)))
                    files[raw.UNLABELLED].write(rows.filter(pa.array(~mask)).select(without.names))
                    flags.append(mask)
                    spool.rows[source.name] += len(batch)
                    bar.update(len(batch))
    finally:
        for file in files.values():
            file.close()
    spool.has_label = np.concatenate([spool.has_label, *flags])
    spool.written = {name: file.rows for name, file in files.items()}
    spool.points = any(without_decimal_point(label) != label for label in labels or ())
    return spool


def clashing(folder: Path, spool: Spool, mask: NDArray[np.bool_]) -> Iterator[ids.Clash]:
    """The rows of `mask`, with their place in the sources."""
    for name, chosen in ((raw.LABELLED, spool.has_label), (raw.UNLABELLED, ~spool.has_label)):
        places, start = np.flatnonzero(chosen), 0
        with pq.ParquetFile(folder / name) as file:
            for batch in file.iter_batches(raw.GROUP_ROWS, columns=["id", "split"]):
                here = places[start : start + batch.num_rows]
                start += batch.num_rows
                batch = batch.filter(pa.array(mask[here]))
                yield from zip(here[mask[here]].tolist(), *(each.to_pylist() for each in batch.columns), strict=True)


def rewrite(folder: Path, modality: Modality, spool: Spool, clashes: ids.Clashes) -> None:
    """Stream both files once more, with unique ids, and whole numbers as labels without a decimal point."""
    renamed = pa.array(clashes.renamed, pa.string())
    for name, chosen in ((raw.LABELLED, spool.has_label), (raw.UNLABELLED, ~spool.has_label)):
        places, start = np.flatnonzero(chosen), 0
        old = folder / f"old-{name}"
        (folder / name).rename(old)
        writer = raw.Writer(folder / name, raw.schema(modality, labels=name == raw.LABELLED))
        with _bar("telling ids apart") as bar, pq.ParquetFile(old, pre_buffer=False) as file:
            for batch in raw.stream(file):
                here = places[start : start + batch.num_rows]
                start += batch.num_rows
                mask = np.isin(here, clashes.places)
                own = renamed.take(pa.array(np.searchsorted(clashes.places, here[mask])))
                batch = batch.set_column(0, "id", pc.replace_with_mask(batch.column(0), pa.array(mask), own))
                if spool.points and name == raw.LABELLED:
                    labels = [without_decimal_point(label) for label in batch.column(1).to_pylist()]
                    batch = batch.set_column(1, "label", pa.array(labels, pa.string()))
                writer.write(batch)
                bar.update(batch.num_rows)
        writer.close()
        old.unlink()


def _record_batch(batch: Batch, register: ids.Register, schema: pa.Schema) -> pa.RecordBatch:
    """The rows as columns, with ids that are not told apart yet."""
    inputs: Any = batch.inputs
    groups, labels, given = batch.groups, batch.labels, batch.ids
    try:
        payload = pa.array(inputs, schema.field(2).type)
    except UnicodeEncodeError:
        inputs = [_whole(value) for value in inputs]
        payload = pa.array(inputs, schema.field(2).type)
    try:
        columns = [pa.array(values, pa.string()) for values in (given, labels, groups)]
    except UnicodeEncodeError:
        given, labels, groups = ([_whole(value) for value in values] for values in (given, labels, groups))
        columns = [pa.array(values, pa.string()) for values in (given, labels, groups)]
    names = pa.array(register.add(given, inputs), pa.string())
    rest = [
        pa.array(batch.times, pa.string()),
        pa.array(batch.splits, pa.string()),
        pa.array(batch.numbers, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays([names, columns[1], payload, columns[2], *rest], schema=schema)


def _whole(value: Any) -> Any:
    """Half characters (JSON can hold a lone surrogate, UTF-8 can't) become U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def _bar(saying: str) -> Any:
    """A bar on standard error, if it takes longer than a moment."""
    return tqdm(desc=saying, unit=" rows", file=sys.stderr, delay=PATIENCE_S, leave=False)

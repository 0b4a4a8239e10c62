"""A data set in memory and in Parquet: id, label, raw payload, optional group and time.

Columns on disk: `id` string, `label` string, `text` string or `image` binary (encoded bytes), `group` and
`time` strings that may be null.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts, determinism
from headstart.errors import DataError
from headstart.params.section import Modality

SPLITS = ("train", "validation", "test")
BATCH_ROWS, BATCH_BYTES = 4096, 16 << 20  # at most, of what is read at once
GROUP_ROWS, GROUP_BYTES = 65_536, 32 << 20  # likewise of what is written at once, and of what is held for it


@dataclass(frozen=True)
class Dataset:
    """Examples in order; every list has the same length.

    Attributes:
        modality: `text` or `image`.
        ids: one an example, unique.
        labels: class names.
        inputs: raw payloads: `str` for text, encoded image `bytes` for images.
        groups: examples with one group stay in one split; None where there is none.
        times: ISO 8601; None where there is none.
    """

    modality: Modality
    ids: Sequence[str]
    labels: Sequence[str]
    inputs: Sequence[Any]
    groups: Sequence[str | None]
    times: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Iterable[int]) -> "Dataset":
        """The examples at `rows`, in that order."""
        at = list(rows)
        return Dataset(
            modality=self.modality,
            ids=[self.ids[row] for row in at],
            labels=[self.labels[row] for row in at],
            inputs=[self.inputs[row] for row in at],
            groups=[self.groups[row] for row in at],
            times=[self.times[row] for row in at],
        )

    def targets(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Class indices, shape `(examples,)`, in the order of `classes`.

        Raises:
            DataError: if a label is not among `classes`.
        """
        index = {name: position for position, name in enumerate(classes)}
        if unknown := sorted(set(self.labels) - set(index)):
            raise DataError(f"label {unknown[0]!r} is not one of {len(classes)} classes.")
        return np.array([index[label] for label in self.labels], dtype=np.int64)


def schema(modality: Modality) -> pa.Schema:
    """The columns on disk."""
    kind = pa.string() if modality == "text" else pa.binary()
    return pa.schema(
        {"id": pa.string(), "label": pa.string(), modality: kind, "group": pa.string(), "time": pa.string()}
    )


def write(path: Path, dataset: Dataset) -> None:
    """Write one split as Parquet, whole or not at all."""
    columns = [dataset.ids, dataset.labels, dataset.inputs, dataset.groups, dataset.times]
    table = pa.table([list(column) for column in columns], schema=schema(dataset.modality))
    with writer(path, table.schema) as append:
        append(table)


@contextmanager
def writer(path: Path, columns: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends rows to a Parquet file, which is there whole when the block ends, or not at all.

    The same rows give the same bytes, however they were cut into tables.
    """
    with artifacts.replaced(path) as temporary, closing(Writer(temporary, columns)) as file:

        def append(table: pa.Table) -> None:
            for batch in table.to_batches():
                file.write(batch)

        yield append


class Writer:
    """Writes rows in row groups of at most 65,536 rows and about 32 MB; how they arrive does not change the bytes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._room = GROUP_ROWS
        self._bytes = 0
        self._payload = next(place for place, name in enumerate(schema.names) if name in ("text", "image"))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows that have the schema's columns."""
        self.rows += batch.num_rows
        while batch.num_rows:
            count = min(self._room, self._fitting(batch.column(self._payload)))
            part, batch = batch.slice(0, count), batch.slice(count)
            self._waiting.append(part)
            self._room -= count
            self._bytes += _payload_bytes(part.column(self._payload))
            if not self._room or self._bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what waits, and end the file."""
        if self._waiting or not self.rows:
            self._flush()
        self._file.close()

    def _fitting(self, payload: pa.Array) -> int:
        """How many rows, one at least, until the group is full."""
        sizes = pc.fill_null(pc.binary_length(payload), 0).to_numpy(zero_copy_only=False)
        return int(np.searchsorted(np.cumsum(sizes, dtype=np.int64), GROUP_BYTES - self._bytes)) + 1

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._file.write_table(table.combine_chunks(), row_group_size=max(1, table.num_rows))
        self._waiting, self._room, self._bytes = [], GROUP_ROWS, 0


def stream(content: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The rows of an open file, at most 4,096 and about 16 MB at a time."""
    groups = [content.metadata.row_group(place) for place in range(content.num_row_groups)]
    for place, group in enumerate(groups):
        bytes_a_row = max(1, group.total_byte_size // max(1, group.num_rows))
        yield from content.iter_batches(min(BATCH_ROWS, max(1, BATCH_BYTES // bytes_a_row)), row_groups=[place])


def read(path: Path, *, first: int | None = None) -> Dataset:
    """The data set that `write` wrote, or its first rows.

    Raises:
        DataError: if the file is absent or has other columns.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", action="Run the stage that writes it: headstart run.")
    table = pq.read_table(path) if first is None else _head(path, first)
    modality: Modality = "text" if "text" in table.column_names else "image"
    if missing := {"id", "label", modality, "group", "time"} - set(table.column_names):
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}; it has {table.column_names}.")
    return _dataset(table)


def sample(path: Path, most: int, *, seed: int) -> Dataset:
    """The rows of a split, or `most` of them, those whose id's hash is least, in their order."""
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows <= most:
            return read(path)
        chosen = determinism.sample(file.read(["id"])["id"].to_pylist(), most, seed=seed)
        parts, first = [], 0
        for batch in stream(file):
            parts.append(pa.Table.from_batches([batch]).filter(pa.array(chosen[first : first + len(batch)])))
            first += len(batch)
    return _dataset(pa.concat_tables(parts))


def _dataset(table: pa.Table) -> Dataset:
    modality: Modality = "text" if "text" in table.column_names else "image"
    columns = [table[name].to_pylist() for name in ("id", "label", modality, "group", "time")]
    return Dataset(modality, *columns)


def _head(path: Path, rows: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=rows), None)
        return pa.Table.from_batches([batch] if batch else [], file.schema_arrow)


def _payload_bytes(payload: pa.Array) -> int:
    return pc.sum(pc.binary_length(payload)).as_py() or 0

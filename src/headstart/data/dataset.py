"""A data set in memory and in Parquet: id, label, raw payload, optional group and time.

Columns on disk: `id` string, `label` string, `text` string or `image` binary (encoded bytes), `group` and
`time` strings that may be null.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts, determinism
from headstart.errors import DataError
from headstart.params.section import Modality

SPLITS = ("train", "validation", "test")
ROW_GROUP = {"text": 65_536, "image": 256}  # rows; what is held in memory before it is written


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

    Row groups hold `ROW_GROUP` rows; the same rows give the same bytes, however they were cut into tables.
    """
    waiting: list[pa.Table] = []
    full = ROW_GROUP["image" if "image" in columns.names else "text"]
    with artifacts.replaced(path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as file:

        def append(table: pa.Table) -> None:
            waiting.append(table)
            while sum(map(len, waiting)) >= full:
                flush()

        def flush() -> None:
            joined = pa.concat_tables(waiting)
            waiting.clear()
            file.write_table(joined[:full])
            if len(rest := joined[full:]):
                waiting.append(rest)

        yield append
        while waiting:
            flush()


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
        for batch in file.iter_batches():
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

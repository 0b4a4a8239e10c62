"""A data set in memory and in Parquet: id, label, raw payload, optional group and time.

Columns on disk: `id` string, `label` string, `text` string or `image` binary (encoded bytes), `group` and
`time` strings that may be null.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.errors import DataError
from headstart.params.section import Modality

SPLITS = ("train", "validation", "test")


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


def write(path: Path, dataset: Dataset) -> None:
    """Write one split as Parquet, whole or not at all."""
    kind = pa.string() if dataset.modality == "text" else pa.binary()
    schema = pa.schema(
        {"id": pa.string(), "label": pa.string(), dataset.modality: kind, "group": pa.string(), "time": pa.string()}
    )
    columns = [dataset.ids, dataset.labels, dataset.inputs, dataset.groups, dataset.times]
    table = pa.table([list(column) for column in columns], schema=schema)
    with artifacts.replaced(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(path: Path) -> Dataset:
    """The data set that `write` wrote.

    Raises:
        DataError: if the file is absent or has other columns.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", action="Run the stage that writes it: headstart run.")
    table = pq.read_table(path)
    modality: Modality = "text" if "text" in table.column_names else "image"
    if missing := {"id", "label", modality, "group", "time"} - set(table.column_names):
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}; it has {table.column_names}.")
    columns = [table[name].to_pylist() for name in ("id", "label", modality, "group", "time")]
    return Dataset(modality, *columns)

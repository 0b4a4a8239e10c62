"""Moments of what entered layers, in the journal: sums over the inputs of a minute, and nothing of any one input.

Columns: `format` int8, `time` timestamp (us, UTC: the minute in which the inputs were answered), `version` int64,
`bundle` string (SHA-256 of the manifest of the bundle that answered), `inputs` int64, `totals` and `squares`
list<double>, one a channel, in the order of the bundle's `layers.npz`. Rows of one version add up exactly: over
minutes, servers and days.

They were kept in `batchnorm/`, with `images` for `inputs`, while only networks with BatchNorm had them; those rows are
read too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.journal import reader
from headstart.journal import schema as rows

KIND, FORMER = "layers", "batchnorm"
SCHEMA = pa.schema(
    [
        ("format", pa.int8()),
        ("time", rows.TIME),
        ("version", pa.int64()),
        ("bundle", pa.string()),
        ("inputs", pa.int64()),
        ("totals", pa.list_(pa.float64())),
        ("squares", pa.list_(pa.float64())),
    ],
    metadata=rows.METADATA,
)


@dataclass(frozen=True, slots=True, eq=False)
class LayerMoments:
    """Sums over inputs that one bundle answered in one minute.

    Attributes:
        time: the minute, aware.
        version: of the model that answered.
        bundle: SHA-256 of its manifest.
        inputs: how many; no two alike in what one server answered in an hour.
        totals: sums over inputs of each channel's mean, `(channels,)`.
        squares: sums over inputs of each channel's mean square, `(channels,)`.
    """

    time: datetime
    version: int
    bundle: str
    inputs: int
    totals: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        return rows.ROW_BYTES + 16 * len(self.totals)


def batch(moments: Sequence[LayerMoments]) -> pa.RecordBatch:
    """Rows as columns."""
    columns = {name: [getattr(row, name) for row in moments] for name in SCHEMA.names[1:]}
    return pa.RecordBatch.from_pydict({"format": [rows.FORMAT] * len(moments), **columns}, schema=SCHEMA)


def read(folder: Path, *, start: datetime, end: datetime) -> dict[str, LayerMoments]:
    """What the inputs of `[start, end)` add up to, by bundle; `time` is that of the first of them.

    Args:
        folder: the model's journal.
        start: aware.
        end: aware.

    Raises:
        DataError: if a segment has a newer format, or files keep vanishing while they are read.
    """
    table = _within(folder, start, end, lambda part: part)
    return {row.bundle: row for row in merged(table)}


def hourly(folder: Path, *, start: datetime, end: datetime, bundle: str) -> list[LayerMoments]:
    """What the inputs of `[start, end)` that a bundle answered add up to in each hour of the clock, oldest first.

    Raises:
        DataError: as `read`.
    """
    table = by_hour(_within(folder, start, end, by_hour))
    return _rows(table.filter(pc.equal(table["bundle"], bundle)))


def by_hour(table: pa.Table) -> pa.Table:
    """One row an hour and bundle, in order of time: what a past day is kept as."""
    hours = pc.floor_temporal(table["time"], unit="hour")
    parts = [merged(table.filter(pc.equal(hours, hour))) for hour in sorted(pc.unique(hours).to_pylist())]
    return pa.Table.from_batches([batch([row for part in parts for row in part])], SCHEMA)


def merged(table: pa.Table) -> list[LayerMoments]:
    """Rows added up by bundle, in order of time."""
    found: dict[str, LayerMoments] = {}
    for row in _rows(table.sort_by("time")):
        before = found.get(row.bundle)
        found[row.bundle] = row if before is None else added(before, row)
    return list(found.values())


def added(one: LayerMoments, other: LayerMoments) -> LayerMoments:
    """Both together; the time is that of `one`."""
    return LayerMoments(
        one.time,
        one.version,
        one.bundle,
        one.inputs + other.inputs,
        one.totals + other.totals,
        one.squares + other.squares,
    )


def _within(folder: Path, start: datetime, end: datetime, shorten: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """The rows of `[start, end)`, those of each segment shortened as they are read."""
    within = (pc.field("time") >= pa.scalar(start, rows.TIME)) & (pc.field("time") < pa.scalar(end, rows.TIME))
    return reader.patiently(
        lambda: pa.concat_tables(
            [SCHEMA.empty_table().replace_schema_metadata(None)]
            + [
                shorten(part).replace_schema_metadata(None)
                for kind in (FORMER, KIND)
                for path in reader.segments(folder / kind)
                if (part := _current(reader.read_segment(path, within))).num_rows
            ]
        ),
        folder,
    )


def _current(table: pa.Table) -> pa.Table:
    """Rows as they are written now."""
    return table.rename_columns(["inputs" if name == "images" else name for name in table.column_names])


def _rows(table: pa.Table) -> list[LayerMoments]:
    totals, squares = (_lists(table[name]) for name in ("totals", "squares"))
    plain = (table[name].to_pylist() for name in ("time", "version", "bundle", "inputs"))
    return [LayerMoments(*row) for row in zip(*plain, totals, squares, strict=True)]


def _lists(column: Any) -> list[NDArray[np.float64]]:
    """A column of lists as arrays; lists of thousands of Python's numbers would take seconds."""
    joined = column.combine_chunks()
    ends = np.cumsum(joined.value_lengths().to_numpy())
    return np.split(joined.flatten().to_numpy(), ends[:-1]) if len(ends) else []

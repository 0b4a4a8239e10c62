"""Examples as a source gives them, one or a batch, and how loose values become the strings they hold."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from headstart.contract.labels import normal

BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20

_INTEGRAL = re.compile(r"([+-]?\d+)\.0*")
_WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?")


@dataclass(frozen=True)
class Row:
    """One example of a source, before any check.

    Attributes:
        input: the text, or encoded image bytes; None where the source has none.
        label: as the source writes it, spaces included; None where the row has no label.
        id: the source's own name for the row; None lets ingest derive one from the content.
        group: examples with one group stay in one split.
        time: ISO 8601.
        split: as the source names it: `train`, `validation` or `test`; None where it names none.
        number: the row's place in its file, from 1, for messages.
    """

    input: str | bytes | None
    label: str | None
    id: str | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None
    number: int = 0


@dataclass
class Batch:
    """Some rows of a source in their order, column by column; every list has the same length. See `Row`."""

    inputs: list[str | None] | list[bytes | None] | list[str | bytes | None] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    times: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def rows(self) -> list[Row]:
        """The same, row by row."""
        columns = (self.inputs, self.labels, self.ids, self.groups, self.times, self.splits, self.numbers)
        return [Row(*values) for values in zip(*columns, strict=True)]


def batched(rows: Iterable[Row]) -> Iterator[Batch]:
    """The rows, at most 4,096 and about 16 MB at a time."""
    batch, size = Batch(), 0
    for row in rows:
        batch.inputs.append(row.input)  # type: ignore[arg-type]
        batch.labels.append(row.label)
        batch.ids.append(row.id)
        batch.groups.append(row.group)
        batch.times.append(row.time)
        batch.splits.append(row.split)
        batch.numbers.append(row.number)
        size += len(row.input or "")
        if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = Batch(), 0
    if len(batch):
        yield batch


def plain(value: Any) -> str | None:
    """A scalar of any source as a string; None for nothing (null, NaN, the empty string).

    Whole numbers lose a decimal point (`1.0` is `1`), truth values read `true` and `false`, times are ISO 8601.

    Raises:
        TypeError: if the value is a list or a mapping.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple | dict | set):
        raise TypeError(f"{type(value).__name__} where one value was expected")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def plains(values: Sequence[Any]) -> list[str | None]:
    """`plain` of each value.

    Raises:
        TypeError: if one is a list or a mapping.
    """
    if set(map(type, values)) <= {str, type(None)}:
        return [value or None for value in values]
    return [plain(value) for value in values]


def whole_numbers(labels: Collection[str]) -> bool:
    """Whether every label is a whole number, with or without a decimal point: `1`, `1.0`, `2.`; blank ones aside."""
    return all(_WHOLE.fullmatch(name) for label in labels if (name := normal(label)))


def without_decimal_point(label: str) -> str:
    """`1` for `1.0`, for labels that are all whole numbers.

    A table that once had a gap in an integer column writes 1.0 for 1; version names such as `2.0`, `beta` stay.
    """
    return _INTEGRAL.sub(r"\1", label)

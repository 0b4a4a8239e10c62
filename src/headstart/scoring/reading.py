"""Rows to score, a window at a time: what one row gets wrong is that row's problem, never the run's.

Unlike `data.tables`, which refuses a file for training that has one bad row, this reads on. A file is gone through
once before the first row is answered: its hash, how many rows it has, and which columns of which type.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data import tables
from headstart.data.columns import nearest
from headstart.data.rows import whole_characters
from headstart.determinism import file_digest
from headstart.errors import DataError

JSON_TEXT = {b"headstart": b"json"}
"""Marks a column whose values are kept as JSON text: objects, lists, and keys whose values are of several types."""

KINDS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
EXAMPLE = '{"text": "Where is my card?"}'


@dataclass(frozen=True)
class Rows:
    """A file that was gone through once.

    Attributes:
        path: the file.
        kind: one of `tables.SUFFIXES`.
        sha256: of its bytes.
        count: how many rows it has, bad ones included.
        schema: its columns; all strings in CSV, where of several without a name there is none.
        form: how CSV is written; None elsewhere.
        header: of CSV, `""` for a column without a name.
    """

    path: Path
    kind: str
    sha256: str
    count: int
    schema: pa.Schema
    form: tables.Form | None = None
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """Rows that follow one another.

    Attributes:
        columns: what the rows hold; null throughout where a row could not be read.
        raw: the input column as Python values, not yet held against the contract.
        problems: why a row could not be read, by its place in the window.
        names: how a person finds a row in the file: `row 412`, `line 7`.
    """

    columns: pa.Table
    raw: list[Any]
    problems: dict[int, str]
    names: list[str]


Record = tuple[str, dict[str, Any] | str]
"""What a person calls the row, and its values by column, or what is wrong with it."""


def look(path: Path) -> Rows:
    """Go through the file once.

    Raises:
        DataError: if it does not exist, is of another kind, or cannot be read as a whole: damaged, not UTF-8 (CSV),
            quotes that never close, a column twice.
    """
    kind = tables.suffix(path)
    if not path.is_file() or kind is None:
        raise DataError(
            f"{path} {'is of a kind that is not read here' if path.is_file() else 'is not a file'}.",
            action=f"Name a file that ends in {', '.join(tables.SUFFIXES)}.",
        )
    sha256 = file_digest(path)
    if kind == ".parquet":
        return _look_at_parquet(path, sha256)
    if kind in tables.DELIMITED:
        return _look_at_csv(path, kind, sha256)
    return _look_at_jsonl(path, kind, sha256)


def windows(rows: Rows, column: str, *, start: int, size: int) -> Iterator[Window]:
    """Windows of `size` rows (the last may be smaller), from row `start` (counted from 0) to the end.

    Raises:
        DataError: if the file turns out to be damaged.
    """
    if rows.kind == ".parquet":
        yield from _parquet_windows(rows, column, start, size)
        return
    records = _csv_records(rows, start) if rows.kind in tables.DELIMITED else _jsonl_records(rows, start)
    while chunk := list(islice(records, size)):
        held = [values if isinstance(values, dict) else {} for _, values in chunk]
        arrays = [_array([values.get(field.name) for values in held], field) for field in rows.schema]
        columns = pa.table(arrays, schema=rows.schema)
        problems = {place: values for place, (_, values) in enumerate(chunk) if isinstance(values, str)}
        problems |= {
            place: f"has no key {column!r}{nearest(column, values)}."
            for place, (_, values) in enumerate(chunk)
            if isinstance(values, dict) and column not in values
        }
        yield Window(columns, [values.get(column) for values in held], problems, [name for name, _ in chunk])


def _look_at_parquet(path: Path, sha256: str) -> Rows:
    try:
        with pq.ParquetFile(path) as file:
            count, schema = file.metadata.num_rows, file.schema_arrow.remove_metadata()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a Parquet file that can be read: {str(error).rstrip('. ')}.", action=tables.RENEW
        ) from None
    tables.refuse_repeated(path, schema.names)
    return Rows(path, ".parquet", sha256, count, schema)


def _parquet_windows(rows: Rows, column: str, start: int, size: int) -> Iterator[Window]:
    try:
        with pq.ParquetFile(rows.path) as file:
            groups, skipped = list(range(file.num_row_groups)), 0
            while groups and skipped + file.metadata.row_group(groups[0]).num_rows <= start:
                skipped += file.metadata.row_group(groups.pop(0)).num_rows
            number, waiting = start + 1, pa.Table.from_batches([], rows.schema)
            batches = file.iter_batches(batch_size=size, row_groups=groups)
            for batch in chain(batches, [None]):
                if batch is not None:
                    held = pa.Table.from_batches([batch]).cast(rows.schema)
                    waiting = pa.concat_tables([waiting, held.slice(max(0, start - skipped))])
                    skipped += len(held)
                while len(waiting) >= size or (batch is None and len(waiting)):
                    table, waiting = waiting.slice(0, size), waiting.slice(size)
                    names = [f"row {place}" for place in range(number, number + len(table))]
                    yield Window(table, table[column].to_pylist(), {}, names)
                    number += len(table)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{rows.path} is damaged after row {number - 1}: {str(error).rstrip('. ')}.", action=tables.RENEW
        ) from None


def _look_at_csv(path: Path, kind: str, sha256: str) -> Rows:
    csv.field_size_limit(tables.LARGEST_FIELD)
    form = tables.csv_form(path)
    count = whole = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(islice(file, form.skipped, None), delimiter=form.delimiter, strict=True)
            names = tables.csv_names(next(reader, []))
            whole = reader.line_num
            for row in reader:
                whole = reader.line_num
                count += bool(row)
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8, somewhere after row {count}.",
            action="Save it as UTF-8; a file from a Windows program often is in cp1252.",
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{path} is not CSV that can be read, in the row that begins on line {form.skipped + whole + 1}: {error}.",
            action="Put fields that hold the delimiter, quotes or line breaks between double quotes.",
        ) from None
    if not names:
        raise DataError(f"{path} is empty: it has not even a header.", action="Write the columns' names first.")
    named = [name for name in names if name or names.count("") == 1]  # pandas writes its index without a name
    tables.refuse_repeated(path, named)
    return Rows(path, kind, sha256, count, pa.schema([(name, pa.string()) for name in named]), form, names)


def _csv_records(rows: Rows, start: int) -> Iterator[Record]:
    csv.field_size_limit(tables.LARGEST_FIELD)
    width = len(rows.header)
    with rows.path.open(encoding="utf-8-sig", newline="") as file:
        assert rows.form is not None  # `_look_at_csv` gave it
        lines = islice(file, rows.form.skipped, None)
        reader = (row for row in csv.reader(lines, delimiter=rows.form.delimiter, strict=True) if row)
        for number, row in enumerate(islice(reader, start + 1, None), start + 1):
            values = tables.trimmed(row, width)
            problem = f"has {len(values)} fields; the header has {width}."
            whole = len(values) == width
            yield f"row {number}", dict(zip(rows.header, values, strict=True)) if whole else problem


def _look_at_jsonl(path: Path, kind: str, sha256: str) -> Rows:
    count = 0
    found: dict[str, set[pa.DataType | None]] = {}
    for _, line in _records(path):
        count += 1
        values = _parsed(line)
        for name, value in values.items() if isinstance(values, dict) else ():
            if value is not None or name not in found:
                found.setdefault(name, set()).add(_kind(value) if value is not None else pa.null())
    fields = [_field(name, kinds - {pa.null()}) for name, kinds in found.items() if _encodable(name)]
    return Rows(path, kind, sha256, count, pa.schema(fields))


def _jsonl_records(rows: Rows, start: int) -> Iterator[Record]:
    for number, line in islice(_records(rows.path), start, None):
        yield f"line {number}", _parsed(line)


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    return ((number, line) for number, line in enumerate(tables.lines(path), start=1) if line.strip())


def _parsed(line: bytes) -> dict[str, Any] | str:
    """The line's object, or what is wrong with it; NaN and infinity, which JSON has not, become null."""
    try:
        values = json.loads(line.rstrip(b"\r\n").decode("utf-8"), parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        return f"is not UTF-8: it has the byte 0x{line[error.start]:02x} at place {error.start + 1}."
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg.removesuffix(' starting at')} (character {error.pos + 1})."
    except (ValueError, RecursionError) as error:
        return f"is not JSON that can be read: {error}."
    return values if isinstance(values, dict) else f"holds a {type(values).__name__}; expected an object: {EXAMPLE}."


def _kind(value: Any) -> pa.DataType | None:
    """The column type that holds the value as it is; None where only JSON text does."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return None
    return KINDS.get(type(value))


def _field(name: str, kinds: set[pa.DataType | None]) -> pa.Field:
    if kinds == {pa.int64(), pa.float64()}:
        return pa.field(name, pa.float64())
    if len(kinds) > 1 or None in kinds:
        return pa.field(name, pa.string(), metadata=JSON_TEXT)
    return pa.field(name, next(iter(kinds), pa.string()))


def _array(values: list[Any], field: pa.Field) -> pa.Array:
    if field.metadata == JSON_TEXT:
        values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    if pa.types.is_floating(field.type):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:  # JSON can hold half a surrogate pair, UTF-8 cannot: U+FFFD stands in its place
        return pa.array(
            [value if value is None or _encodable(value) else whole_characters(value) for value in values], field.type
        )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""Files of rows: `.csv`, `.jsonl`, `.jsonl.gz` and `.parquet`, read whole into columns with their row numbers."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.errors import DataError, listed

SUFFIXES = (".csv", ".jsonl", ".jsonl.gz", ".parquet")
LARGEST_FIELD = 1 << 30


@dataclass(frozen=True)
class Table:
    """A file's columns in the order of the file, each with one value a row; `numbers` are row numbers from 1."""

    path: Path
    columns: dict[str, list[Any]]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)


def suffix(path: Path) -> str | None:
    """Which of `SUFFIXES` the file's name ends with, or None."""
    return next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)


def read(path: Path) -> Table:
    """The whole file.

    Numbers count rows below the header in CSV and Parquet, lines in JSONL (where blank lines are passed over).

    Raises:
        DataError: if the file is of another kind, damaged, not UTF-8, or has no row.
    """
    kind = suffix(path)
    if kind is None:
        raise DataError(
            f"{path} is of a kind that is not read here; {', '.join(SUFFIXES)} are.",
            action="Convert it: a spreadsheet saves as CSV, pandas writes Parquet with to_parquet.",
        )
    if kind == ".parquet":
        table = _parquet(path)
    else:
        text = _text(path, compressed=kind.endswith(".gz"))
        table = _csv(path, text) if kind == ".csv" else _jsonl(path, text)
    if not len(table):
        raise DataError(f"{path} has no row.", action="Fill it, or leave it out of the source.")
    return table


def _parquet(path: Path) -> Table:
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file that can be read: {error}.", action=_RENEW) from None
    columns = {name: table[name].to_pylist() for name in dict.fromkeys(table.column_names)}
    return Table(path, columns, list(range(1, table.num_rows + 1)))


def _text(path: Path, *, compressed: bool) -> str:
    try:
        data = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}.", action=_RENEW) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8: line {line} has the byte 0x{data[error.start]:02x}.",
            action="Save it as UTF-8; a file from a Windows program often is in cp1252.",
        ) from None


def _csv(path: Path, text: str) -> Table:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=lambda mark: (header.count(mark), mark == ","))
    with _fields_of_any_size():
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
        except csv.Error as error:
            raise DataError(f"{path} is not CSV that can be read: {error}.", action=_QUOTE) from None
    if not rows:
        return Table(path, {}, [])
    names = [name.strip() for name in rows[0]]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {repeated[0]!r}.", action="Rename or drop one of them.")
    wrong = [
        f"row {number} has {len(row)} fields" for number, row in enumerate(rows[1:], start=1) if len(row) != len(names)
    ]
    if wrong:
        raise DataError(f"{path} has {len(names)} columns, but\n{listed(wrong)}\n", action=_QUOTE)
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(names)}
    return Table(path, columns, list(range(1, len(rows))))


def _jsonl(path: Path, text: str) -> Table:
    numbers, rows, wrong = [], [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            wrong.append(f"line {number}: {error.msg} at character {error.pos + 1}")
            continue
        if isinstance(row, dict):
            numbers.append(number)
            rows.append(row)
        else:
            wrong.append(f"line {number}: {type(row).__name__} arrived, an object was expected")
    if wrong:
        raise DataError(
            f"{path} is not JSON Lines:\n{listed(wrong)}\n",
            action='Write one object a line, like {"text": "Where is my card?", "label": "card_arrival"}.',
        )
    names = dict.fromkeys(_keys(rows))
    return Table(path, {name: [row.get(name) for row in rows] for name in names}, numbers)


def _keys(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield from row


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Long texts in CSV: the standard library stops at 128 KiB a field unless told otherwise."""
    before = csv.field_size_limit(LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


_RENEW = "Fetch or write it again; a download that was cut short looks like this."
_QUOTE = "Put fields that hold the delimiter, quotes or line breaks between double quotes."

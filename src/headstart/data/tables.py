"""Files of rows: `.csv`, `.tsv`, `.jsonl`, `.jsonl.gz` and `.parquet`, read a few thousand rows at a time."""

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data import delimited
from headstart.data.encoding import not_utf8, refuse_zero_bytes
from headstart.errors import LISTED, DataError, listed

SUFFIXES = (*delimited.SUFFIXES, ".jsonl", ".jsonl.gz", ".parquet")
BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20
LARGEST_FIELD = 1 << 30
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, in its order.

    Attributes:
        path: the file.
        columns: values by column, one a row; those that were wanted.
        numbers: row numbers from 1 in the file.
        names: every column of the file that has a name; in JSONL those that stood in a row so far.
    """

    path: Path
    columns: dict[str, list[Any]]
    numbers: list[int]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)


class Problems:
    """What is wrong with a file's rows: all are counted, the first ten kept."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, sentence: str) -> None:
        self.count += 1
        if self.count <= LISTED:
            self._first.append(sentence)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        """One line a problem, ten at most, and how many more there are."""
        more = f"\n  - and {self.count - LISTED} more" if self.count > LISTED else ""
        return listed(self._first) + more


def suffix(path: Path) -> str | None:
    """Which of `SUFFIXES` the file's name ends with, or None."""
    return next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)


def batches(path: Path, wanted: Collection[str] | None = None) -> Iterator[Chunk]:
    """The file from end to end, at most 4,096 rows and about 16 MB at a time.

    Numbers count rows below the header in CSV and Parquet, lines in JSONL (where blank lines are passed over).

    Args:
        path: the file.
        wanted: columns to give values of, where they are there; all when left out.

    Raises:
        DataError: if the file is of another kind, damaged, not UTF-8, or has no row; for rows of the wrong form at
            the end, with all of them counted.
    """
    kind = suffix(path)
    if kind is None:
        raise DataError(
            f"{path} is of a kind that is not read here; {', '.join(SUFFIXES)} are.",
            action="Convert it: a spreadsheet saves as CSV, pandas writes Parquet with to_parquet.",
        )
    if kind == ".parquet":
        tables = _parquet(path, wanted)
    elif kind in delimited.SUFFIXES:
        tables = _csv(path, wanted)
    else:
        tables = _jsonl(path, wanted, compressed=kind.endswith(".gz"))
    empty = True
    for table in tables:
        empty = empty and not len(table)
        yield table
    if empty:
        raise DataError(f"{path} has no row.", action="Fill it, or leave it out of the source.")


def _parquet(path: Path, wanted: Collection[str] | None) -> Iterator[Chunk]:
    start, problems = 1, Problems()
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            names = tuple(file.schema_arrow.names)
            classes = class_names(file.schema_arrow)
            _refuse_repeated(path, names)
            groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
            bytes_a_row = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
            rows = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, bytes_a_row)))
            chosen = [name for name in names if wanted is None or name in wanted]
            for batch in file.iter_batches(rows, columns=chosen):
                columns = {name: batch.column(name).to_pylist() for name in chosen}
                for name in chosen:
                    if name in classes:
                        columns[name] = _named(columns[name], name, classes[name], start, problems)
                yield Chunk(path, columns, list(range(start, start + batch.num_rows)), names)
                start += batch.num_rows
    except pa.ArrowException as error:
        raise DataError(
            f"{path} is not a Parquet file that can be read: {str(error).rstrip('. ')}.", action=_RENEW
        ) from None
    if problems:
        raise DataError(
            f"{path} names classes in its schema (ClassLabel), but\n{problems}\n",
            action="Write it again with all class names, or as a column of strings.",
        )


def class_names(schema: pa.Schema) -> Mapping[str, Sequence[str]]:
    """The class names that the library `datasets` left in the schema's metadata, by column of whole numbers.

    Format: key `huggingface`, `{"info": {"features": {column: {"_type": "ClassLabel", "names": [...]}}}}`.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, AttributeError, ValueError):  # another version's, or none
        return {}
    return {
        name: names
        for name, names in found.items()
        if isinstance(names, list) and name in schema.names and _counts(schema.field(name).type)
    }


def _counts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))  # floating where pandas met a gap


def _named(values: list[Any], column: str, names: Sequence[str], start: int, problems: Problems) -> list[str | None]:
    """Class names in place of their numbers; -1, which `datasets` writes for an unknown label, is none."""
    result: list[str | None] = []
    for number, value in enumerate(values, start):
        known = value is not None and value in range(len(names))
        result.append(str(names[int(value)]) if known else None)
        if not known and value is not None and value != -1 and value == value:  # NaN is unlike itself
            problems.add(
                f"row {number} holds {value!r} in column {column!r}, which has names for 0 to {len(names) - 1}"
            )
    return result


def _csv(path: Path, wanted: Collection[str] | None) -> Iterator[Chunk]:
    problems, number = Problems(), 0
    form = delimited.form(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Counted(file)
        try:
            for _ in islice(lines, form.skipped):
                pass
            reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
            with _fields_of_any_size():
                names = delimited.names(next(reader, []))
            lines.whole = lines.number
            _refuse_repeated(path, names)
            named = tuple(filter(None, names))
            chosen = [(name, place) for place, name in enumerate(names) if name and (wanted is None or name in wanted)]
            while rows := _rows(reader, lines, len(names)):
                numbers = list(range(number + 1, number + len(rows) + 1))
                number += len(rows)
                if set(map(len, rows)) != {len(names)}:
                    for row, at in zip(rows, numbers, strict=True):
                        if len(row) != len(names):
                            problems.add(f"row {at} has {len(row)} fields")
                if not problems:
                    values = list(zip(*rows, strict=True))
                    yield Chunk(path, {name: list(values[place]) for name, place in chosen}, numbers, named)
        except csv.Error as error:
            begins, here = lines.whole + 1, lines.number
            where = f"line {begins}" if here <= begins else f"the row that begins on line {begins}, seen on line {here}"
            raise DataError(f"{path} is not CSV that can be read: {where}: {error}.", action=_QUOTE) from None
        except UnicodeDecodeError:
            raise not_utf8(path) from None
    if problems:
        raise DataError(f"{path} has {len(names)} columns, but\n{problems}\n", action=_QUOTE)


class _Counted:
    """The lines of a file, and how many characters went by: what bounds a batch of long texts.

    `number` lines were read, `whole` of them when the last row had come to its end.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.characters = self.number = self.whole = 0
        self._lines = iter(lines)

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.characters += len(line)
        self.number += 1
        return line


def _rows(reader: Iterator[list[str]], lines: _Counted, width: int) -> list[Sequence[str]]:
    """The next rows that are not blank, without empty fields beyond `width`; empty at the end of the file."""
    rows: list[Sequence[str]] = []
    until = lines.characters + BATCH_BYTES
    with _fields_of_any_size():
        for row in reader:
            lines.whole = lines.number
            if row and (len(row) == 1 or any(row)):  # a spreadsheet writes `,,` for an empty line
                rows.append(row if len(row) <= width else delimited.trimmed(row, width))
                if len(rows) == BATCH_ROWS or lines.characters >= until:
                    break
    return rows


def _jsonl(path: Path, wanted: Collection[str] | None, *, compressed: bool) -> Iterator[Chunk]:
    problems, names = Problems(), dict[str, None]()
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []

    def table() -> Chunk:
        chosen = [name for name in names if wanted is None or name in wanted]
        return Chunk(path, {name: [row.get(name) for row in rows] for name in chosen}, numbers, tuple(names))

    size = 0
    for number, line in enumerate(_lines(path, compressed=compressed), start=1):
        try:
            text = line.decode().rstrip("\r\n")
            refuse_zero_bytes(path, text if number == 1 else "")
            if not text.strip():
                continue
            row = json.loads(text)
        except UnicodeDecodeError:
            raise not_utf8(path) from None
        except ValueError as error:
            at = (
                f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
                if isinstance(error, json.JSONDecodeError)
                else str(error)
            )
            problems.add(f"line {number}: {at}")
            continue
        if not isinstance(row, dict):
            problems.add(f"line {number}: {type(row).__name__} arrived, an object was expected")
        if problems:
            continue
        names.update(dict.fromkeys(row))
        numbers.append(number)
        rows.append(row)
        size += len(line)
        if len(rows) == BATCH_ROWS or size > BATCH_BYTES:
            yield table()
            numbers, rows, size = [], [], 0
    if problems:
        raise DataError(
            f"{path} is not JSON Lines:\n{problems}\n",
            action='Write one object a line, like {"text": "Where is my card?", "label": "card_arrival"}.',
        )
    if rows:
        yield table()


def _lines(path: Path, *, compressed: bool) -> Iterator[bytes]:
    """The lines as bytes, without a byte order mark."""
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            for line in file:
                yield line.removeprefix(_BYTE_ORDER_MARK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}.", action=_RENEW) from None


def _refuse_repeated(path: Path, names: tuple[str, ...]) -> None:
    if repeated := sorted(name for name, count in Counter(names).items() if name and count > 1):
        raise DataError(f"{path} has more than one column {repeated[0]!r}.", action="Rename or drop one of them.")


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

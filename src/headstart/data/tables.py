"""Files of rows: `.csv`, `.tsv`, `.jsonl`, `.jsonl.gz` and `.parquet`, read a few thousand rows at a time.

How a file is written (delimiter, header, encoding) is decided here for training and for batch scoring alike.
"""

import csv
import gzip
import io
import json
import re
import shlex
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

from headstart.data.dataset import BATCH_BYTES, BATCH_ROWS
from headstart.errors import LISTED, DataError, listed

DELIMITED = (".csv", ".tsv")
SUFFIXES = (*DELIMITED, ".jsonl", ".jsonl.gz", ".parquet")
LARGEST_FIELD = 1 << 30
"""Characters of one CSV field; the standard library stops at 128 KiB unless told otherwise."""

LONGEST_LINE = 1 << 28
"""Bytes of one line of JSONL, which is held in memory; an image of 100 MB in base64 fits."""

BOMB_BYTES, BOMB_RATIO = 1 << 30, 200
"""A .gz may unpack to so many bytes, or so many times its own: one byte repeated packs 1,000 times, rows 5 to 50."""

ONE_A_LINE = "Write one JSON object a line."
DELIMITERS = ",;\t|"
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 1 << 18  # that the delimiter is told by
SAMPLE_BYTES, SHOWN = 1 << 16, 60  # that an encoding is guessed by, and characters that show it
RENEW = "Fetch or write it again; a download that was cut short looks like this."
_QUOTE = "Put fields that hold the delimiter, quotes or line breaks between double quotes."
_DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
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


@dataclass(frozen=True)
class Form:
    """How delimited text is written. Spreadsheets write `sep=;` above the header.

    Attributes:
        delimiter: one character.
        skipped: lines above the header: blank ones, and one that declares the delimiter.
    """

    delimiter: str
    skipped: int


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
    elif kind in DELIMITED:
        tables = _csv(path, wanted)
    else:
        tables = _jsonl(path, wanted)
    empty = True
    for table in tables:
        empty = empty and not len(table)
        yield table
    if empty:
        raise DataError(f"{path} has no row.", action="Fill it, or leave it out of the source.")


def csv_form(path: Path) -> Form:
    """The delimiter with which the first rows have as many fields as the header, and where that stands.

    Raises:
        DataError: if the first lines hold zero bytes, as UTF-16 does.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines: list[str] = []
        room = SAMPLE_CHARACTERS
        while len(lines) < SAMPLE_LINES and room > 0 and (line := file.readline()):
            lines.append(line)
            room -= len(line)
    if "\ufffd" not in "".join(lines[:1]):  # else it is not UTF-8, which its reader says better
        _refuse_zero_bytes(path, "".join(lines[:1]))
    skipped = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if lines and (declared := _DECLARED.fullmatch(lines[skipped])):
        return Form(declared[1], skipped + 1)
    sample = "".join(lines[skipped:])
    return Form(max(DELIMITERS, key=lambda mark: (*_fit(sample, mark), mark == ",")), skipped)


def csv_names(header: Sequence[str]) -> tuple[str, ...]:
    """The columns' names, without those that have none at the end; one without a name elsewhere is `""`."""
    return tuple(trimmed([name.strip() for name in header]))


def trimmed(row: Sequence[str], width: int = 0) -> Sequence[str]:
    """The row without empty fields beyond the first `width`, such as a spreadsheet writes: `text,label,,`."""
    end = len(row)
    while end > width and not row[end - 1].strip():
        end -= 1
    return row[:end]


def lines(path: Path) -> Iterator[bytes]:
    """The lines of JSONL as bytes, without a byte order mark.

    Raises:
        DataError: if it should be compressed and is no whole gzip file, a line is longer than `LONGEST_LINE`, or
            little packs very much, as an archive bomb does.
    """
    most = max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            size = 0
            while line := file.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{path} has a line of more than {LONGEST_LINE:,} bytes.", action=ONE_A_LINE)
                if (size := size + len(line)) > most:
                    raise DataError(
                        f"{path} unpacks to more than {most:,} bytes, {BOMB_RATIO} times its size: an archive bomb?",
                        action="If you trust it, unpack it yourself and name the .jsonl.",
                    )
                yield line.removeprefix(_BYTE_ORDER_MARK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}.", action=RENEW) from None


def refuse_repeated(path: Path, names: Iterable[str]) -> None:
    """Refuse a file with two columns of one name; those without a name are not counted.

    Raises:
        DataError: if there are.
    """
    if repeated := sorted(name for name, count in Counter(names).items() if name and count > 1):
        raise DataError(f"{path} has more than one column {repeated[0]!r}.", action="Rename or drop one of them.")


def _parquet(path: Path, wanted: Collection[str] | None) -> Iterator[Chunk]:
    start, problems = 1, Problems()
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            names = tuple(file.schema_arrow.names)
            classes = class_names(file.schema_arrow)
            refuse_repeated(path, names)
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
            f"{path} is not a Parquet file that can be read: {str(error).rstrip('. ')}.", action=RENEW
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
    form = csv_form(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Counted(file)
        try:
            for _ in islice(lines, form.skipped):
                pass
            reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
            with _fields_of_any_size():
                names = csv_names(next(reader, []))
            lines.whole = lines.number
            refuse_repeated(path, names)
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
            raise _not_utf8(path) from None
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
                rows.append(row if len(row) <= width else trimmed(row, width))
                if len(rows) == BATCH_ROWS or lines.characters >= until:
                    break
    return rows


def _jsonl(path: Path, wanted: Collection[str] | None) -> Iterator[Chunk]:
    problems, names = Problems(), dict[str, None]()
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []

    def table() -> Chunk:
        chosen = [name for name in names if wanted is None or name in wanted]
        return Chunk(path, {name: [row.get(name) for row in rows] for name in chosen}, numbers, tuple(names))

    size = 0
    for number, line in enumerate(lines(path), start=1):
        try:
            text = line.decode().rstrip("\r\n")
            _refuse_zero_bytes(path, text if number == 1 else "")
            if not text.strip():
                continue
            row = json.loads(text)
        except UnicodeDecodeError:
            raise _not_utf8(path) from None
        except (ValueError, RecursionError) as error:
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


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Long texts in CSV: the standard library stops at 128 KiB a field unless told otherwise."""
    before = csv.field_size_limit(LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _fit(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that are as wide as the header, and how wide that is; nothing where it has one column."""
    try:
        rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
    except csv.Error:  # a field beyond the limit: whoever reads the file says so
        rows = []
    width = len(csv_names(rows[0])) if rows else 0
    if width < 2:
        return 0.0, 0
    whole = rows[1:-1] or rows[1:]  # the sample may end within the last row
    fitting = sum(len(trimmed(row, width)) == width for row in whole)
    return fitting / len(whole) if whole else 1.0, width


def _not_utf8(path: Path) -> DataError:
    """The refusal: which line and byte, what it reads like, and the command that converts it."""
    number, line, at = 0, b"", 0
    sample = b""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        for content in iter(lambda: file.readline(LONGEST_LINE), b""):
            number += not line
            if not line:
                try:
                    content.decode()
                except UnicodeDecodeError as error:
                    line, at = content, error.start
            if not content.isascii():
                sample += content[:SAMPLE_BYTES]
            if line and len(sample) >= SAMPLE_BYTES:
                break
    message = f"{path} is not UTF-8: line {number} has the byte 0x{line[at]:02x}."
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return DataError(f"{message} It begins like UTF-16.", action=_convert(path, "utf-16"))
    if encoding := _likely(sample):
        return DataError(
            f"{message} In {encoding} that place reads {_around(line, at, encoding)!r}.",
            action=f"If it reads well: {_convert(path, encoding)[0].lower()}{_convert(path, encoding)[1:]}",
        )
    return DataError(message, action="Save it as UTF-8; a file from a Windows program often is in cp1252.")


def _refuse_zero_bytes(path: Path, start: str) -> None:
    """Refuse what begins with zero bytes: in UTF-8 there are none, in UTF-16 every second one is.

    Raises:
        DataError: with the command that converts it.
    """
    if "\0" in start:
        raise DataError(
            f"{path} has zero bytes in its first line, as UTF-16 without a byte order mark has.",
            action=_convert(path, "utf-16be" if start.startswith("\0") else "utf-16le"),
        )


def _around(line: bytes, at: int, encoding: str) -> str:
    """The line as it would read, or as much of it on both sides of the byte as can be shown."""
    whole = line.decode(encoding, "replace").rstrip()
    middle = len(line[:at].decode(encoding, "ignore"))
    first = max(0, min(middle - SHOWN // 2, len(whole) - SHOWN))
    shown = whole[first : first + SHOWN].strip()
    return f"{'…' if first else ''}{shown}{'…' if first + SHOWN < len(whole) else ''}"


def _likely(sample: bytes) -> str | None:
    """The likeliest encoding: cp1252, which most such files are in, wherever it gives words; else the best guess."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample[:SAMPLE_BYTES])
    best = matches.best()
    if best is None or best.encoding in ("utf_8", "ascii"):
        return None
    words = any("cp1252" in (match.encoding, *match.could_be_from_charset) for match in matches)
    return "cp1252" if words else best.encoding


def _convert(path: Path, encoding: str) -> str:
    name = shlex.quote(path.name)
    return f"Convert it: iconv -f {encoding} -t utf-8 {name} > utf8-{name}"

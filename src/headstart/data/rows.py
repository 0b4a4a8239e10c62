"""Rows of any source: loose values become record batches in the columns of `data.raw`, the form rows have from here.

    id, label, text | image, group, time, split, row

All but the payload and `row`, the row's place in its file from 1, are strings; each may be null. Labels stand as the
source writes them, spaces included; a split is `train`, `validation` or `test`. Whatever is wrong with a file's rows is
gathered and said once.
"""

import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from headstart.contract.labels import normal
from headstart.data import columns as naming
from headstart.data import raw
from headstart.data.dataset import BATCH_BYTES, BATCH_ROWS, SPLITS
from headstart.data.tables import Chunk, Problems
from headstart.errors import DataError
from headstart.params.data import Columns
from headstart.params.section import Modality

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SPLIT_NAMES = {name: name for name in SPLITS} | {"training": "train", "val": "validation", "valid": "validation"}
SPLIT_NAMES |= {"dev": "validation", "testing": "test"}
ROLES = ("label", *naming.OPTIONAL)

_INTEGRAL = re.compile(r"([+-]?\d+)\.0*")
_WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?")


def batch(columns: Mapping[str, Sequence[Any]], modality: Modality) -> pa.RecordBatch:
    """Rows from values by column; columns that are left out are null."""
    count = len(columns["row"])
    schema = raw.schema(modality, labels=True)
    arrays = [_array(columns.get(field.name), field.type, count) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def batched(rows: Iterable[Mapping[str, Any]], modality: Modality) -> Iterator[pa.RecordBatch]:
    """The same from values by row, at most 4,096 rows and about 16 MB at a time."""
    held: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row[modality] or "")
        if len(held) == BATCH_ROWS or size >= BATCH_BYTES:
            yield _transposed(held, modality)
            held, size = [], 0
    if held:
        yield _transposed(held, modality)


class Reader:
    """Makes rows of the chunks of one file in turn; `finish` says what was wrong.

    Args:
        where: the file, for messages.
        columns: their names.
        modality: what the inputs are.
        folder: where paths of images start; None where there is none.
        split: of every row; None leaves it to the column.
        labelled: whether labels are looked at.
        payload: whether images are read; without, they only have to be there.
    """

    def __init__(
        self,
        where: str,
        columns: Columns,
        modality: Modality,
        *,
        folder: Path | None = None,
        split: str | None = None,
        labelled: bool = True,
        payload: bool = True,
    ) -> None:
        self.where = where
        self.names = naming.expected(columns, modality, labelled=labelled)
        self._columns, self._modality, self._labelled = columns, modality, labelled
        self._folder, self._split, self._payload = folder, split, payload
        self._found: tuple[str, ...] = ()
        self._rows = 0
        self._problems, self._absent = Problems(), Problems()

    def take(self, chunk: Chunk, *, complete: bool) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk, images at most about 16 MB at a time.

        Args:
            chunk: with the columns `names` at least, where the file has them.
            complete: whether `chunk.names` are all the file's columns; else later ones may bring more.

        Raises:
            DataError: if a column that is needed is absent.
        """
        self._found = chunk.names
        if complete:
            self._resolve()
        self._rows += len(chunk)
        wrong: dict[int, str] = {}
        empty: list[Any] = [None] * len(chunk)
        loose = {role: chunk.columns.get(name, empty) for role, name in self.names.items()}
        scalars = {role: self._each(loose.get(role, empty), chunk.numbers, plain, wrong) for role in ROLES}
        if self._split:
            scalars["split"] = [self._split] * len(chunk)
        elif any(scalars["split"]):
            scalars["split"] = self._each(scalars["split"], chunk.numbers, _split, wrong)
        if self._modality == "text":
            inputs: list[Any] = self._each(loose["input"], chunk.numbers, _text, wrong)
            yield self._batch(scalars, inputs, chunk.numbers, 0)
        else:
            yield from self._images(loose["input"], scalars, chunk.numbers, wrong)
        for number in sorted(wrong):
            self._problems.add(f"row {number} holds {wrong[number]}")

    def finish(self) -> dict[str, str]:
        """Column names by role, of those that are there.

        Raises:
            DataError: if a column that is needed stood in no row, or rows could not be read; it names the first ten.
        """
        found = self._resolve()
        if self._problems:
            one = f"One {self._modality} and one label a row" if self._labelled else f"One {self._modality} a row"
            raise DataError(
                f"{self.where} has {self._problems.count} rows that can't be read:\n{self._problems}\n",
                action=f"{one}; mend them, or check data.columns and modality in params.yaml.",
            )
        if self._absent:
            raise DataError(
                f"{self.where} names {self._absent.count} images (of {self._rows}) that are not there:\n"
                f"{self._absent}\n",
                action=f"Paths start at {self._folder}; put the files there, or mend column {found['input']!r}.",
            )
        return found

    def _resolve(self) -> dict[str, str]:
        return naming.resolve(self._found, self._columns, self._modality, self.where, labelled=self._labelled)

    def _each(
        self, values: Sequence[Any], numbers: Sequence[int], convert: Callable[[Any], str | None], wrong: dict[int, str]
    ) -> list[str | None]:
        """All values converted; the first thing wrong with a row is kept."""
        if convert is plain or (convert is _text and bytes not in set(map(type, values))):
            try:
                return plains(values)
            except TypeError:
                pass
        result: list[str | None] = []
        for number, value in zip(numbers, values, strict=True):
            try:
                result.append(convert(value))
            except TypeError as error:
                wrong.setdefault(number, str(error))
                result.append(None)
        return result

    def _images(
        self, values: Sequence[Any], scalars: dict[str, list[str | None]], numbers: list[int], wrong: dict[int, str]
    ) -> Iterator[pa.RecordBatch]:
        inputs: list[bytes | None] = []
        start = size = 0
        for place, (number, value) in enumerate(zip(numbers, values, strict=True), start=1):
            image = None
            try:
                image = image_bytes(value, self._folder, read=self._payload)
            except FileNotFoundError as error:
                self._absent.add(f"row {number}: {error.args[0]}")
            except TypeError as error:
                wrong.setdefault(number, str(error))
            inputs.append(image)
            size += len(image or b"")
            if size >= BATCH_BYTES or place == len(numbers):
                yield self._batch(scalars, inputs, numbers, start)
                inputs, start, size = [], place, 0

    def _batch(
        self, scalars: dict[str, list[str | None]], inputs: list[Any], numbers: list[int], start: int
    ) -> pa.RecordBatch:
        end = start + len(inputs)
        given = {role: values[start:end] for role, values in scalars.items()}
        return batch({**given, self._modality: inputs, "row": numbers[start:end]}, self._modality)


def image_bytes(value: Any, folder: Path | None, *, read: bool = True) -> bytes | None:
    """Encoded bytes from bytes, from {`bytes`, `path`}, or from the file at a path relative to `folder`.

    Images may lie elsewhere, but there only a file whose name ends like an image's is read: rows come from strangers
    and must not bring a password file into the data.

    Raises:
        FileNotFoundError: if there is no such file; with what was named, cut short.
        TypeError: if the value is nothing of the kind.
    """
    if isinstance(value, dict) and set(value) <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) or value is None or value == "":
        return value or None
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where bytes, {{bytes, path}} or a path were expected")
    path = (folder or Path()) / value
    if len(value) > 1024 or "\0" in value or not path.is_file() or not _may_be_image(path, folder):
        raise FileNotFoundError(value if len(value) <= 80 else f"{value[:77]}...")
    return path.read_bytes() if read else None


def _may_be_image(path: Path, folder: Path | None) -> bool:
    """Links are followed: in the hub's cache and in DVC's, every file is one."""
    named = Path(os.path.normpath(path))
    inside = folder is not None and named.is_relative_to(os.path.normpath(folder))
    return inside or named.suffix.lower() in IMAGES


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
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise TypeError(f"{value[:20]!r}, which is not UTF-8, where text was expected") from None
    return str(value)


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


def whole_characters(text: str) -> str:
    """The text with U+FFFD for half characters: JSON can hold a lone surrogate, UTF-8 can't."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        raise TypeError("bytes where a text was expected (is modality: image meant?)")
    return plain(value)


def _split(name: Any) -> str | None:
    if name is None:
        return None
    if name.strip().lower() not in SPLIT_NAMES:
        raise TypeError(f"the split {name!r} where train, validation or test was expected")
    return SPLIT_NAMES[name.strip().lower()]


def _transposed(rows: Sequence[Mapping[str, Any]], modality: Modality) -> pa.RecordBatch:
    names = raw.schema(modality, labels=True).names
    return batch({name: [row.get(name) for row in rows] for name in names}, modality)


def _array(values: Sequence[Any] | None, kind: pa.DataType, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([whole_characters(value) if isinstance(value, str) else value for value in values], kind)

"""Tables of loose values to batches of examples; whatever is wrong with a row of a file is gathered and said once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headstart.data import columns as naming
from headstart.data.dataset import SPLITS
from headstart.data.rows import BATCH_BYTES, Batch, plain, plains
from headstart.data.tables import Problems, Table
from headstart.errors import DataError
from headstart.params.data import Columns
from headstart.params.section import Modality

SPLIT_NAMES = {name: name for name in SPLITS} | {"training": "train", "val": "validation", "valid": "validation"}
SPLIT_NAMES |= {"dev": "validation", "testing": "test"}
ROLES = ("label", *naming.OPTIONAL)


class Intake:
    """Takes the tables of one file in turn; `finish` says what was wrong.

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

    def take(self, table: Table, *, complete: bool) -> Iterator[Batch]:
        """The rows of a table, images at most about 16 MB at a time.

        Args:
            table: with the columns `names` at least, where the file has them.
            complete: whether `table.names` are all the file's columns; else later ones may bring more.

        Raises:
            DataError: if a column that is needed is absent.
        """
        self._found = table.names
        if complete:
            self._resolve()
        self._rows += len(table)
        wrong: dict[int, str] = {}
        empty: list[Any] = [None] * len(table)
        loose = {role: table.columns.get(name, empty) for role, name in self.names.items()}
        scalars = {role: self._each(loose.get(role, empty), table.numbers, plain, wrong) for role in ROLES}
        if self._split:
            scalars["split"] = [self._split] * len(table)
        elif any(scalars["split"]):
            scalars["split"] = self._each(scalars["split"], table.numbers, _split, wrong)
        if self._modality == "text":
            inputs: list[Any] = self._each(loose["input"], table.numbers, _text, wrong)
            yield _batch(scalars, inputs, table.numbers, 0)
        else:
            yield from self._images(loose["input"], scalars, table.numbers, wrong)
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
    ) -> Iterator[Batch]:
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
                yield _batch(scalars, inputs, numbers, start)
                inputs, start, size = [], place, 0


def image_bytes(value: Any, folder: Path | None, *, read: bool = True) -> bytes | None:
    """Encoded bytes from bytes, from {`bytes`, `path`}, or from the file at a path relative to `folder`.

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
    if len(value) > 1024 or "\0" in value or not path.is_file():
        raise FileNotFoundError(value if len(value) <= 80 else f"{value[:77]}...")
    return path.read_bytes() if read else None


def _batch(scalars: dict[str, list[str | None]], inputs: list[Any], numbers: list[int], start: int) -> Batch:
    end = start + len(inputs)
    return Batch(
        inputs=inputs,
        labels=scalars["label"][start:end],
        ids=scalars["id"][start:end],
        groups=scalars["group"][start:end],
        times=scalars["time"][start:end],
        splits=scalars["split"][start:end],
        numbers=numbers[start:end],
    )


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

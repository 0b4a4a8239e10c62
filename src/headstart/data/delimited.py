"""Delimited text: which delimiter a file uses, where its header stands, and rows with delimiters left over at the end.

Spreadsheets write `sep=;` above the header, and `text,label,,` where cells beyond the table were touched.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.encoding import refuse_zero_bytes

SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t|"
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 1 << 18
_DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """How a file is written.

    Attributes:
        delimiter: one character.
        skipped: lines above the header: blank ones, and one that declares the delimiter.
    """

    delimiter: str
    skipped: int


def form(path: Path) -> Form:
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
        refuse_zero_bytes(path, "".join(lines[:1]))
    skipped = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if lines and (declared := _DECLARED.fullmatch(lines[skipped])):
        return Form(declared[1], skipped + 1)
    sample = "".join(lines[skipped:])
    return Form(max(DELIMITERS, key=lambda mark: (*_fit(sample, mark), mark == ",")), skipped)


def names(header: Sequence[str]) -> tuple[str, ...]:
    """The columns' names, without those that have none at the end; one without a name elsewhere is `""`."""
    return tuple(trimmed([name.strip() for name in header]))


def trimmed(row: Sequence[str], width: int = 0) -> Sequence[str]:
    """The row without empty fields beyond the first `width`."""
    end = len(row)
    while end > width and not row[end - 1].strip():
        end -= 1
    return row[:end]


def _fit(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that are as wide as the header, and how wide that is; nothing where it has one column."""
    try:
        rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
    except csv.Error:  # a field beyond the limit: whoever reads the file says so
        rows = []
    width = len(names(rows[0])) if rows else 0
    if width < 2:
        return 0.0, 0
    whole = rows[1:-1] or rows[1:]  # the sample may end within the last row
    fitting = sum(len(trimmed(row, width)) == width for row in whole)
    return fitting / len(whole) if whole else 1.0, width

"""Sentences that several checks share: rows by name with what was seen there, and counts that read well."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SHOWN = 3
KEPT_NOTES = 100


class Rows(Protocol):
    """What names rows: `data.examples.Examples`, which this module is imported by."""

    def named(self, place: int) -> str:
        """`source row 412 (train)`."""


class Notes(dict[int, str]):
    """What was seen in a row, by its place; only of the first hundred rows, so that memory stays flat."""

    def add(self, place: int, note: str) -> None:
        """Keep the note, if there is room."""
        if len(self) < KEPT_NOTES:
            self[place] = note


def some(examples: Rows, places: Sequence[int] | NDArray[np.int64], notes: Mapping[int, str] | None = None) -> str:
    """`source row 4 (train): it reads 'Ã©', source row 9 (test) and 12 more`."""
    notes = notes or {}
    first = sorted((int(place) for place in places), key=lambda place: (place not in notes, place))[:SHOWN]
    names = [examples.named(place) + (f": {notes[place]}" if place in notes else "") for place in first]
    more = len(places) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def of(count: int, total: int, noun: str) -> str:
    """`3 of 4,907 texts`."""
    return f"{count:,} of {counted(total, noun)}"


def counted(count: int, noun: str) -> str:
    """`1 row`, `4,682 rows`, `2 classes`."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def does(count: int, one: str, many: str) -> str:
    """The verb that goes with a count: `1 row repeats`, `2 rows repeat`."""
    return one if count == 1 else many

"""One example as a source gives it, and how loose values become the strings a row holds."""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

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


def without_decimal_points(labels: list[str | None]) -> list[str | None]:
    """Labels with `1.0` written `1`, if every label of the source is a whole number; else unchanged.

    A table that once had a gap in an integer column writes 1.0 for 1; version names such as `2.0`, `beta` stay.
    """
    present = [label.strip() for label in labels if label is not None]
    if not all(_WHOLE.fullmatch(label) for label in present):
        return labels
    return [None if label is None else _INTEGRAL.sub(r"\1", label) for label in labels]

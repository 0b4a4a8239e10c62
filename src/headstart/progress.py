"""A bar on standard error for whatever takes longer than a moment; standard output stays for answers."""

import io
import sys
from typing import Any

DELAY_S = 2.0  # what is done before then shows nothing
LOG_S = 30.0  # between two lines in a log
LINE = "{desc}: {n_fmt} of {total_fmt}{unit}, {elapsed} so far, {remaining} left"


def bar(saying: str, unit: str, total: int | None = None, done: int = 0) -> Any:
    """A context with `update(count)`, that is gone when it ends; in a log, a line every half minute instead.

    Args:
        saying: what is being done.
        unit: what is counted, in the plural.
        total: how many there are; None if that is not known.
        done: how many of them were done before.
    """
    from tqdm import tqdm

    return tqdm(**options(saying), unit=f" {unit}", total=total, initial=done)


def options(saying: str) -> dict[str, Any]:
    """What `tqdm` is called with for such a bar."""
    shown = {"desc": saying, "leave": False}
    if sys.stderr.isatty():
        return shown | {"file": sys.stderr, "delay": DELAY_S, "mininterval": 0.5}
    return shown | {"file": _Lines(), "delay": LOG_S, "mininterval": LOG_S, "maxinterval": LOG_S, "bar_format": LINE}


class _Lines(io.TextIOBase):
    """Standard error, where what would be drawn over becomes lines."""

    def write(self, text: str) -> int:
        if line := text.replace("\x1b[A", "").strip():
            sys.stderr.write(f"    {line}\n")
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()

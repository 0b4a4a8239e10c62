"""What a dead writer left is taken over at the next start, and what may be missing is said."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from headstart.journal import log


@dataclass(frozen=True)
class Recovery:
    """One log that its writer did not close.

    Attributes:
        path: the log, gone by now; its rows stand in a segment of the same name.
        rows: how many were in it.
        until: the time of the last of them; None where there was none.
        torn_bytes: of a batch that was being written at the end.
    """

    path: Path
    rows: int
    until: datetime | None
    torn_bytes: int

    def sentence(self, flush_s: float) -> str:
        """What happened and what may be missing, for the log and for people."""
        kept = f"{self.rows} rows were recovered" + (f", the last of {self.until.isoformat()}" if self.until else "")
        torn = f" ({self.torn_bytes} bytes of an unfinished batch were dropped)" if self.torn_bytes else ""
        return (
            f"A server ended without closing its journal {self.path}: {kept}{torn}; "
            f"what it answered in the {flush_s:g} s before its end may be missing."
        )


def recover(folder: Path) -> list[Recovery]:
    """Seal every log that dead writers left in a model's journal; logs of living writers are let be.

    Raises:
        OSError: if the disk refuses; what was not sealed is found again next time.
        DataError: if a log has a newer format.
    """
    found = []
    for path in sorted(folder.glob(f"*/[!.]*{log.SUFFIX}")):
        with _taken_over(path) as mine:
            if mine:
                contents = log.seal(path)
                until = pc.max(contents.table["time"]).as_py() if contents.table.num_rows else None
                found.append(Recovery(path, contents.table.num_rows, until, contents.torn_bytes))
    return found


@contextmanager
def _taken_over(path: Path) -> Iterator[bool]:
    """Whether the log is ours for the length of the block: its writer is dead, and nobody else took it."""
    try:
        descriptor = os.open(path, os.O_RDWR)  # on NFS only a file open for writing can be locked
    except FileNotFoundError:
        yield False
        return
    try:
        yield log.lock(descriptor) and os.fstat(descriptor).st_nlink > 0
    finally:
        os.close(descriptor)

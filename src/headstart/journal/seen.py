"""Which requests a model answered lately, to tell labels that belong to one from labels that belong to none.

Ids are held as 64-bit hashes, the newest `MOST` of them: those this process answered, and those in the journal's
files, which others may have written. Files are read where an id is not known yet, at most once in `LOOK_S`.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.journal import log, reader

MOST = 2_000_000  # 16 MB
BLOCK = 50_000
LOOK_S = 1.0


class Seen:
    """Request ids of one journal's answers, the newest; thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before an id is asked for that was not added."""
        self._folder = folder
        self._recent: set[int] = set()
        self._blocks: deque[NDArray[np.int64]] = deque(maxlen=MOST // BLOCK)
        self._read: set[str] = set()
        self._looked = -LOOK_S
        self._lock = threading.Lock()
        self._looking = threading.Lock()

    def add(self, ids: Iterable[str]) -> None:
        """Note requests that were answered."""
        self._add(hash(one) for one in ids)

    def _add(self, hashes: Iterable[int]) -> None:
        with self._lock:
            self._recent.update(hashes)
            if len(self._recent) >= BLOCK:
                block = np.fromiter(self._recent, np.int64, len(self._recent))
                block.sort()
                self._blocks.append(block)
                self._recent = set()

    def _add_older(self, hashes: NDArray[np.int64]) -> None:
        """Note requests of past days, in ascending order, where there is room: they push out no newer ones."""
        with self._lock:
            for start in range(0, len(hashes), BLOCK):
                if len(self._blocks) < MOST // BLOCK:
                    self._blocks.appendleft(hashes[start : start + BLOCK])

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that no answer was found for, each once, in order; may read the disk.

        An id may be unknown and real all the same: answered by another server that has not written it yet, or so long
        ago that it is no longer among the newest.
        """
        missing = self._missing(dict.fromkeys(ids))
        if missing:
            self._look()
            missing = self._missing(missing)
        return list(missing)

    def _missing(self, ids: Iterable[str]) -> dict[str, None]:
        by_hash = {hash(one): one for one in ids}
        missing = self._unheld(np.fromiter(by_hash, np.int64, len(by_hash)))
        return {by_hash[one]: None for one in missing.tolist()}

    def _unheld(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `hashes` that are not held, in order."""
        with self._lock:
            recent, blocks = self._recent, list(self._blocks)
            left = np.array([one for one in hashes.tolist() if one not in recent], dtype=np.int64)
        for block in blocks:
            places = np.minimum(np.searchsorted(block, left), len(block) - 1)
            left = left[block[places] != left]
        return left

    def _look(self) -> None:
        """Read what the journal's files have gained since the last look: the newest of it, no more than is kept."""
        with self._looking:
            if time.monotonic() - self._looked < LOOK_S:
                return
            try:
                paths = sorted(reader.segments(self._folder / "answers"), key=_age, reverse=True)
            except (OSError, pa.ArrowException):  # compacted meanwhile, or unreadable
                paths = []
            days: list[NDArray[np.int64]] = []  # newest first, as are segments
            segments: list[NDArray[np.int64]] = []
            for path in paths:
                if path.name in self._read:
                    continue
                if sum(map(len, (*days, *segments))) >= MOST:  # older than the newest `MOST`: never wanted
                    self._read.add(path.name)
                    continue
                try:
                    (days if path.name.startswith(reader.DAY) else segments).append(_hashes(path))
                except FileNotFoundError:  # sealed or compacted meanwhile: it comes under another name
                    continue
                except (DataError, OSError, pa.ArrowException):  # unreadable: monitoring says so, where it matters
                    pass
                if path.suffix != log.SUFFIX:
                    self._read.add(path.name)
            for hashes in days:
                self._add_older(self._unheld(hashes))
            for hashes in reversed(segments):
                fresh = self._unheld(hashes)  # an open log is read at each look, and from its beginning
                for start in range(0, len(fresh), BLOCK):
                    self._add(fresh[start : start + BLOCK].tolist())
            self._looked = time.monotonic()


def _hashes(path: Path) -> NDArray[np.int64]:
    """The ids in one file, hashed as this process hashes strings, each once."""
    if path.suffix == log.SUFFIX:
        batches = log.read(path).table.select(["request_id"]).to_batches()
    else:
        batches = pq.ParquetFile(path).iter_batches(columns=["request_id"])
    parts = [np.array([hash(one) for one in batch.column(0).unique().to_pylist()], np.int64) for batch in batches]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _age(path: Path) -> str:
    return path.stem.removeprefix(reader.DAY)

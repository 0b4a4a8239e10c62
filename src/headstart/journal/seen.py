"""Which requests a model answered lately, to tell labels that belong to one from labels that belong to none.

Ids are held as 64-bit hashes with how many inputs the request had, the newest `MOST` of them: those this process
answered, and those in the journal's files, which others may have written. Files are read where an id, or an input of
it, is not known yet, at most once in `LOOK_S`.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.journal import log, reader

MOST = 2_000_000  # 24 MB
BLOCK = 50_000
LOOK_S = 1.0

Counted = tuple[NDArray[np.int64], NDArray[np.int32]]  # hashes of ids, ascending, and how many inputs each had


class Seen:
    """Request ids of one journal's answers, the newest; thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before an id is asked for that was not added."""
        self._folder = folder
        self._recent: dict[int, int] = {}
        self._blocks: deque[Counted] = deque(maxlen=MOST // BLOCK)
        self._read: set[str] = set()
        self._looked = -LOOK_S
        self._lock = threading.Lock()
        self._looking = threading.Lock()

    def add(self, requests: Mapping[str, int]) -> None:
        """Note requests that were answered, with how many inputs each had."""
        self._add((hash(one), count) for one, count in requests.items())

    def counts(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """How many inputs each request had; 0 where no answer was found for its id. May read the disk.

        An id may be unknown and real all the same: answered by another server that has not written it yet, or so long
        ago that it is no longer among the newest.

        Args:
            wanted: ids, with how many inputs each is thought to have had at least; the disk is read for more.
        """
        hashes = np.array([hash(one) for one in wanted], dtype=np.int64)
        held = self._held(hashes)
        if (held < np.fromiter(wanted.values(), np.int64, len(wanted))).any():
            self._look()
            held = self._held(hashes)
        return dict(zip(wanted, held.tolist(), strict=True))

    def _add(self, requests: Iterable[tuple[int, int]]) -> None:
        with self._lock:
            for one, count in requests:  # an id may be used again
                self._recent[one] = max(count, self._recent.get(one, 0))
            if len(self._recent) >= BLOCK:
                hashes = np.fromiter(self._recent, np.int64, len(self._recent))
                counts = np.fromiter(self._recent.values(), np.int32, len(self._recent))
                order = hashes.argsort()
                self._blocks.append((hashes[order], counts[order]))
                self._recent = {}

    def _add_older(self, hashes: NDArray[np.int64], counts: NDArray[np.int32]) -> None:
        """Note requests of past days, in ascending order, where there is room: they push out no newer ones."""
        with self._lock:
            for start in range(0, len(hashes), BLOCK):
                if len(self._blocks) < MOST // BLOCK:
                    self._blocks.appendleft((hashes[start : start + BLOCK], counts[start : start + BLOCK]))

    def _held(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many inputs are held of each; 0 for a request that is not."""
        with self._lock:
            recent, blocks = self._recent, list(self._blocks)
            held = np.array([recent.get(one, 0) for one in hashes.tolist()], dtype=np.int64)
        for block, counts in blocks:
            places = np.minimum(np.searchsorted(block, hashes), len(block) - 1)
            held = np.maximum(held, np.where(block[places] == hashes, counts[places], 0))
        return held

    def _unheld(self, hashes: NDArray[np.int64], counts: NDArray[np.int32]) -> Counted:
        """Those of which not all inputs are held, in order."""
        more = counts > self._held(hashes)
        return hashes[more], counts[more]

    def _look(self) -> None:
        """Read what the journal's files have gained since the last look: the newest of it, no more than is kept."""
        with self._looking:
            if time.monotonic() - self._looked < LOOK_S:
                return
            try:
                paths = sorted(reader.segments(self._folder / "answers"), key=_age, reverse=True)
            except (OSError, pa.ArrowException):  # compacted meanwhile, or unreadable
                paths = []
            days: list[Counted] = []  # newest first, as are segments
            segments: list[Counted] = []
            for path in paths:
                if path.name in self._read:
                    continue
                if (
                    sum(len(hashes) for hashes, _ in (*days, *segments)) >= MOST
                ):  # older than the newest `MOST`: never wanted
                    self._read.add(path.name)
                    continue
                try:
                    (days if path.name.startswith(reader.DAY) else segments).append(_requests(path))
                except FileNotFoundError:  # sealed or compacted meanwhile: it comes under another name
                    continue
                except (DataError, OSError, pa.ArrowException):  # unreadable: monitoring says so, where it matters
                    pass
                if path.suffix != log.SUFFIX:
                    self._read.add(path.name)
            for older in days:
                self._add_older(*self._unheld(*older))
            for segment in reversed(segments):
                hashes, counts = self._unheld(*segment)  # an open log is read at each look, and from its beginning
                for start in range(0, len(hashes), BLOCK):
                    part = slice(start, start + BLOCK)
                    self._add(zip(hashes[part].tolist(), counts[part].tolist(), strict=True))
            self._looked = time.monotonic()


def _requests(path: Path) -> Counted:
    """The requests in one file: ids hashed as this process hashes strings, each once, with how many inputs it had."""
    columns = ["request_id", "index"]
    if path.suffix == log.SUFFIX:
        batches: Iterable[pa.RecordBatch] = log.read(path).table.select(columns).to_batches()
    else:
        batches = pq.ParquetFile(path).iter_batches(columns=columns)
    last: dict[int, int] = {}
    for batch in batches:
        highest = pa.table(batch.columns, columns).group_by("request_id").aggregate([("index", "max")])
        for one, index in zip(highest["request_id"].to_pylist(), highest["index_max"].to_pylist(), strict=True):
            last[hash(one)] = max(index + 1, last.get(hash(one), 0))
    hashes = np.fromiter(last, np.int64, len(last))
    order = hashes.argsort()
    return hashes[order], np.fromiter(last.values(), np.int32, len(last))[order]


def _age(path: Path) -> str:
    return path.stem.removeprefix(reader.DAY)

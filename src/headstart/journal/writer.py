"""Writing the journal off the request's path: rows wait in bounded memory, a thread flushes them each second.

    record() ──► rows in memory ──each `flush_s`──► append log ──`seal_minutes` or `seal_megabytes`──► Parquet

Where the disk refuses, rows wait and are tried again; beyond the bound the newest are lost, counted and said.

Each row has a keyed hash of its input (HMAC-SHA256), so that repeated inputs can be counted without keeping any:
without the key, `settings.journal_key`, nobody can find out an input by hashing guesses. A new key starts anew.
"""

import hmac
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

from headstart import determinism
from headstart.errors import DataError
from headstart.journal import moments, recovery
from headstart.journal import schema as rows
from headstart.journal.log import Log
from headstart.journal.seen import Seen
from headstart.params.operation import Journal as JournalParams

MEGABYTE = 1_000_000
BATCH_ROWS = 10_000
SAMPLE_SEED = 0
MINUTES, AT_ONCE = 60, 6  # of an hour, and those whose features may be spent in its first one
UNWRITABLE = (ValueError, TypeError, OverflowError)  # of Arrow, about a value that its column cannot hold
Row = TypeVar("Row", rows.Answer, rows.Label, moments.LayerMoments)
logger = logging.getLogger("headstart.journal")


@dataclass(frozen=True)
class Health:
    """How the journal is.

    Attributes:
        written: rows on the disk since the start.
        waiting: rows in memory.
        lost: rows that found no room while the disk refused, since the start.
        trouble: why rows cannot be written; None where they can.
    """

    written: int
    waiting: int
    lost: int
    trouble: str | None


class Journal:
    """The journal of one model, for one process.

    >>> key = settings.journal_key(workspace)
    >>> journal = Journal(workspace.journal("digits"), params.journal, clock=lambda: datetime.now(UTC), key=key)
    >>> journal.start()
    >>> journal.record(answers)
    >>> journal.close()

    Without `start()`, nothing runs in the background and `flush()` is the caller's: for simulated clocks.
    """

    def __init__(
        self, folder: Path, params: JournalParams, *, clock: Callable[[], datetime], key: bytes | None = None
    ) -> None:
        """A journal in `folder`; rows come without a hash of their input where there is no `key`."""
        self.folder = folder
        self.seen = Seen(folder)
        self._key = key
        self.recovered: list[recovery.Recovery] = []
        self._params = params
        self._answers = _Stream(folder / "answers", rows.answers_batch, params, clock)
        self._labels = _Stream(folder / "feedback", rows.labels_batch, params, clock)
        self._features = Sample(params.features)
        self._moments = _Stream(folder / moments.KIND, moments.batch, params, clock)
        self._recovery_trouble: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"journal {folder.name}", daemon=True)

    def start(self) -> None:
        """Take over what a dead writer left, say so, and start flushing. A disk that refuses stops nothing."""
        try:
            self.recovered = recovery.recover(self.folder)
        except (OSError, DataError) as error:
            self._recovery_trouble = f"logs left by an earlier server cannot be recovered: {error}"
            logger.error("%s: %s", self.folder, self._recovery_trouble)
        for found in self.recovered:
            logger.warning("%s", found.sentence(self._params.flush_s))
        self._thread.start()

    def record(self, answers: Sequence[rows.Answer]) -> None:
        """Keep answers, raw inputs and features only as the parameters allow; never waits for the disk."""
        featured = self._features.choose(answers)
        self._answers.add([self._allowed(answer, place in featured) for place, answer in enumerate(answers)])

    def feedback(self, labels: Sequence[rows.Label]) -> None:
        """Keep labels that came later; never waits for the disk."""
        self._labels.add(labels)

    def record_moments(self, added: Sequence[moments.LayerMoments]) -> None:
        """Keep sums over images that were answered; never waits for the disk."""
        self._moments.add(added)

    def flush(self) -> None:
        """Write what waits, and seal what is old or large enough."""
        for stream in self._streams:
            stream.flush()

    def close(self) -> None:
        """Write what waits and seal; what the disk then refuses is lost, and said."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        for stream in self._streams:
            stream.close()

    @property
    def health(self) -> Health:
        """What was written, waits and was lost: answers and labels together. Sums over images are no rows."""
        streams = (self._answers, self._labels)
        troubles = [stream.trouble for stream in self._streams if stream.trouble]
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set():
            troubles.insert(0, "the thread that writes has died, its traceback stands in the log")
        troubles += [self._recovery_trouble] if self._recovery_trouble else []
        return Health(
            sum(stream.written for stream in streams),
            sum(len(stream.waiting) for stream in streams),
            sum(stream.lost for stream in streams),
            troubles[0] if troubles else None,
        )

    @property
    def settled(self) -> bool:
        """Whether nothing waits to be written."""
        return not any(stream.waiting for stream in self._streams)

    @property
    def _streams(self) -> "tuple[_Stream[rows.Answer], _Stream[rows.Label], _Stream[moments.LayerMoments]]":
        return self._answers, self._labels, self._moments

    def _run(self) -> None:
        while not self._stopping.wait(self._params.flush_s):
            self.flush()

    def _allowed(self, answer: rows.Answer, featured: bool) -> rows.Answer:
        """The answer with as much of its raw input and features as may be kept."""
        features = rows.half(answer.features) if featured and answer.features is not None else None
        raw, input_hash = answer.raw, answer.input_hash
        if input_hash is None and raw is not None and self._key:
            input_hash = hmac.digest(self._key, raw, "sha256").hex()
        if raw is not None and not self._is_kept(answer):
            raw = None
        return replace(answer, features=features, raw=raw, input_hash=input_hash)

    def _is_kept(self, answer: rows.Answer) -> bool:
        """Whether the raw input is in the sample."""
        return self._params.raw == "sampled" and _drawn(answer) < self._params.raw_share


class Sample:
    """Which answers keep their features: about `most` an hour, never more, spread over the hour; thread-safe.

    Rows are drawn by the hash of their request id, at the rate that the hour before would have needed. Where an hour
    has more answers than that, each minute keeps as many as the hour's share allows by then; a tenth of `most` may be
    spent at once, so that the few answers of a quiet hour keep theirs.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._hour: datetime | None = None
        self._seen = self._kept = 0
        self._rate = 1.0
        self._lock = threading.Lock()

    def choose(self, answers: Sequence[rows.Answer]) -> set[int]:
        """The places of answers that keep their features; of those of one minute, by their hashes."""
        if not self._most:
            return set()
        candidates = sorted(
            (answer.time.astimezone(UTC).replace(second=0, microsecond=0), _drawn(answer), place)
            for place, answer in enumerate(answers)
            if answer.features is not None
        )
        with self._lock:
            return {place for minute, drawn, place in candidates if self._takes(minute, drawn)}

    def _takes(self, minute: datetime, drawn: float) -> bool:
        hour = minute.replace(minute=0)
        if self._hour is None or hour > self._hour:
            follows = self._hour is not None and hour - self._hour == timedelta(hours=1)
            self._rate = min(1.0, self._most / max(self._seen, 1)) if follows else 1.0
            self._hour, self._seen, self._kept = hour, 0, 0
        self._seen += 1
        allowed = math.ceil(self._most * max(minute.minute + 1, AT_ONCE) / MINUTES)
        if self._kept >= allowed or (self._rate < 1.0 and drawn >= self._rate):
            return False
        self._kept += 1
        return True


def _drawn(answer: rows.Answer) -> float:
    """The answer's place in [0, 1) among those of which a share is kept: raw inputs and features of the same ones."""
    return determinism.fraction(f"{answer.request_id}:{answer.index}", seed=SAMPLE_SEED)


class _Stream(Generic[Row]):
    """Rows of one kind on their way to the disk. `add` may be called by any thread, the rest by one at a time."""

    def __init__(
        self,
        folder: Path,
        to_batch: Callable[[Sequence[Row]], pa.RecordBatch],
        params: JournalParams,
        clock: Callable[[], datetime],
    ) -> None:
        self.waiting: list[Row] = []
        self.written = 0
        self.lost = 0
        self.trouble: str | None = None
        self._folder = folder
        self._to_batch: Callable[[Sequence[Row]], pa.RecordBatch] = to_batch
        self._clock = clock
        self._bound = params.seal_megabytes * MEGABYTE
        self._age = timedelta(minutes=params.seal_minutes)
        self._bytes = 0
        self._log: Log | None = None
        self._opened: datetime | None = None
        self._lock = threading.Lock()

    def add(self, added: Sequence[Row]) -> None:
        """Let rows wait for the next flush; all of them are lost where they would exceed the bound."""
        size = sum(row.size for row in added)
        with self._lock:
            if self._bytes + size > self._bound:
                first, self.lost = self.lost == 0, self.lost + len(added)
            else:
                self.waiting.extend(added)
                self._bytes += size
                return
        if first:
            logger.error("%s: no room for more rows while the disk is slow or refuses; losing new ones.", self._folder)

    def flush(self) -> None:
        """Write what waits; seal the log when it is due. What the disk refuses waits for the next time."""
        try:
            self._write()
            if self._log and self._opened and self._is_due(self._log, self._opened):
                self._seal()
        except OSError as error:
            if self.trouble is None:
                logger.error("%s: the disk refuses the journal (%s); rows wait in memory.", self._folder, error)
            self.trouble = f"the disk refuses: {error}"
            return
        if self.trouble is not None:
            logger.warning("%s: the journal is written again; %d rows were lost.", self._folder, self.lost)
            self.trouble = None

    def close(self) -> None:
        """Write and seal everything; rows that cannot be written are counted as lost."""
        self.flush()
        try:
            self._seal()
        except OSError as error:
            logger.error("%s: not sealed (%s); the next start will do it.", self._folder, error)
            self.trouble = f"the disk refuses: {error}"
        if self._log:
            self._log.close()
            self._log = None
        with self._lock:
            self.lost += len(self.waiting)
            self.waiting, self._bytes = [], 0
        if self.lost:
            logger.error("%s: %d rows were lost in all, the disk refused them.", self._folder, self.lost)

    def _write(self) -> None:
        while taken := self.waiting[:BATCH_ROWS]:
            batch = self._batch(taken)
            if batch is None:
                continue
            if self._log and not self._log.schema.equals(batch.schema):
                self._seal()
            if self._log is None:
                self._opened = self._clock().astimezone(UTC)
                self._log = Log.create(self._folder, f"{self._opened:%Y%m%dT%H%M%S%f}", batch.schema)
            self._log.append(batch)
            with self._lock:
                del self.waiting[: len(taken)]
                self._bytes -= sum(row.size for row in taken)
                self.written += len(taken)

    def _batch(self, taken: Sequence[Row]) -> pa.RecordBatch | None:
        """The rows as columns; where one of them can't be, those that can't are taken out and counted as lost."""
        try:
            return self._to_batch(taken)
        except UNWRITABLE as error:
            odd = [row for row in taken if not self._fits(row)]
            logger.error("%s: %d rows cannot be written and are lost, first: %s", self._folder, len(odd), error)
            with self._lock:
                self.waiting[: len(taken)] = [row for row in taken if row not in odd]
                self._bytes -= sum(row.size for row in odd)
                self.lost += len(odd)
            return None

    def _fits(self, row: Row) -> bool:
        try:
            self._to_batch([row])
        except UNWRITABLE:
            return False
        return True

    def _is_due(self, log: Log, opened: datetime) -> bool:
        return log.size >= self._bound or self._clock() - opened >= self._age

    def _seal(self) -> None:
        if self._log:
            self._log.seal()
            self._log.close()
            self._log = None

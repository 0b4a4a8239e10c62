"""BatchNorm inputs of answered images, measured in the background: one thread a model, never in a request's path.

    answered ──► queue, bounded ──► instrumented network, at most `SHARE` of one core ──► sums a minute ──► journal

What finds no room in the queue is left out, and so is an image that was seen a short while ago: an image that is sent
a thousand times says no more than once. A model without BatchNorm has no thread.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from headstart.batchnorm.instrumented import Instrumented
from headstart.batchnorm.reference import summed
from headstart.determinism import digest
from headstart.errors import ContractError
from headstart.journal.moments import LayerMoments, added
from headstart.journal.writer import Journal
from headstart.predictor import UNANSWERED

SHARE = 0.04  # of one core: with two, requests lose 2% of them
QUEUE_BYTES = 32_000_000
BATCH = 8
REMEMBERED = 10_000  # images that count once
HAND_OVER_S = 10.0  # a row has as many numbers as the network has channels, twice
DRAIN_S = 0.02  # between two looks at whether nothing waits
CLOSING_S = 5.0  # a server that ends still measures what waits, for so long
logger = logging.getLogger("headstart.serving")


@dataclass(frozen=True)
class Answering:
    """The bundle that answered."""

    network: Instrumented
    version: int
    bundle: str


class Sampler:
    """Measures some of the images that one model answered."""

    def __init__(self, name: str, journal: Journal, *, share: float = SHARE) -> None:
        self._name = name
        self._journal = journal
        self._share = share
        self._waiting: deque[tuple[Answering, datetime, bytes]] = deque()
        self._bytes = 0
        self._known: OrderedDict[str, None] = OrderedDict()
        self._sums: dict[tuple[str, datetime], LayerMoments] = {}
        self._handed_over = time.monotonic()
        self._changed = threading.Condition()
        self._closing: float | None = None
        self._busy = False
        self._thread: threading.Thread | None = None

    def offer(self, answering: Answering, when: datetime, images: Sequence[bytes]) -> None:
        """Let images that were just answered wait for their turn, as far as there is room.

        Args:
            answering: who answered.
            when: aware.
            images: as they were sent.
        """
        with self._changed:
            if self._closing is not None:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"batchnorm {self._name}", daemon=True)
                self._thread.start()
            for image in images:
                if self._bytes + len(image) > QUEUE_BYTES:
                    break
                self._waiting.append((answering, when, image))
                self._bytes += len(image)
            self._changed.notify()

    def drain(self) -> None:
        """Wait until every image that was offered is measured, and hand the sums to the journal."""
        while True:
            with self._changed:
                if not self._waiting and not self._busy:
                    self._hand_over(now=True)
                    return
            time.sleep(DRAIN_S)

    def close(self) -> None:
        """Measure what waits, for a few seconds at most, and hand everything to the journal."""
        with self._changed:
            self._closing = time.monotonic() + CLOSING_S
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while taken := self._take():
            started = time.monotonic()
            try:
                self._measure(taken)
            except (ContractError, *UNANSWERED) as error:
                logger.error("%s: BatchNorm inputs cannot be measured: %s", self._name, error)
            seconds = time.monotonic() - started
            if not self._waiting or time.monotonic() - self._handed_over > HAND_OVER_S:
                self._hand_over(now=False)
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._closing is not None, seconds * (1 / self._share - 1))
        self._hand_over(now=True)

    def _take(self) -> list[tuple[Answering, datetime, bytes]]:
        """Images of one bundle and minute that were not seen lately; waits for one. Empty where it is time to end."""
        with self._changed:
            while True:
                taken: list[tuple[Answering, datetime, bytes]] = []
                while self._waiting and len(taken) < BATCH:
                    first = self._waiting[0]
                    if taken and (first[0].bundle, _minute(first[1])) != (taken[0][0].bundle, _minute(taken[0][1])):
                        break
                    self._waiting.popleft()
                    self._bytes -= len(first[2])
                    if self._is_new(first):
                        taken.append(first)
                over = self._closing is not None and time.monotonic() > self._closing
                if taken and not over:
                    self._busy = True
                    return taken
                if self._closing is not None and (over or not self._waiting):
                    return []
                if not self._waiting:
                    self._changed.wait(HAND_OVER_S if self._sums else None)
                    if not self._waiting and self._sums:
                        self._hand_over(now=False)

    def _is_new(self, one: tuple[Answering, datetime, bytes]) -> bool:
        known = digest(one[2])
        new = known not in self._known
        self._known[known] = None
        self._known.move_to_end(known)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return new

    def _measure(self, taken: Sequence[tuple[Answering, datetime, bytes]]) -> None:
        answering, when, _ = taken[0]
        items = answering.network.preprocessor.prepare([image for _, _, image in taken])
        moments = summed(answering.network.run(items).moments)
        if not (np.isfinite(moments.total).all() and np.isfinite(moments.squares).all()):
            return
        minute = _minute(when)
        mine = LayerMoments(minute, answering.version, answering.bundle, len(items), moments.total, moments.squares)
        before = self._sums.get((answering.bundle, minute))
        self._sums[answering.bundle, minute] = mine if before is None else added(before, mine)

    def _hand_over(self, *, now: bool) -> None:
        if now or time.monotonic() - self._handed_over >= HAND_OVER_S:
            self._journal.record_moments(list(self._sums.values()))
            self._sums = {}
            self._handed_over = time.monotonic()


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)

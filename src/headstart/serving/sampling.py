"""What entered the layers for answered inputs, summed in the background: one thread a model, in no request's path.

    answered ──► queue, bounded ──► moments, at most `SHARE` of one core ──► sums a minute ──► journal

A network with BatchNorm is run again, instrumented; the others gave their moments with the answer. What finds no room
in the queue is left out, and so is an input that was seen in the same hour: one that is sent a thousand times says no
more than once. A model that measures no layer has no thread.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.batchnorm.instrumented import Instrumented
from headstart.determinism import digest
from headstart.errors import ContractError
from headstart.journal.moments import LayerMoments, added
from headstart.journal.writer import Journal
from headstart.layer_statistics import of_inputs, summed
from headstart.predictor import UNANSWERED
from headstart.statistics.gaussian import Moments

SHARE = 0.04  # of one core: with two, requests lose 2% of them
QUEUE_BYTES = 32_000_000
BATCH = 8  # of images that a network is run on again
AT_ONCE = 256  # of inputs whose moments came with the answer
REST_S = 1.0  # between two of these: waking for each answer would cost a request 3% more
REMEMBERED = 10_000  # inputs that count once in an hour of the clock
HAND_OVER_S = 10.0  # a row has as many numbers as the network has channels, twice
DRAIN_S = 0.02  # between two looks at whether nothing waits
CLOSING_S = 5.0  # a server that ends still measures what waits, for so long
logger = logging.getLogger("headstart.serving")


@dataclass(frozen=True)
class Answering:
    """The bundle that answered.

    Attributes:
        network: that measures the BatchNorms; None where the moments come with the answers.
        version: of the model.
        bundle: SHA-256 of its manifest.
    """

    network: Instrumented | None
    version: int
    bundle: str


class Offered(NamedTuple):
    """An input that was answered: as it was sent, and the moments that came with the answer, `(2, channels)`."""

    raw: str | bytes
    moments: NDArray[np.float32] | None

    @property
    def size(self) -> int:
        """About how many bytes wait."""
        return len(self.raw) + (0 if self.moments is None else self.moments.nbytes)


class Sampler:
    """Measures some of the inputs that one model answered."""

    def __init__(self, name: str, journal: Journal, *, share: float = SHARE) -> None:
        self._name = name
        self._journal = journal
        self._share = share
        self._waiting: deque[tuple[Answering, datetime, Offered]] = deque()
        self._bytes = 0
        self._known: OrderedDict[str, None] = OrderedDict()
        self._hour: datetime | None = None
        self._sums: dict[tuple[str, datetime], LayerMoments] = {}
        self._handed_over = time.monotonic()
        self._changed = threading.Condition()
        self._hurried = threading.Event()
        self._closing: float | None = None
        self._busy = False
        self._thread: threading.Thread | None = None

    def offer(self, answering: Answering, when: datetime, inputs: Sequence[Offered]) -> None:
        """Let inputs that were just answered wait for their turn, as far as there is room.

        Args:
            answering: who answered.
            when: aware.
            inputs: that were answered.
        """
        with self._changed:
            if self._closing is not None:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"layers {self._name}", daemon=True)
                self._thread.start()
            for one in inputs:
                if self._bytes + one.size > QUEUE_BYTES:
                    break
                self._waiting.append((answering, when, one))
                self._bytes += one.size
            self._changed.notify()

    def drain(self) -> None:
        """Wait until every input that was offered is measured, and hand the sums to the journal."""
        while True:
            self._hurried.set()
            with self._changed:
                if not self._waiting and not self._busy:
                    self._hand_over(now=True)
                    if self._closing is None:
                        self._hurried.clear()
                    return
            time.sleep(DRAIN_S)

    def close(self) -> None:
        """Measure what waits, for a few seconds at most, and hand everything to the journal."""
        with self._changed:
            self._closing = time.monotonic() + CLOSING_S
            self._hurried.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while taken := self._take():
            started = time.monotonic()
            try:
                self._measure(taken)
            except (ContractError, *UNANSWERED) as error:
                logger.error("%s: what enters the layers cannot be measured: %s", self._name, error)
            seconds = time.monotonic() - started
            if not self._waiting or time.monotonic() - self._handed_over > HAND_OVER_S:
                self._hand_over(now=False)
            with self._changed:
                self._busy = False
            rest = seconds * (1 / self._share - 1)
            self._hurried.wait(rest if taken[0][0].network is not None else max(rest, REST_S))
        self._hand_over(now=True)

    def _take(self) -> list[tuple[Answering, datetime, Offered]]:
        """Inputs of one bundle and minute that were not seen lately; waits for one. Empty where it is time to end."""
        with self._changed:
            while True:
                taken: list[tuple[Answering, datetime, Offered]] = []
                while self._waiting:
                    first = self._waiting[0]
                    if len(taken) >= (AT_ONCE if first[0].network is None else BATCH):
                        break
                    if taken and (first[0].bundle, _minute(first[1])) != (taken[0][0].bundle, _minute(taken[0][1])):
                        break
                    self._waiting.popleft()
                    self._bytes -= first[2].size
                    if self._is_new(first[2].raw, first[1]):
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

    def _is_new(self, raw: str | bytes, when: datetime) -> bool:
        if (hour := when.replace(minute=0, second=0, microsecond=0)) != self._hour:
            self._known.clear()
            self._hour = hour
        known = digest(raw)
        new = known not in self._known
        self._known[known] = None
        self._known.move_to_end(known)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return new

    def _measure(self, taken: Sequence[tuple[Answering, datetime, Offered]]) -> None:
        answering, when, _ = taken[0]
        moments = summed(_moments(answering.network, [one for _, _, one in taken]))
        if not (np.isfinite(moments.total).all() and np.isfinite(moments.squares).all()):
            return
        minute = _minute(when)
        mine = LayerMoments(minute, answering.version, answering.bundle, len(taken), moments.total, moments.squares)
        before = self._sums.get((answering.bundle, minute))
        self._sums[answering.bundle, minute] = mine if before is None else added(before, mine)

    def _hand_over(self, *, now: bool) -> None:
        if now or time.monotonic() - self._handed_over >= HAND_OVER_S:
            self._journal.record_moments(list(self._sums.values()))
            self._sums = {}
            self._handed_over = time.monotonic()


def _moments(network: Instrumented | None, taken: Sequence[Offered]) -> Moments:
    """Of each input, `(inputs, channels)`: those of its answer, or what `network` says of it."""
    if network is not None:
        return network.run(network.preprocessor.prepare([one.raw for one in taken])).moments
    given = np.stack([one.moments for one in taken if one.moments is not None])
    return of_inputs(given[:, 0], given[:, 1])


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)

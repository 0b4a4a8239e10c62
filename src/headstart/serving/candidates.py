"""The challenger of a rollout beside the champion: whom it answers, who gets copies, and when it has to go at once.

    shadow   champion ── answer ──► client      └─ copy ─► challenger, whose answer only the journal sees
    canary   its share of requests ─► challenger ── answer ──► client      └─ copy ─► champion
                                          └─ failed, or too late ─► champion ── answer ──► client

Copies wait in a short queue of their own and are dropped, and counted, where it is full. No request waits for one.
"""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from headstart.errors import HeadstartError
from headstart.evaluation.golden import Golden
from headstart.params.operation import Canary
from headstart.registry.rollouts import Rollout
from headstart.rollout import FAILURES, LEAST_TIMED, SLOW
from headstart.serving.batching import Batcher
from headstart.serving.models import LoadedModel, Outcome
from headstart.statistics import betting

WAITING = 256  # inputs whose copies may wait, and
WAITING_BYTES = 32_000_000  # their size
NICENESS = 10  # of the thread that answers copies, on Linux
SURE = 0.001  # chance that a sound canary is ever taken back by one server for its failures, and for its latency
REMEMBERED = 500  # latencies of the champion
PARTS = 2  # in which golden inputs are asked of a canary, one at a time
GOLDEN_PATIENCE_S = 5.0
logger = logging.getLogger("headstart.serving")


class Latencies:
    """How long the champion's last answers took, in seconds; thread-safe."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, seconds: float) -> None:
        """Note an answer."""
        self._last.append(seconds)

    @property
    def p95(self) -> float | None:
        """Their 95th percentile; None while there are too few."""
        last = list(self._last)
        return float(np.quantile(last, 0.95)) if len(last) >= LEAST_TIMED else None


class Guard:
    """What one server has seen of a canary, and why it has to go; thread-safe."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._failed = self._answered = self._slow = self._timed = 0
        self._lock = threading.Lock()

    def failed(self, reason: str) -> None:
        """Note a request that it gave no answer to."""
        with self._lock:
            self._failed += 1
            asked = self._failed + self._answered
            if betting.above([1.0, 0.0], FAILURES, least=0.0, counts=[self._failed, self._answered]) * SURE >= 1:
                self.condemn(f"It failed at {self._failed} of {asked} requests; the last time: {reason}")

    def answered(self, seconds: float, limit_s: float | None) -> None:
        """Note an answer, and whether it took longer than `limit_s`; None where that is not known yet."""
        with self._lock:
            self._answered += 1
            if limit_s is None:
                return
            self._time(
                seconds > limit_s, f"{1000 * limit_s:.0f} ms, by the champion's 95th percentile and rollout.latency"
            )

    def late(self, limit_s: float) -> None:
        """Note a request that it gave no answer to in time. One stall of the machine lets several be late."""
        with self._lock:
            self._time(True, f"{limit_s:.1f} s, after which the champion answers")

    def _time(self, slow: bool, limit: str) -> None:
        self._timed += 1
        self._slow += slow
        if betting.above([1.0, 0.0], SLOW, least=0.0, counts=[self._slow, self._timed - self._slow]) * SURE >= 1:
            self.condemn(f"It is slow: {self._slow} of {self._timed} answers took longer than {limit}.")

    def condemn(self, reason: str) -> None:
        """Let it go; the first reason counts."""
        if self.trouble is None:
            self.trouble = reason


@dataclass(frozen=True)
class Candidate:
    """A challenger at work in its step.

    Attributes:
        rollout: as the registry had it.
        model: loaded, its role that of the step.
        batcher: of a canary, where its requests wait; None for a shadow.
        guard: of a canary.
    """

    rollout: Rollout
    model: LoadedModel
    batcher: Batcher[Outcome] | None
    guard: Guard = field(default_factory=Guard)
    _looks: "count[int]" = field(default_factory=count)

    @property
    def share(self) -> float:
        """Of requests that it answers."""
        return self.rollout.running.share if isinstance(self.rollout.running, Canary) else 0.0

    def replay(self) -> None:
        """Ask a canary some of its golden inputs; a wrong answer, or none, condemns it."""
        whole = self.model.golden
        at = next(self._looks) % PARTS
        part = Golden(
            whole.modality,
            whole.ids[at::PARTS],
            whole.inputs[at::PARTS],
            whole.labels[at::PARTS],
            whole.probabilities[at::PARTS],
        )
        if not part.ids:
            return
        ended = threading.Event()

        def ask() -> None:
            try:
                replace(self.model, golden=part).require_golden_answers()
            except HeadstartError as error:
                self.guard.condemn(f"It does not give its golden answers any more: {error.message}")
            except Exception as error:
                logger.exception("%s: version %d failed at its golden inputs", self.model.name, self.model.version)
                self.guard.condemn(f"It failed at its golden inputs: {type(error).__name__}: {error}")
            ended.set()

        threading.Thread(target=ask, name=f"golden {self.model.name} v{self.model.version}", daemon=True).start()
        if not ended.wait(GOLDEN_PATIENCE_S):
            self.guard.condemn(f"It did not answer {len(part.ids)} golden inputs within {GOLDEN_PATIENCE_S:g} s.")


class Copies:
    """Copies of requests, answered one after the other by a thread that gives way to those of requests; thread-safe.

    Attributes:
        answered: inputs of copies.
        failed: inputs of copies that raised.
        dropped: inputs of copies that found no room.
    """

    def __init__(self, name: str) -> None:
        self.answered = self.failed = self.dropped = 0
        self._name = name
        self._waiting: deque[tuple[Callable[[], bool], int, int]] = deque()
        self._inputs = self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def offer(self, answer: Callable[[], bool], *, inputs: int, size: int) -> None:
        """Let a copy wait for its turn, if there is room.

        Args:
            answer: answers it, and says whether that succeeded; raises nothing.
            inputs: how many it holds.
            size: of them, in bytes.
        """
        with self._changed:
            if self._closed:
                return
            if self._waiting and (self._inputs + inputs > WAITING or self._bytes + size > WAITING_BYTES):
                self.dropped += inputs
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"copies {self._name}", daemon=True)
                self._thread.start()
            self._waiting.append((answer, inputs, size))
            self._inputs += inputs
            self._bytes += size
            self._changed.notify()

    def close(self) -> None:
        """Let go of what waits, and wait for the one that is being answered."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(GOLDEN_PATIENCE_S)

    def _run(self) -> None:
        if sys.platform == "linux":  # where each thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                answer, inputs, size = self._waiting.popleft()
                self._inputs -= inputs
                self._bytes -= size
            if answer():
                self.answered += inputs
            else:
                self.failed += inputs

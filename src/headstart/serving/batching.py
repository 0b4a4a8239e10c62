"""Inputs wait in one queue a model, and workers take them in batches of like length.

On a CPU, batching texts of mixed length loses to no batching: padding costs more than batching wins. So a worker
takes the oldest input and those nearest to it in length. Several workers of one thread each beat one of several.

    submit(inputs) ──► queue, bounded ──► worker: oldest + nearest ──► the request's future, then its journal rows
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from heapq import nsmallest
from itertools import count, islice
from typing import Generic, TypeVar

from headstart.errors import HeadstartError

LOOKAHEAD = 256
Raw = str | bytes
Outcome = TypeVar("Outcome")
logger = logging.getLogger("headstart.serving")


class QueueFullError(HeadstartError):
    """More inputs wait than may."""


class RetiredError(HeadstartError):
    """The batcher takes no more inputs: another one has taken its place."""


class _Order(Generic[Outcome]):
    """The inputs of one request with their places in it, and what became of them so far."""

    def __init__(
        self, inputs: Sequence[Raw], afterwards: Callable[[list[Outcome]], None], places: Sequence[int]
    ) -> None:
        self.inputs = inputs
        self.places = places
        self.outcomes: list[Outcome | None] = [None] * len(inputs)
        self.left = len(inputs)
        self.afterwards = afterwards
        self.future: Future[list[Outcome]] = Future()


class Batcher(Generic[Outcome]):
    """A queue and its workers; a request is answered by one batcher as a whole."""

    def __init__(
        self,
        answer: Callable[[Sequence[tuple[int, Raw]]], Sequence[Outcome]],
        *,
        name: str,
        batch: int,
        capacity: int,
        workers: int,
        by_length: bool,
    ) -> None:
        """Start the workers.

        Args:
            answer: one outcome for each input, a refusal included; an input comes with its place in its request.
            name: of the threads.
            batch: most inputs answered at once.
            capacity: most inputs that wait.
            workers: threads.
            by_length: whether inputs of like length go together; else the oldest do.
        """
        self._answer = answer
        self._batch = batch
        self._capacity = capacity
        self._by_length = by_length
        self._queue: OrderedDict[int, tuple[_Order[Outcome], int]] = OrderedDict()
        self._numbers = count()
        self._changed = threading.Condition()
        self._retired = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name} {worker}", daemon=True) for worker in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._queue)

    def submit(
        self,
        inputs: Sequence[Raw],
        afterwards: Callable[[list[Outcome]], None],
        *,
        places: Sequence[int] | None = None,
    ) -> "Future[list[Outcome]]":
        """Queue a request's inputs; the future holds their outcomes, in order.

        Cancel the future to take what still waits out of the queue. `afterwards` is called with the outcomes by a
        worker once the future is done, unless the request failed or was cancelled.

        Args:
            inputs: of the request; not empty.
            afterwards: called with the outcomes.
            places: of the inputs in their request; 0, 1, 2 when left out.

        Raises:
            QueueFullError: if the inputs find no room together.
            RetiredError: if the batcher was closed.
        """
        order = _Order(inputs, afterwards, range(len(inputs)) if places is None else places)
        with self._changed:
            if self._retired:
                raise RetiredError("this batcher has been closed.")
            if len(self._queue) + len(inputs) > self._capacity:
                raise QueueFullError(f"{len(self._queue)} inputs wait already, {self._capacity} may.")
            for place in range(len(inputs)):
                self._queue[next(self._numbers)] = (order, place)
            self._changed.notify(min(len(inputs), len(self._threads)))
        return order.future

    def close(self) -> None:
        """Answer what waits, take nothing more, and end the workers."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while taken := self._take():
            inputs = [(order.places[place], order.inputs[place]) for order, place in taken]
            try:
                outcomes = self._answer(inputs)
            except Exception as error:
                logger.exception("a batch of %d inputs failed", len(inputs))
                for order, _ in taken:
                    self._fail(order, error)
                continue
            for (order, place), outcome in zip(taken, outcomes, strict=True):
                self._deliver(order, place, outcome)

    def _take(self) -> list[tuple[_Order[Outcome], int]]:
        """The next batch; waits for one, and is empty once the batcher is closed and nothing waits."""
        with self._changed:
            while True:
                while self._queue:
                    numbers = self._choose()
                    taken = [self._queue.pop(number) for number in numbers]
                    if wanted := [(order, place) for order, place in taken if not order.future.done()]:
                        return wanted
                if self._retired:
                    return []
                self._changed.wait()

    def _choose(self) -> list[int]:
        """The oldest input's number, and those of the nearest in length among the next ones."""
        candidates = list(islice(self._queue, LOOKAHEAD))
        if not self._by_length or len(candidates) <= self._batch:
            return candidates[: self._batch]
        lengths = {number: self._length(number) for number in candidates}
        target = lengths[candidates[0]]
        return nsmallest(self._batch, candidates, key=lambda number: (abs(lengths[number] - target), number))

    def _length(self, number: int) -> int:
        order, place = self._queue[number]
        return len(order.inputs[place])

    def _deliver(self, order: _Order[Outcome], place: int, outcome: Outcome) -> None:
        with self._changed:
            order.outcomes[place] = outcome
            order.left -= 1
            if order.left:
                return
        outcomes = [outcome for outcome in order.outcomes if outcome is not None]
        if not order.future.set_running_or_notify_cancel():
            return
        order.future.set_result(outcomes)
        try:
            order.afterwards(outcomes)
        except Exception:
            logger.exception("what follows an answer failed")

    def _fail(self, order: _Order[Outcome], error: Exception) -> None:
        """Give a request the error that ended it; the first one counts, also where two workers fail it at once."""
        with self._changed:
            if not order.future.done() and order.future.set_running_or_notify_cancel():
                order.future.set_exception(error)

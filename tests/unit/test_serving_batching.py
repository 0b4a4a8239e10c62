"""The queue: which inputs go together, how many may wait, and what becomes of them when it closes."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import ContractError
from headstart.serving import batching
from headstart.serving.batching import Batcher, QueueFullError, Raw, RetiredError


class Gate:
    """Answers with the input upside down once it is open; keeps the batches it was given."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.started = threading.Event()
        self.batches: list[list[Raw]] = []

    def __call__(self, inputs: Sequence[tuple[int, Raw]]) -> list[Raw | ContractError]:
        self.started.set()
        assert self.open.wait(5)
        self.batches.append([value for _, value in inputs])
        return [ContractError("no", index=place) if value == "bad" else value[::-1] for place, value in inputs]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def batcher(
    gate: Gate, *, batch: int = 3, capacity: int = 100, workers: int = 1, by_length: bool = True
) -> Batcher[Raw | ContractError]:
    return Batcher(gate, name="test", batch=batch, capacity=capacity, workers=workers, by_length=by_length)


def occupy(gate: Gate, queue: Batcher[Raw | ContractError]) -> None:
    """Let the one worker wait inside a first batch, so that what follows queues up."""
    queue.submit(["first"], lambda answers: None)
    assert gate.started.wait(5)


@pytest.mark.parametrize(
    ("by_length", "batches"),
    [
        # the oldest is 2 long; nearest to it are 2 (itself), 3 and then, of 4 and 5, 4
        pytest.param(True, [["first"], ["aa", "ddd", "cccc"], ["bbbbbbbbb", "eeeee"]], id="by length"),
        pytest.param(False, [["first"], ["aa", "bbbbbbbbb", "cccc"], ["ddd", "eeeee"]], id="in order"),
    ],
)
def test_the_oldest_goes_with_those_of_nearest_length(gate: Gate, by_length: bool, batches: list[list[str]]) -> None:
    queue = batcher(gate, by_length=by_length)
    occupy(gate, queue)
    future = queue.submit(["aa", "bbbbbbbbb", "cccc", "ddd", "eeeee"], lambda answers: None)
    gate.open.set()
    assert future.result(5) == ["aa", "bbbbbbbbb", "cccc", "ddd", "eeeee"]
    queue.close()
    assert [sorted(batch) for batch in gate.batches] == [sorted(batch) for batch in batches]


@settings(deadline=None, max_examples=30)
@given(
    requests=st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=12), max_size=12),
    batch=st.integers(1, 9),
    workers=st.integers(1, 3),
)
def test_every_request_gets_its_own_answers_in_its_own_order(
    requests: list[list[str]], batch: int, workers: int
) -> None:
    gate = Gate()
    gate.open.set()
    queue = batcher(gate, batch=batch, capacity=1000, workers=workers)
    wanted = [[text for text in texts if text != "bad"] or ["x"] for texts in requests]
    futures = [queue.submit(texts, lambda answers: None) for texts in wanted]
    assert [future.result(5) for future in futures] == [[text[::-1] for text in texts] for texts in wanted]
    queue.close()


def test_more_than_may_wait_is_refused_as_a_whole(gate: Gate) -> None:
    queue = batcher(gate, capacity=4)
    occupy(gate, queue)
    queue.submit(["a"] * 3, lambda answers: None)
    with pytest.raises(QueueFullError, match="3 inputs wait already, 4 may"):
        queue.submit(["b"] * 2, lambda answers: None)
    assert queue.waiting == 3
    gate.open.set()
    queue.close()


def test_what_was_cancelled_is_not_run(gate: Gate) -> None:
    queue = batcher(gate)
    occupy(gate, queue)
    given_up = queue.submit(["x", "y"], lambda answers: None)
    kept = queue.submit(["z"], lambda answers: None)
    assert given_up.cancel()
    gate.open.set()
    assert kept.result(5) == ["z"]
    queue.close()
    assert gate.batches == [["first"], ["z"]]


def test_a_refused_input_stands_among_the_answers_with_its_place_in_the_request(gate: Gate) -> None:
    gate.open.set()
    queue = batcher(gate, batch=10)
    answered, refused = queue.submit(["ok", "bad"], lambda answers: None, places=[0, 7]).result(5)
    assert answered == "ko"
    assert isinstance(refused, ContractError)
    assert refused.index == 7
    queue.close()


def test_closing_answers_what_waits_and_takes_no_more(gate: Gate) -> None:
    queue = batcher(gate)
    told: list[list[Raw | ContractError]] = []
    futures = [queue.submit([str(number)], told.append) for number in range(20)]
    gate.open.set()
    queue.close()
    assert [future.result(0) for future in futures] == [[str(number)[::-1]] for number in range(20)]
    assert len(told) == 20
    with pytest.raises(RetiredError):
        queue.submit(["late"], told.append)


def test_what_follows_an_answer_may_fail_without_harm(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    def fails(answers: list[Raw | ContractError]) -> None:
        raise ValueError("after the answer")

    gate.open.set()
    queue = batcher(gate)
    assert queue.submit(["a"], fails).result(5) == ["a"]
    assert queue.submit(["b"], fails).result(5) == ["b"]
    queue.close()
    assert "what follows an answer failed" in caplog.text


def test_two_workers_that_fail_one_request_at_once_both_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    both_run, both_ask = threading.Barrier(2), threading.Barrier(2)
    failing = threading.Event()

    class Slow(Future[list[str]]):
        def done(self) -> bool:
            answer = super().done()
            if failing.is_set():
                with contextlib.suppress(threading.BrokenBarrierError):
                    both_ask.wait(0.2)  # where nothing keeps them apart, both ask before either goes on
            return answer

    def fail(inputs: Sequence[tuple[int, Raw]]) -> Sequence[str]:
        both_run.wait(5)
        failing.set()
        raise ValueError("no answer")

    monkeypatch.setattr(batching, "Future", Slow)
    batcher: Batcher[str] = Batcher(fail, name="tiny", batch=1, capacity=8, workers=2, by_length=False)
    future = batcher.submit(["a", "b"], lambda outcomes: None)
    with pytest.raises(ValueError, match="no answer"):
        future.result(5)
    batcher.close()  # a worker that died fails the test: pytest turns its exception into an error

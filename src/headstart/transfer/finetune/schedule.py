"""How learning rates rise and fall over a run: all together, so that the ratios between layers hold throughout."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from transformers import TrainerCallback

RESERVE = 0.1  # share of a deadline that is kept for the last evaluation and what follows training
ELAPSED, TOTAL, OVER = "elapsed_s", "deadline_total", "deadline_over"  # in the log, which checkpoints carry
TIMED = 5  # steps before the first estimate: the first ones are slower


def elapsed(log: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that a run with a deadline and those before it took, as its log says; 0 where there is no deadline."""
    return next((float(entry[ELAPSED]) for entry in reversed(log) if ELAPSED in entry), 0.0)


def over(minutes: float | None, spent: float) -> bool:
    """Whether runs that share a deadline of so many minutes have spent it."""
    return minutes is not None and spent >= minutes * 60 * (1 - RESERVE)


class Schedule:
    """The share of its height that every rate has at a step; `total` may shrink while training goes on.

    Straight up over `warmup` of the steps, then straight down (Howard and Ruder 2018, arXiv:1801.06146, call it a
    slanted triangle) or down along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """

    def __init__(self, total: int, warmup: float, shape: Literal["linear", "cosine"]) -> None:
        self.total, self._warmup, self._shape = total, warmup, shape

    def __call__(self, step: int) -> float:
        rising = math.ceil(self._warmup * self.total)
        if step < rising:
            return (step + 1) / (rising + 1)
        left = max(0.0, (self.total - step) / max(1, self.total - rising))
        return left if self._shape == "linear" else (1 - math.cos(math.pi * left)) / 2


class Deadline(TrainerCallback):
    """Shortens the schedule to the time that is left, and ends training where it ends.

    Rates so reach nothing in time, instead of being cut off at their height. What a run with a deadline computes
    depends on the machine's speed: it is the one setting under which the same inputs need not give the same bytes.
    """

    def __init__(
        self, schedule: Schedule, minutes: float, *, spent: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """End `schedule` in time.

        Args:
            schedule: of the rates, in so many steps as were asked for.
            minutes: for this run and those before it that share the deadline.
            spent: seconds that those took.
            clock: in seconds.
        """
        self._schedule, self._allowed, self._clock = schedule, minutes * 60 * (1 - RESERVE), clock
        self._asked, self._minutes = schedule.total, minutes
        self._before, self._started = spent, 0.0
        self._first, self._over = 0, False

    @property
    def cut(self) -> tuple[int, int] | None:
        """Steps made and steps asked for, where time ran short."""
        return (self._schedule.total, self._asked) if self._schedule.total < self._asked else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._before = elapsed(state.log_history) or self._before
        self._schedule.total = next((one[TOTAL] for one in reversed(state.log_history) if TOTAL in one), self._asked)
        self._started, self._first = self._clock(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done, spent = state.global_step - self._first, self._clock() - self._started
        if done >= TIMED:
            fits = int((self._allowed - self._before - spent) / (spent / done))
            self._schedule.total = min(self._asked, max(state.global_step, state.global_step + fits))
        if state.global_step >= self._schedule.total < self._asked:
            control.should_training_stop = self._over = True  # the epoch's end evaluates

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        entry = {ELAPSED: self._before + self._clock() - self._started, TOTAL: self._schedule.total}
        state.log_history.append(entry | ({OVER: True} if self._over else {}))

    def told(self, scores: Sequence[float]) -> str:
        """What the deadline cost, and what more time would likely bring, from the accuracy after each evaluation."""
        told = (
            f"The deadline of {self._minutes:g} minutes left time for {self._schedule.total} of {self._asked} steps; "
            "the learning rates were brought down within them."
        )
        if len(scores) < 2:
            return f"{told} One evaluation does not tell what more time would bring."
        gain = max(scores) - max(scores[:-1])
        if gain <= 0:
            return f"{told} The last epoch brought nothing on validation; more time would likely bring little."
        return f"{told} The last epoch brought {100 * gain:.1f} points on validation; one more would likely bring less."

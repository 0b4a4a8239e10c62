"""Rates over a run: their shape, and how a deadline shortens it."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.transfer.finetune import course
from headstart.transfer.finetune.schedule import RESERVE, Deadline, Schedule, elapsed, over
from tests.unit import tiny_transfer


def test_the_schedule_rises_falls_and_ends_as_worked_out_by_hand():
    # 2 of 10 steps rise: 1/3, 2/3; then from 8/8 down by eighths
    share = Schedule(10, 0.2, "linear")
    expected = [1 / 3, 2 / 3, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0.0]
    assert [share(step) for step in range(11)] == pytest.approx(expected)


@given(st.integers(1, 300), st.floats(0.0, 1.0), st.sampled_from(["linear", "cosine"]))
@settings(deadline=None, max_examples=60)
def test_the_schedule_stays_above_zero_while_training_and_never_above_one(steps, warmup, shape):
    share = Schedule(steps, warmup, shape)
    assert all(0.0 < share(step) <= 1.0 for step in range(steps))
    assert 0.0 <= share(steps) <= 1.0


def test_half_a_cosine_falls_slowly_fast_slowly():
    # no warm-up, 4 steps: (1 + cos(pi * k / 4)) / 2
    share = Schedule(4, 0.0, "cosine")
    assert [share(step) for step in range(5)] == pytest.approx(
        [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]
    )


def train(deadline: Deadline, now: list[float], *, seconds: float, steps: int) -> int:
    """Steps made before the deadline ended training, each of so many seconds."""
    state, control = SimpleNamespace(global_step=0, log_history=[]), SimpleNamespace(should_training_stop=False)
    deadline.on_train_begin(None, state, control)
    for _ in range(steps):
        now[0] += seconds
        state.global_step += 1
        deadline.on_step_end(None, state, control)
        if control.should_training_stop:
            break
    return state.global_step


def test_a_deadline_ends_training_in_time_with_the_rates_brought_down():
    # two minutes less the reserve are 108 s: 54 steps of 2 s, of 100 asked for
    now, schedule = [0.0], Schedule(100, 0.1, "linear")
    deadline = Deadline(schedule, 2.0, clock=lambda: now[0])
    assert train(deadline, now, seconds=2.0, steps=100) == pytest.approx(120 * (1 - RESERVE) / 2, abs=1)
    assert schedule(schedule.total) == 0.0
    assert deadline.cut == (schedule.total, 100)
    assert "The last epoch brought 2.0 points" in deadline.told([0.80, 0.82])
    assert "brought nothing" in deadline.told([0.80, 0.79])


def test_a_deadline_that_cuts_into_the_warm_up_makes_it_shorter_too():
    # 90 s less the reserve are 81 s: 54 steps of 1.5 s; of 1,000 steps 100 would rise, of 54 it is 6
    now, schedule = [0.0], Schedule(1000, 0.1, "linear")
    made = train(Deadline(schedule, 1.5, clock=lambda: now[0]), now, seconds=1.5, steps=1000)
    assert made == 54
    assert schedule(made - 1) == pytest.approx(1 / 48) and schedule(6) == pytest.approx(1.0)


def test_runs_that_share_a_deadline_share_its_time_and_one_that_it_ended_is_finished():
    now, schedule = [0.0], Schedule(100, 0.1, "linear")
    second = Deadline(schedule, 2.0, spent=60.0, clock=lambda: now[0])
    assert train(second, now, seconds=2.0, steps=100) == 24  # 108 s less 60 s
    state, control = SimpleNamespace(log_history=[]), SimpleNamespace()
    second.on_epoch_end(None, state, control)
    assert elapsed(state.log_history) == pytest.approx(60 + 48) and over(2.0, elapsed(state.log_history))
    assert not over(2.0, 60.0) and not over(None, 1e9)
    params = tiny_transfer.sections("text", epochs=9)[1].fine_tune
    assert course.finished(state.log_history, params)  # killed after it, the run does not go on


def test_a_killed_run_goes_on_with_the_steps_that_were_left_to_it():
    now, schedule = [0.0], Schedule(100, 0.1, "linear")
    deadline = Deadline(schedule, 2.0, clock=lambda: now[0])
    state = SimpleNamespace(global_step=30, log_history=[{"elapsed_s": 60.0, "deadline_total": 54}])
    deadline.on_train_begin(None, state, SimpleNamespace())
    assert (schedule.total, deadline.cut) == (54, (54, 100))


def test_a_deadline_that_is_far_off_changes_nothing():
    now, schedule = [0.0], Schedule(100, 0.1, "linear")
    deadline = Deadline(schedule, 60.0, clock=lambda: now[0])
    assert train(deadline, now, seconds=2.0, steps=100) == 100
    assert (schedule.total, deadline.cut) == (100, None)

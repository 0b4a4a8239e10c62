"""The benchmark of clean weeks, on made-up traffic: how alarms are counted, and that a few weeks stay in the budget."""

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.monitoring import watch
from tests.unit.made_traffic import CLASSES, HOURS_A_YEAR, monitor, traffic


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("false_alarms")


def answers(benchmark, count, *, darker_half=0.0):
    """Made-up answers; the second half of the pictures is darker."""
    seen = traffic(np.random.default_rng(3), count)
    place = {name: number for number, name in enumerate(CLASSES)}
    numbers = {"confidence": seen.confidence, **seen.properties}
    numbers["brightness"] = numbers["brightness"] - darker_half * (np.arange(count) >= count // 2)
    truth, predicted = (np.array([place[name] for name in side]) for side in (seen.truth, seen.predicted))
    rows = np.arange(count)
    return benchmark.Answers(CLASSES, truth, predicted, numbers, (rows[: count // 2], rows[count // 2 :]))


def weeks(benchmark, made, count, *, params=None, sides=None):
    return [
        benchmark.week(made, params or monitor(), *drawn)
        for drawn in benchmark.simulated(made, "rhythm", sides, weeks=count, volume=100)
    ]


def test_windows_that_always_alarm_do_so_8766_times_a_year_and_those_that_never_do_not_once(benchmark):
    hours = np.full(50, 168)
    assert benchmark.a_year(hours, hours) == pytest.approx((HOURS_A_YEAR,) * 3)
    value, low, high = benchmark.a_year(np.zeros(50, dtype=int), hours)
    # none in 8,400 windows: up to 3.69 may be expected (Poisson, 97.5%)
    assert (value, low, high) == pytest.approx((0.0, 0.0, 3.689 / 8400 * HOURS_A_YEAR), rel=1e-3)


def test_the_screen_lets_pictures_that_are_darker_through_to_the_monitor(benchmark):
    made = answers(benchmark, 800, darker_half=0.2)
    (week,) = weeks(benchmark, made, 1, sides=made.splits)
    assert week.alarms > 140  # of 168: at night few inputs come
    assert week.checks["property/brightness"] >= 0.9 * week.alarms


@pytest.mark.nightly
def test_clean_weeks_alarm_no_more_often_than_a_larger_budget_says(benchmark):
    # 0.2% of 20 * 168 windows may alarm: 6.7
    found = weeks(benchmark, answers(benchmark, 800), 20, params=monitor(a_window=0.002))
    checks = sum((week.checks for week in found), Counter())
    assert 0 < sum(week.alarms for week in found) <= 16, checks  # Poisson passes 16 once in 2,000


def test_the_level_of_each_test_leaves_the_screen_a_wide_margin(benchmark):
    classes, others = watch.levels(monitor(), others=5)
    assert 15 * others <= benchmark.SCREEN
    assert 80 * classes <= benchmark.SCREEN_CLASSES

"""The price of one test, from a year's budget of false alarms."""

import pytest

from headstart.statistics.budget import level_per_test


def test_four_a_year_on_hourly_windows_with_six_tests():
    # a year of 365.25 days has 8,766 hours; 4 / 8,766 / 6 = 7.605e-5
    level = level_per_test(false_alarms_a_year=4.0, window_minutes=60, tests=6)
    assert level == pytest.approx(4 / 8766 / 6)


def test_all_tests_of_all_windows_together_spend_the_budget():
    level = level_per_test(false_alarms_a_year=2.0, window_minutes=1440, tests=10)
    assert level * 10 * 365.25 == pytest.approx(2.0)


def test_a_budget_beyond_one_a_window_buys_one_a_window():
    assert level_per_test(false_alarms_a_year=1000.0, window_minutes=1440, tests=5) == pytest.approx(1 / 5)


@pytest.mark.parametrize("wrong", [{"false_alarms_a_year": 0.0}, {"window_minutes": -1}, {"tests": 0}])
def test_what_is_not_positive_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        level_per_test(**{"false_alarms_a_year": 4.0, "window_minutes": 60, "tests": 6, **wrong})

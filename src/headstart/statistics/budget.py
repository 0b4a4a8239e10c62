"""Thresholds are bought: a number of false alarms a year becomes the level of one test.

4 a year, a window each hour -> 4 / 8,766 a window; 6 tests a window -> 7.6e-5 a test
"""

MINUTES_A_YEAR = 365.25 * 24 * 60


def level_per_test(*, false_alarms_a_year: float, window_minutes: float, tests: int) -> float:
    """The level at which each test of each window may alarm so that the year's budget holds.

    Bonferroni within a window, so whatever the dependence between the tests; linear over windows, as what is
    budgeted is the expected number of windows with a false alarm. A budget above one a window buys no more than that.

    Args:
        false_alarms_a_year: expected windows a year in which something alarms though nothing changed.
        window_minutes: from one window's start to the next one's.
        tests: tests made on each window.

    Returns:
        A level in (0, 1]; a test alarms when its p-value is at or below it.

    Raises:
        ValueError: if one of the three is not positive.
    """
    if min(false_alarms_a_year, window_minutes, tests) <= 0:
        raise ValueError(
            f"{false_alarms_a_year} false alarms a year, windows of {window_minutes} minutes and {tests} tests: "
            "each must be positive"
        )
    windows_a_year = MINUTES_A_YEAR / window_minutes
    return min(1.0, false_alarms_a_year / windows_a_year) / tests

"""Wilson's interval: against published values, scipy, and its exact coverage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headstart.statistics.interval import Interval, normal_quantile, wilson


def test_a_document_gives_the_interval_back():
    interval = Interval(0.5, 0.25, 0.75, 8)
    assert interval.document() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    assert Interval.from_document({**interval.document(), "unit": "share"}) == interval


def test_the_quantile_of_95_percent_is_the_well_known_1_96():
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)


def test_all_right_of_ten_is_not_certainty():
    # Wilson's lower end with every one of n a success is n / (n + z^2) = 10 / (10 + 3.8415)
    assert wilson(10, 10, 0.95).low == pytest.approx(10 / 13.8415, abs=1e-5)
    assert wilson(10, 10, 0.95).high == 1.0


def test_no_example_means_nothing_is_known():
    assert wilson(0, 0, 0.95) == Interval(0.5, 0.0, 1.0, 0)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 3000), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_agrees_with_scipy(n, share, level):
    successes = round(share * n)
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    interval = wilson(successes, n, level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize("n", [20, 100])
def test_holds_the_truth_about_as_often_as_it_says(n):
    # exact: the probability of every outcome whose interval holds the truth, averaged over truths
    truths = [step / 50 for step in range(1, 50)]
    intervals = [wilson(successes, n, 0.95) for successes in range(n + 1)]
    coverage = [
        sum(stats.binom.pmf(k, n, truth) for k, one in enumerate(intervals) if one.low <= truth <= one.high)
        for truth in truths
    ]
    assert sum(coverage) / len(coverage) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("successes", "n", "level"), [(5, 4, 0.95), (-1, 4, 0.95), (1, 4, 1.0), (1, 4, 0.0)])
def test_counts_and_levels_out_of_range_are_refused(successes, n, level):
    with pytest.raises(ValueError, match="not"):
        wilson(successes, n, level)

"""Two-sample tests: against scipy and full enumeration; level and power by simulation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headstart.statistics import two_sample
from headstart.statistics.two_sample import contingency, ks


def enumerated_ks(reference, window):
    """The p-value over every way to divide the pooled values, in plain arithmetic."""
    pooled = [*reference, *window]

    def distance(chosen):
        first = [pooled[row] for row in chosen]
        second = [value for row, value in enumerate(pooled) if row not in chosen]
        return max(
            abs(sum(v <= at for v in first) / len(first) - sum(v <= at for v in second) / len(second)) for at in pooled
        )

    observed = distance(range(len(reference)))
    divided = [distance(chosen) >= observed - 1e-12 for chosen in combinations(range(len(pooled)), len(reference))]
    return observed, sum(divided) / len(divided)


@pytest.mark.parametrize(("n", "m"), [(7, 5), (50, 30), (200, 200), (1000, 100)])
def test_ks_without_ties_agrees_with_scipys_exact_test(n, m):
    random = np.random.default_rng(n)
    reference, window = random.normal(size=n), random.normal(0.4, size=m)
    expected = stats.ks_2samp(reference, window, method="exact")
    found = ks(reference, window)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_ks_with_ties_is_the_share_of_all_divisions_at_least_as_far_apart(reference, window):
    found = ks(reference, window)
    assert (found.statistic, found.p_value) == pytest.approx(enumerated_ks(reference, window))


def test_ks_of_tied_data_is_sharper_than_the_test_that_ignores_ties():
    reference, window = np.repeat([0, 1], [900, 100]), np.repeat([0, 1], [70, 30])
    assert ks(reference, window).p_value < 0.1 * stats.ks_2samp(reference, window, method="exact").pvalue


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_ks_knows_no_order_no_scale_and_no_sides(reference, window):
    found = ks(reference, window)
    turned = ks(np.exp(window[::-1]), np.exp(reference[::-1]))
    assert (turned.statistic, turned.p_value) == pytest.approx((found.statistic, found.p_value))


def test_ks_resolves_far_beyond_one_in_a_hundred_thousand():
    # complete separation of 50 and 50: two of the C(100, 50) divisions, 2 / 1.0089e29
    assert ks(np.arange(50), np.arange(50) + 100).p_value == pytest.approx(2 / 1.0089134454556e29, rel=1e-6)


def test_ks_of_very_large_samples_takes_the_asymptotic_value(monkeypatch):
    random = np.random.default_rng(0)
    reference, window = random.normal(size=4000), random.normal(0.03, size=4000)
    exact = ks(reference, window).p_value
    monkeypatch.setattr(two_sample, "EXACT_CELLS", 1)
    assert ks(reference, window).p_value == pytest.approx(exact, rel=0.1)


def test_ks_of_nothing_says_nothing_and_nan_is_refused():
    assert ks([], [1.0]) == two_sample.Test(0.0, 1.0)
    assert ks([2.0, 2.0], [2.0]) == two_sample.Test(0.0, 1.0)
    with pytest.raises(ValueError, match="NaN"):
        ks([1.0, float("nan")], [1.0])


def test_contingency_has_pearsons_statistic_and_on_large_cells_his_p_value():
    reference, window = [3000, 1500, 500], [190, 110, 50]
    expected = stats.chi2_contingency([reference, window])
    found = contingency(reference, window, seed=1)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.3)  # stopped after 100 exceedances: a tenth, 3 times


def test_contingency_of_small_cells_is_fishers_exact_test():
    # two classes: tables with the margins fixed are ordered alike by both statistics here; Fisher's p-value is exact
    reference, window = [2, 8], [7, 3]
    found = contingency(reference, window, seed=2)
    assert found.p_value == pytest.approx(stats.fisher_exact([reference, window]).pvalue, rel=0.3)


def test_contingency_counts_the_references_own_sampling_error():
    # 400 against 400 with the same shares in both: goodness of fit against scaled reference counts alarms wrongly
    reference, window = [130, 270], [155, 245]
    scaled = stats.chisquare(window, reference).pvalue
    assert scaled < 0.01 < 0.05 < contingency(reference, window, seed=3).p_value


def test_contingency_is_the_same_for_the_same_seed_and_whatever_the_order_of_empty_classes():
    found = contingency([50, 0, 50, 0], [10, 0, 4, 0], seed=4)
    assert found == contingency([50, 0, 50, 0], [10, 0, 4, 0], seed=4)
    assert found == contingency([50, 50], [10, 4], seed=4)


@pytest.mark.parametrize(
    ("reference", "window"),
    [([5, 5], [0, 0]), ([0, 0], [5, 5]), ([9, 0], [3, 0]), ([], [])],
)
def test_contingency_says_nothing_where_there_is_nothing_to_compare(reference, window):
    assert contingency(reference, window, seed=1) == two_sample.Test(0.0, 1.0)


def test_contingency_refuses_other_classes_and_negative_counts():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        contingency([1, 2], [1, 2, 3], seed=1)
    with pytest.raises(ValueError, match="negative"):
        contingency([1, -2], [1, 2], seed=1)


def test_contingency_resolves_one_in_a_hundred_thousand():
    # a tripled class: 1,000 of 10 classes against 400 in which the first has 3 / 12
    reference, window = [100] * 10, [100] + [33] * 6 + [34] * 3
    assert contingency(reference, window, seed=5).p_value < 1e-5


@pytest.mark.slow
def test_on_clean_windows_both_tests_alarm_as_often_as_their_level_says():
    # tied, rounded values and rare classes, where asymptotic tests go wrong
    random = np.random.default_rng(6)
    shares = 1 / np.arange(1, 21)
    shares /= shares.sum()
    levels, runs = np.array([0.05, 0.01]), 600
    found = []
    for seed in range(runs):
        # the reference is drawn anew too: its error is part of what is tested
        reference, counts = np.round(random.normal(size=500), 1), random.multinomial(500, shares)
        window, seen = np.round(random.normal(size=80), 1), random.multinomial(80, shares)
        found.append((ks(reference, window).p_value, contingency(counts, seen, seed=seed).p_value))
    alarms = (np.array(found)[:, :, None] <= levels).mean(axis=0)  # (test, level)
    allowed = levels + 3 * np.sqrt(levels * (1 - levels) / runs)
    assert (alarms <= allowed).all()
    assert (alarms[:, 0] >= 0.025).all()  # and not by never alarming


@pytest.mark.slow
def test_a_tripled_class_and_a_changed_number_are_found_at_a_level_of_one_in_ten_thousand():
    random = np.random.default_rng(7)
    tripled = np.array([3.0] + [1.0] * 9) / 12
    hits = []
    for seed in range(12):
        counts, seen = random.multinomial(2000, [0.1] * 10), random.multinomial(300, tripled)
        reference, window = random.normal(size=2000), random.normal(0.5, size=300)
        hits.append((contingency(counts, seen, seed=seed).p_value <= 1e-4, ks(reference, window).p_value <= 1e-4))
    assert (np.mean(hits, axis=0) >= 0.9).all()


def test_the_chance_that_all_picked_rows_are_the_windows_is_the_hypergeometric_one():
    from scipy.stats import hypergeom

    # 3 rows picked of 300 + 40, all 3 of the 40
    expected = hypergeom(340, 40, 3).pmf(3)
    assert two_sample.all_from_window(3, 300, 40) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("window", "count", "side"),
    [([9.5, 2.0], 1, 1), ([-1.0, -2.0, 12.0], 2, -1), ([0.0, 9.0, 4.0], 0, 1), ([], 0, 1)],
)
def test_values_beyond_the_reference_are_counted_on_the_side_where_there_are_more(window, count, side):
    assert two_sample.beyond(np.arange(10.0), window)[:2] == (count, side)


def test_a_handful_of_absurd_values_among_many_sound_ones_is_told():
    reference, window = np.linspace(0, 1, 300), np.r_[np.linspace(0, 1, 95), [5.0] * 5]
    # 2 * (100 * 99 * 98 * 97 * 96) / (400 * 399 * 398 * 397 * 396)
    assert two_sample.beyond(reference, window)[2] == pytest.approx(1.8097e-3, rel=1e-3)


def test_the_test_of_values_beyond_keeps_its_level_with_ties():
    rng = np.random.default_rng(5)
    for values in (6, 1000):  # of six values ties are many
        p_values = np.array(
            [two_sample.beyond(rng.integers(values, size=50), rng.integers(values, size=20))[2] for _ in range(2000)]
        )
        for level in (0.2, 0.05, 0.01):
            assert (p_values <= level).mean() <= level + 3 * np.sqrt(level / 2000)

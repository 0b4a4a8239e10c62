"""Paired comparison: against published values and scipy; level and power of the non-inferiority test by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headstart.statistics import paired
from headstart.statistics.interval import Interval, normal_quantile


def test_agrees_with_another_implementation_of_tangos_interval():
    # the R package contingencytables (of Fagerland, Lydersen and Laake's book) prints for its data cavo_2012, 161
    # pairs, 6 and 16 of them discordant: -0.0621 (-0.1240 to -0.0054), exact McNemar P = 0.052479
    found = paired.from_counts(6, 16, 161, 0.95)
    interval = found.interval
    assert (interval.value, interval.low, interval.high) == pytest.approx((-0.0621, -0.1240, -0.0054), abs=5e-5)
    assert found.p_value == pytest.approx(0.052479, abs=5e-7)


@pytest.mark.parametrize("n", [5, 50, 1000])
def test_without_any_difference_the_interval_is_still_as_wide_as_n_allows(n):
    # with no discordant pair the score statistic at d is -n d / sqrt(n d (1 - d)); it equals z at z^2 / (n + z^2)
    z2 = normal_quantile(0.95) ** 2
    interval = paired.from_counts(0, 0, n, 0.95).interval
    assert (interval.low, interval.high) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)))


def test_counts_who_alone_was_right():
    found = paired.difference(np.array([1, 1, 1, 0, 0]) == 1, np.array([1, 0, 0, 1, 0]) == 1, 0.95)
    assert (found.wins, found.losses, found.interval.n) == (2, 1, 5)
    assert found.interval.value == pytest.approx(1 / 5)


@settings(deadline=None, max_examples=60)
@given(wins=st.integers(0, 300), losses=st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert paired.mcnemar(wins, losses) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=80)
@given(wins=st.integers(0, 40), losses=st.integers(0, 40), agree=st.integers(0, 100), level=st.floats(0.5, 0.99))
def test_swapping_the_two_models_turns_the_interval_round(wins, losses, agree, level):
    n = wins + losses + agree
    ours = paired.from_counts(wins, losses, n, level).interval
    theirs = paired.from_counts(losses, wins, n, level).interval
    assert ours.low <= ours.value <= ours.high
    assert (ours.low, ours.high) == pytest.approx((-theirs.high, -theirs.low), abs=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        pytest.param(-0.01, 0.03, "pass", id="worse by less than the margin at most"),
        pytest.param(-0.05, -0.03, "fail", id="worse by more than the margin at least"),
        pytest.param(-0.05, 0.03, "unsure", id="both are possible"),
        pytest.param(-0.02, 0.03, "unsure", id="the margin itself is possible"),
    ],
)
def test_three_answers(low, high, verdict):
    assert paired.non_inferior(Interval((low + high) / 2, low, high, 100), 0.02) == verdict


@pytest.mark.parametrize(
    ("drop", "differing", "n"), [(0.005, 0.01, 2470), (0.01, 0.02, 1230), (0.01, 0.03, 1850), (0.02, 0.05, 770)]
)
def test_sample_sizes_are_those_found_by_simulation(drop, differing, n):
    assert paired.sample_size(drop, differing, 0.05, 0.8) == pytest.approx(n, rel=0.005)


def test_impossible_counts_and_drops_are_refused():
    with pytest.raises(ValueError, match="3 wins and 2 losses of 4 examples"):
        paired.from_counts(3, 2, 4, 0.95)
    with pytest.raises(ValueError, match=r"a drop of 0\.1 where 0\.05"):
        paired.sample_size(0.1, 0.05, 0.05, 0.8)
    with pytest.raises(ValueError, match="not paired"):
        paired.difference(np.ones(3, dtype=bool), np.ones(2, dtype=bool), 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "differing", "margin"), [(100, 0.06, 0.02), (400, 0.05, 0.02), (3000, 0.03, 0.005)])
def test_a_candidate_worse_by_the_margin_passes_no_more_often_than_the_level(n, differing, margin):
    random = np.random.default_rng(4)
    shares = [(differing - margin) / 2, (differing + margin) / 2, 1 - differing]  # wins, losses, the rest
    passed = [
        paired.non_inferior(paired.from_counts(int(wins), int(losses), n, 0.9).interval, margin) == "pass"
        for wins, losses, _ in random.multinomial(n, shares, size=2000)
    ]
    assert np.mean(passed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
def test_the_sample_size_gives_the_power_it_promises():
    n = paired.sample_size(0.02, 0.05, 0.05, 0.8)
    random = np.random.default_rng(5)
    draws = random.multinomial(n, [0.025, 0.025, 0.95], size=2000)  # equally good, margin 0.02
    passed = [
        paired.non_inferior(paired.from_counts(int(wins), int(losses), n, 0.9).interval, 0.02) == "pass"
        for wins, losses, _ in draws
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.04)


def test_groups_of_one_or_none_change_nothing_and_larger_ones_never_narrow():
    a, b = np.arange(60) % 3 > 0, np.arange(60) % 5 > 0
    alone = paired.difference(a, b, 0.9)
    assert paired.difference(a, b, 0.9, [None] * 60) == paired.difference(a, b, 0.9, [str(row) for row in range(60)])
    assert paired.difference(a, b, 0.9, [None] * 60) == alone
    grouped = paired.difference(a, b, 0.9, [str(row // 20) for row in range(60)])
    assert grouped.interval.low <= alone.interval.low and grouped.interval.high >= alone.interval.high
    assert grouped.p_value == alone.p_value
    one = paired.difference(a, b, 0.9, ["all"] * 60).interval
    assert (one.low, one.high) == (-1.0, 1.0)


def test_the_clustered_interval_by_hand():
    # groups sum to 3, 1, 2 and -2 of 4 examples each: mean 4 / 16; residuals 2, 0, 1, -3 from the mean sum of 1;
    # standard error sqrt(4 / 3 * 14) / 16 = 0.27003, t(0.95, 3 degrees) = 2.35336
    signs = [1, 1, 1, 0, 1, 1, -1, 0, 1, 1, 0, 0, -1, -1, 0, 0]
    a, b = np.array(signs) == 1, np.array(signs) == -1
    interval = paired.difference(a, b, 0.9, [str(row // 4) for row in range(16)]).interval
    assert (interval.value, interval.low) == pytest.approx((0.25, 0.25 - 2.35336 * 0.27003), abs=1e-4)


@pytest.mark.parametrize(("groups", "each"), [(200, 1), (60, 10), (30, 20), (12, 25)])
def test_equally_good_models_are_told_apart_as_often_as_the_level_says_however_examples_are_grouped(groups, each):
    # each model has a gift of its own for each group: right on a share drawn from Beta(4.2, 1.8), 0.7 on average
    generator, told, trials = np.random.default_rng(1), 0, 400
    together = [str(row // each) for row in range(groups * each)]
    for _ in range(trials):
        gifts = np.repeat(generator.beta(4.2, 1.8, (2, groups)), each, axis=1)
        right = generator.random(gifts.shape) < gifts
        interval = paired.difference(right[0], right[1], 0.9, together).interval
        told += not interval.low <= 0 <= interval.high
    assert told / trials <= 0.1 + 3 * (0.1 * 0.9 / trials) ** 0.5

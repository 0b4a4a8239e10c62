"""E-values of bounded means: by hand, by their promise under the hypothesis, and by what they are used for."""

import itertools

import numpy as np
import pytest

from headstart.statistics import betting


def test_one_value_gives_the_mean_of_what_each_bet_returns():
    # bar 0.5, least 0: bets are 2 s for a share s, a value of 1 returns 1 + 2 s * 0.5 = 1 + s
    # shares 1/2 ... 1/1024 sum to 1023/1024, then 0.75, 0.9, 0.99: (13 + 0.999023 + 2.64) / 13
    assert betting.above([1.0], 0.5, least=0.0) == pytest.approx((13 + 1023 / 1024 + 2.64) / 13)
    assert betting.above([0.0], 0.5, least=0.0) == pytest.approx((13 - 1023 / 1024 - 2.64) / 13)


def test_nothing_seen_is_no_evidence():
    assert betting.above([], 0.1, least=0.0) == betting.below([], 0.1, most=1.0) == 1.0


@pytest.mark.parametrize("bar", [0.01, 0.3])
def test_the_expected_evidence_at_the_bar_is_one(bar):
    """Over every sequence of six values 0 and 1, weighted by its probability where the hypothesis just holds."""
    expected = sum(
        bar ** sum(values) * (1 - bar) ** (6 - sum(values)) * betting.above(values, bar, least=0.0)
        for values in itertools.product([0.0, 1.0], repeat=6)
    )
    assert expected == pytest.approx(1.0)


def test_a_mean_below_the_bar_is_the_mirror_image():
    values = [0.1, 0.0, 0.4]
    assert betting.below(values, 0.3, most=1.0) == betting.above([0.9, 1.0, 0.6], 0.7, least=0.0)


def test_values_may_come_as_counts_and_in_any_order():
    values = [-1.0, 0.0, 0.0, 1.0, 0.0]
    counted = betting.above([0.0, 1.0, -1.0], -0.02, least=-1.0, counts=[3, 1, 1])
    assert betting.above(values, -0.02, least=-1.0) == pytest.approx(counted)


def test_evidence_can_only_fall_where_a_value_is_replaced_by_a_smaller_one():
    known = betting.above([0.0] * 300 + [1.0, 0.0, -1.0], -0.02, least=-1.0)
    assert betting.above([0.0] * 300 + [-1.0, -1.0, -1.0], -0.02, least=-1.0) < known


def test_the_highest_evidence_is_that_of_the_best_moment():
    values = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    moments = [betting.above(values[:end], 0.4, least=0.0) for end in range(len(values) + 1)]
    assert betting.highest_above(values, 0.4, least=0.0) == pytest.approx(max(moments)) == pytest.approx(moments[4])
    assert betting.highest_above([0.0, 0.0], 0.4, least=0.0) == betting.highest_above([], 0.4, least=0.0) == 1.0


def test_overwhelming_evidence_is_large_and_no_overflow():
    assert betting.above([1.0], 0.01, least=0.0, counts=[10_000]) == np.inf
    assert betting.above([0.0], 0.01, least=0.0, counts=[10_000_000]) == 0.0


def test_a_value_out_of_range_is_refused():
    with pytest.raises(ValueError, match="must not be below 0"):
        betting.above([-0.1], 0.5, least=0.0)


def test_a_true_hypothesis_is_rejected_at_its_level_at_most_however_often_one_looks():
    """600 streams at the bar, looked at after each of 500 values: at most 1 in 20, and chance on top."""
    generator = np.random.default_rng(1)
    streams = generator.random((600, 500)) < 0.05
    bets = betting.SHARES / 0.05
    ones = np.cumsum(streams, axis=1)[..., None]
    zeros = np.arange(1, 501)[None, :, None] - ones
    paths = np.exp(ones * np.log1p(bets * 0.95) + zeros * np.log1p(-bets * 0.05)).mean(axis=2)
    for row in (0, 7):
        assert paths[row, -1] == pytest.approx(betting.above(streams[row].astype(float), 0.05, least=0.0))
    assert (paths.max(axis=1) >= 20).mean() <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5

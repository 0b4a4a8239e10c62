"""Intervals where examples come in groups: by hand, and by simulation."""

import math

import numpy as np
import pytest

from headstart.statistics import bootstrap, clustered, paired
from headstart.statistics.clustered import Scatter
from headstart.statistics.interval import wilson


def test_a_share_by_hand():
    # groups answer 4, 1, 3 and 0 of 4 rightly: share 8/16; residuals 2, -1, 1, -2; sqrt(4 / 3 * 10) / 16 = 0.228218;
    # t(0.95, 3 degrees) = 2.353363, so half a width of 0.537079, cut off at 0 and 1
    right = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]) == 1
    groups = [str(row // 4) for row in range(16)]
    scatter = Scatter.of(right.astype(float), groups)
    assert (scatter.groups, scatter.error) == (4, pytest.approx(0.228218, abs=1e-6))
    found = clustered.share(right, 0.9, groups)
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 16)
    narrower = clustered.share(right, 0.5, groups)  # t(0.75, 3 degrees) = 0.764892
    assert (narrower.low, narrower.high) == pytest.approx((0.5 - 0.174562, 0.5 + 0.174562), abs=1e-5)


@pytest.mark.parametrize("groups", [None, [None] * 40, [str(row) for row in range(40)]])
def test_examples_that_are_alone_change_nothing(groups):
    right = np.arange(40) % 3 > 0
    assert clustered.share(right, 0.9, groups) == wilson(26, 40, 0.9)
    assert clustered.places(groups, 40) is None
    plain = bootstrap.interval(bootstrap.mean, right * 1.0, resamples=50, level=0.9, seed=1)
    assert bootstrap.interval(bootstrap.mean, right * 1.0, resamples=50, level=0.9, seed=1, groups=groups) == plain


def test_of_a_single_group_nothing_is_known_and_that_can_be_kept_as_json():
    scatter = Scatter.of(np.ones(5), ["a"] * 5)
    assert clustered.share(np.ones(5, dtype=bool), 0.9, ["a"] * 5).low == 0.0
    assert scatter.document() == {"groups": 1, "error": None}
    assert Scatter.from_document(scatter.document()) == Scatter(1, math.inf)


def test_counts_that_were_kept_give_the_interval_at_any_level():
    generator = np.random.default_rng(3)
    a, b = generator.random(90) < 0.8, generator.random(90) < 0.6
    groups = [str(row // 9) for row in range(90)]
    assert "scatter" not in paired.difference(a, b, 0.95).counts()
    kept = paired.difference(a, b, 0.95, groups).counts()
    scatter = Scatter.from_document(kept["scatter"])
    again = paired.from_counts(kept["wins"], kept["losses"], kept["n"], 0.9, scatter)
    assert again == paired.difference(a, b, 0.9, groups)


def test_groups_that_do_not_fit_the_examples_are_refused():
    with pytest.raises(ValueError, match="3 groups of 4 examples"):
        clustered.share(np.ones(4, dtype=bool), 0.9, ["a", "b", "c"])


def test_the_bootstrap_draws_whole_groups():
    values = np.repeat([0.0, 1.0, 5.0], [2, 3, 4])
    groups = [str(value) for value in values]
    seen = []

    def statistic(sample):
        seen.append(sample[0])
        return sample.mean(axis=1)

    bootstrap.interval(statistic, values, resamples=40, level=0.9, seed=2, groups=groups)
    for sample in seen[1:]:
        counts = [int((sample == value).sum()) for value in (0.0, 1.0, 5.0)]
        assert [count % size for count, size in zip(counts, (2, 3, 4), strict=True)] == [0, 0, 0]
        assert sum(count // size for count, size in zip(counts, (2, 3, 4), strict=True)) == 3


@pytest.mark.parametrize(("groups", "each", "rate"), [(200, 1, 0.1), (60, 10, 0.1), (20, 25, 0.1), (30, 20, 0.1)])
def test_a_share_is_missed_as_often_as_the_level_says_however_examples_are_grouped(groups, each, rate):
    # each group is right on a share of its own, drawn from Beta(4.2, 1.8): 0.7 on average
    generator, trials = np.random.default_rng(1), 400
    missed, missed_alone, missed_drawn = 0, 0, 0
    together = [str(row // each) for row in range(groups * each)]
    for trial in range(trials):
        gifts = np.repeat(generator.beta(4.2, 1.8, groups), each)
        right = generator.random(len(gifts)) < gifts
        found, alone = clustered.share(right, 0.9, together), clustered.share(right, 0.9)
        missed += not found.low <= 0.7 <= found.high
        missed_alone += not alone.low <= 0.7 <= alone.high
        if trial < 200:
            drawn = bootstrap.interval(
                bootstrap.mean, right * 1.0, resamples=200, level=0.9, seed=trial, groups=together
            )
            missed_drawn += not drawn.low <= 0.7 <= drawn.high
    allowed = 3 * (rate * (1 - rate) / trials) ** 0.5
    assert missed / trials <= rate + allowed
    assert missed_drawn / 200 <= rate + 3 * (rate * (1 - rate) / 200) ** 0.5
    if each > 1:
        assert missed_alone / trials > 0.25  # what counting rows as independent does

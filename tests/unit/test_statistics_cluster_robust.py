"""Intervals where examples come in groups: by hand, and by simulation."""

import math

import numpy as np
import pytest

from headstart.statistics import bootstrap, cluster_robust, paired
from headstart.statistics.cluster_robust import ClusterRobust
from headstart.statistics.interval import wilson


def test_a_share_by_hand():
    # groups answer 4, 1, 3 and 0 of 4 rightly: share 8/16; residuals 2, -1, 1, -2; sqrt(4 / 3 * 10) / 16 = 0.228218;
    # t(0.95, 3 degrees) = 2.353363, so half a width of 0.537079, cut off at 0 and 1
    right = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]) == 1
    groups = [str(row // 4) for row in range(16)]
    robust = ClusterRobust.of(right.astype(float), groups)
    assert (robust.groups, robust.error) == (4, pytest.approx(0.228218, abs=1e-6))
    found = cluster_robust.share(right, 0.9, groups)
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 16)
    narrower = cluster_robust.share(right, 0.5, groups)  # t(0.75, 3 degrees) = 0.764892
    assert (narrower.low, narrower.high) == pytest.approx((0.5 - 0.174562, 0.5 + 0.174562), abs=1e-5)


@pytest.mark.parametrize("groups", [None, [None] * 40, [str(row) for row in range(40)]])
def test_examples_that_are_alone_change_nothing(groups):
    right = np.arange(40) % 3 > 0
    assert cluster_robust.share(right, 0.9, groups) == wilson(26, 40, 0.9)
    assert cluster_robust.places(groups, 40) is None
    plain = bootstrap.interval(bootstrap.mean, right * 1.0, resamples=50, level=0.9, seed=1)
    assert bootstrap.interval(bootstrap.mean, right * 1.0, resamples=50, level=0.9, seed=1, groups=groups) == plain


def test_of_a_single_group_nothing_is_known_and_that_can_be_kept_as_json():
    robust = ClusterRobust.of(np.ones(5), ["a"] * 5)
    assert cluster_robust.share(np.ones(5, dtype=bool), 0.9, ["a"] * 5).low == 0.0
    assert robust.document() == {"groups": 1, "effective": 1.0, "error": None}
    assert ClusterRobust.from_document(robust.document()) == ClusterRobust(1, 1.0, math.inf)
    drawn = bootstrap.interval(
        bootstrap.mean, np.arange(5) / 5, resamples=9, level=0.9, seed=1, groups=["a"] * 5, within=(0.0, 1.0)
    )
    assert (drawn.low, drawn.high) == (0.0, 1.0)


def test_leaving_one_group_out_by_hand():
    # groups of 1, 2 and 5 answer 1, 1 and 2 rightly: share 1/2; without each 3/7, 3/6 and 2/3;
    # error sqrt(2/3 * (1/196 + 0 + 1/36)); effective 64 / 30 groups
    right = np.array([1, 1, 0, 1, 1, 0, 0, 0]) == 1
    robust = ClusterRobust.of(right.astype(float), ["a", "b", "b", "c", "c", "c", "c", "c"])
    assert robust.effective == pytest.approx(64 / 30)
    assert robust.error == pytest.approx(math.sqrt(2 / 3 * (1 / 196 + 1 / 36)))


def test_the_error_of_a_mean_by_hand():
    # 0, 0, 1, 1: variance 1/3, over 4 is 1/12; as two groups alike within, leaving either out moves the mean by 1/2
    values = np.array([0.0, 0.0, 1.0, 1.0])
    assert cluster_robust.error(values) == pytest.approx((1 / 12) ** 0.5)
    assert cluster_robust.error(values, ["a", "a", "b", "b"]) == pytest.approx(0.5)
    assert cluster_robust.error(values, ["a", "b", "a", "b"]) == pytest.approx(
        (1 / 12) ** 0.5
    )  # never below rows alone
    assert cluster_robust.error(np.array([0.3])) == 0.0


def test_where_few_groups_err_as_many_examples_as_groups_stand_in():
    groups = [str(row // 250) for row in range(1000)]
    assert cluster_robust.share(np.ones(1000, dtype=bool), 0.95, groups).low == wilson(4, 4, 0.95).low


def test_counts_that_were_kept_give_the_interval_at_any_level():
    generator = np.random.default_rng(3)
    a, b = generator.random(90) < 0.8, generator.random(90) < 0.6
    groups = [str(row // 9) for row in range(90)]
    assert "cluster_robust" not in paired.difference(a, b, 0.95).counts()
    kept = paired.difference(a, b, 0.95, groups).counts()
    robust = ClusterRobust.from_document(kept["cluster_robust"])
    again = paired.from_counts(kept["wins"], kept["losses"], kept["n"], 0.9, robust)
    assert again == paired.difference(a, b, 0.9, groups)


def test_groups_that_do_not_fit_the_examples_are_refused():
    with pytest.raises(ValueError, match="3 groups of 4 examples"):
        cluster_robust.share(np.ones(4, dtype=bool), 0.9, ["a", "b", "c"])


def test_the_bootstrap_draws_whole_groups():
    values = np.repeat([0.0, 1.0, 5.0], [2, 3, 4])
    groups = [str(value) for value in values]
    seen = []

    def statistic(sample):
        seen.append(sample[0])
        return sample.mean(axis=1)

    bootstrap.interval(statistic, values, resamples=40, level=0.9, seed=2, groups=groups)
    for sample in seen[41:]:  # before come the value itself and the rows alone
        counts = [int((sample == value).sum()) for value in (0.0, 1.0, 5.0)]
        assert [count % size for count, size in zip(counts, (2, 3, 4), strict=True)] == [0, 0, 0]
        assert sum(count // size for count, size in zip(counts, (2, 3, 4), strict=True)) == 3


def beta(sizes, generator):
    """Each group is right on a share of its own, drawn from Beta(4.2, 1.8): 0.7 on average."""
    return generator.beta(4.2, 1.8, len(sizes)), 0.7


def rarely_bad(sizes, generator):
    """Each tenth group, drawn by chance, is right on half, all others always: 0.95 on average."""
    return np.where(generator.random(len(sizes)) < 0.1, 0.5, 1.0), 0.95


@pytest.mark.parametrize("gifts", [beta, rarely_bad])
@pytest.mark.parametrize(
    ("sizes", "by_rows"),
    [
        pytest.param([1] * 200, 0.0, id="alone"),
        pytest.param([10] * 60, 0.2, id="60 of 10"),
        pytest.param([25] * 20, 0.2, id="20 of 25"),
        pytest.param([100] * 5, 0.3, id="5 of 100"),
        pytest.param([300, *[1] * 100], 0.2, id="one large, 100 alone"),
        pytest.param([256, 128, 64, 32, 16, 8, 4, 2, 1], 0.3, id="halves"),
    ],
)
def test_intervals_miss_no_more_often_than_the_level_says_however_examples_are_grouped(sizes, by_rows, gifts):
    generator, trials = np.random.default_rng(1), 300
    together = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    missed = {"groups": 0, "rows": 0, "bootstrap": 0}
    for trial in range(trials):
        own, truth = gifts(sizes, generator)
        right = generator.random(len(together)) < np.repeat(own, sizes)
        found = {"groups": cluster_robust.share(right, 0.9, together), "rows": cluster_robust.share(right, 0.9)}
        if trial < 100 and gifts is beta:
            found["bootstrap"] = bootstrap.interval(
                bootstrap.mean, right * 1.0, resamples=150, level=0.9, seed=trial, groups=together, within=(0.0, 1.0)
            )
        for name, interval in found.items():
            missed[name] += not interval.low <= truth <= interval.high
    assert missed["groups"] / trials <= 0.1 + 3 * (0.1 * 0.9 / trials) ** 0.5
    assert missed["bootstrap"] / 100 <= 0.1 + 3 * (0.1 * 0.9 / 100) ** 0.5
    assert missed["rows"] / trials >= by_rows  # what counting rows as independent does

"""The bootstrap: against scipy's, by hand where that is possible, and its coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from headstart.errors import DataError
from headstart.evaluation import metrics
from headstart.statistics import bootstrap


def test_agrees_with_scipy_on_a_mean():
    sample = np.random.default_rng(0).exponential(size=200)
    ours = bootstrap.interval(bootstrap.mean, sample, resamples=20_000, level=0.9, seed=1)
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.value == pytest.approx(sample.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_symmetric_interval_reaches_as_far_down_as_up():
    sample = np.random.default_rng(0).exponential(size=50)
    plain = bootstrap.interval(bootstrap.mean, sample, resamples=500, level=0.9, seed=1)
    symmetric = bootstrap.interval(bootstrap.mean, sample, resamples=500, level=0.9, seed=1, method="symmetric")
    assert symmetric.high == plain.high
    assert symmetric.value - symmetric.low == pytest.approx(plain.high - plain.value)


def test_paired_arrays_are_resampled_together():
    # b is a + 1 row by row, so every resample's difference of means is exactly 1
    a = np.arange(30, dtype=float)
    gap = bootstrap.interval(lambda x, y: (y - x).mean(axis=1), a, a + 1, resamples=200, level=0.95, seed=3)
    assert (gap.low, gap.value, gap.high) == (1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    sample = np.random.default_rng(0).normal(size=5000)  # more than one batch of resamples
    first, again, other = (
        bootstrap.interval(bootstrap.mean, sample, resamples=1000, level=0.95, seed=seed) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_no_example_and_unequal_lengths_are_refused():
    with pytest.raises(DataError, match=r"arrays of \[0\] examples"):
        bootstrap.interval(bootstrap.mean, np.zeros(0), resamples=10, level=0.9, seed=1)
    with pytest.raises(DataError, match=r"arrays of \[3, 2\] examples"):
        bootstrap.interval(lambda a, b: a.mean(axis=1), np.zeros(3), np.zeros(2), resamples=10, level=0.9, seed=1)


@pytest.mark.slow
def test_a_mean_is_held_about_as_often_as_the_level_says():
    random = np.random.default_rng(1)
    held = 0
    for seed in range(400):
        interval = bootstrap.interval(bootstrap.mean, random.exponential(size=100), resamples=500, level=0.9, seed=seed)
        held += interval.low <= 1.0 <= interval.high
    assert 0.85 <= held / 400 <= 0.94  # 0.9 less the known shortfall on skewed data, within three standard errors


@pytest.mark.slow
@pytest.mark.parametrize("overconfident", [0.0, 0.1])
def test_a_model_whose_calibration_error_is_the_bar_rarely_shows_an_interval_below_it(overconfident):
    # the upper end is what the gate rests on: at level 0.95 it may lie below the truth 2.5% of the time
    random = np.random.default_rng(2)

    def draw(n):
        confidence = np.clip(random.beta(5, 1, size=n), 0.5, 0.999)
        right = random.random(n) < confidence - overconfident
        return np.stack([confidence, 1 - confidence], axis=1), np.where(right, 0, 1)

    true = metrics.expected_calibration_error(*draw(2_000_000), 15)
    missed = fooled = 0
    for seed in range(200):
        place, gap = metrics.calibration_gaps(*draw(400), 15)
        interval = bootstrap.interval(
            lambda cell, off: metrics.calibration_error_each(cell, off, 15),
            place, gap, resamples=400, level=0.95, seed=seed, method="symmetric",
        )  # fmt: skip
        missed += interval.high < true
        if overconfident:
            fooled += interval.low > true
    assert missed / 200 <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 200)
    assert fooled / 200 <= 0.06  # a lower end above the truth: of a model that is off, no more than about as often

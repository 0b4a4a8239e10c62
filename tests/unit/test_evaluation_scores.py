"""Metrics with intervals: consistent, honest at the ends, and quick."""

import time

import numpy as np
import pytest

from headstart.evaluation import metrics, scores
from headstart.statistics.bootstrap import Sampling

SAMPLING = Sampling(resamples=1000, level=0.95, seed=11)


def answers(examples, classes, accuracy, seed=0):
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, size=examples)
    named = np.where(random.random(examples) < accuracy, targets, (targets + 1) % classes)
    probabilities = np.full((examples, classes), 0.1 / (classes - 1))
    probabilities[np.arange(examples), named] = 0.9
    return probabilities, targets


def test_every_value_lies_in_its_interval_and_is_the_plain_metric():
    probabilities, targets = answers(400, 5, 0.8)
    found = scores.score(probabilities, targets, bins=15, sampling=SAMPLING)
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy(predicted, targets))
    assert found["macro_f1"].value == pytest.approx(metrics.macro_f1(predicted, targets, 5))
    assert found["nll"].value == pytest.approx(metrics.surprise(probabilities, targets).mean())
    assert found["ece"].value == pytest.approx(metrics.expected_calibration_error(probabilities, targets, 15))
    for interval in found.values():
        assert interval.low < interval.value < interval.high
        assert interval.n == 400


def test_a_perfect_score_on_few_examples_is_no_certainty():
    probabilities, targets = answers(20, 3, 1.0)
    found = scores.labelled(probabilities.argmax(axis=1), targets, 3, SAMPLING)
    assert found["macro_f1"].value == 1.0
    # Wilson's lower end of 20 out of 20 is 20 / (20 + 3.8415)
    assert found["macro_f1"].low == pytest.approx(20 / 23.8415, abs=1e-4)


def test_calibration_error_never_leaves_its_range():
    probabilities, targets = answers(30, 3, 0.9)
    found = scores.probabilistic(probabilities, targets, bins=15, sampling=SAMPLING)
    assert 0.0 <= found["ece"].low <= found["ece"].high <= 1.0


def test_a_thousand_resamples_of_3000_examples_of_77_classes_take_seconds():
    probabilities, targets = answers(3000, 77, 0.93)
    started = time.process_time()
    scores.score(probabilities, targets, bins=15, sampling=SAMPLING)
    assert time.process_time() - started < 5.0


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "classes"), [(300, 10), (1000, 30)])
def test_macro_f1_is_seldom_worse_than_the_interval_says(examples, classes):
    # errors are uniform over classes, so with equal priors the true macro-F1 is near the accuracy of a huge sample
    big, truth = answers(1_000_000, classes, 0.9, seed=99)
    true = metrics.macro_f1(big.argmax(axis=1), truth, classes)
    sampling = Sampling(resamples=300, level=0.95, seed=1)
    overstated = 0
    for seed in range(200):
        probabilities, targets = answers(examples, classes, 0.9, seed=seed)
        interval = scores.labelled(probabilities.argmax(axis=1), targets, classes, sampling)["macro_f1"]
        overstated += interval.low > true
    assert overstated / 200 <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 200)

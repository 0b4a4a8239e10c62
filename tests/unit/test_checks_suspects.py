"""Confident learning: the confident joint by hand, and planted flips."""

import numpy as np

from headstart.data.checks import suspects


def test_a_row_is_suspected_where_only_another_class_reaches_its_threshold():
    # thresholds: class 0 mean(.9, .8, .1) = .6, class 1 mean(.9, .7) = .8
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7]])
    labels = np.array([0, 0, 0, 1, 1])
    [found] = suspects.find(probabilities, labels)
    assert (found.row, found.suggested, found.given, found.other) == (2, 1, 0.1, 0.9)


def test_a_row_that_reaches_no_threshold_is_left_alone():
    # the last row leans to class 1 by .6, below that class's threshold of .9
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    assert suspects.find(probabilities, np.array([0, 1, 0])) == []


def test_planted_flips_are_found_and_the_likeliest_come_first():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 4, 1000)
    logits = generator.normal(size=(1000, 4)) + 4.0 * np.eye(4)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = generator.permutation(1000)[:50]
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1) % 4
    found = [suspect.row for suspect in suspects.find(probabilities, labels)]
    assert len(set(found) & set(flipped)) >= 35  # seven in ten, as on real sets
    assert len(set(found[:30]) & set(flipped)) >= 29


def test_a_class_without_a_row_is_never_suggested():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.1, 0.6], [0.2, 0.7, 0.1]])
    assert all(suspect.suggested != 2 for suspect in suspects.find(probabilities, np.array([0, 0, 1])))

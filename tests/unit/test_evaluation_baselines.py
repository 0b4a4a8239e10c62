"""Baselines: they learn what is easy, and take what comes."""

import numpy as np
import pytest

from headstart.evaluation import baselines

EFFORT = {"strength": 1.0, "iterations": 100}


def test_majority_answers_the_commonest_class_and_of_equals_the_first():
    assert baselines.majority(np.array([2, 0, 2]), 4).tolist() == [2, 2, 2, 2]
    assert baselines.majority(np.array([1, 0]), 2).tolist() == [0, 0]


def test_words_that_give_the_class_away_are_learned():
    train = ["red apple", "green apple", "red rose", "fast car", "old car", "fast bus"] * 3
    found = baselines.tfidf_logistic(train, np.array([0, 0, 0, 1, 1, 1] * 3), ["a red car", "rose", "bus"], **EFFORT)
    assert found.tolist()[1:] == [0, 1]


def test_texts_without_a_word_are_answered_too():
    found = baselines.tfidf_logistic(["!!!", "???", "!", "?"], np.array([0, 1, 0, 1]), ["", "?!", "!!"], **EFFORT)
    assert len(found) == 3
    assert found[2] == 0


def test_one_class_alone_is_answered_always():
    assert baselines.tfidf_logistic(["a b", "b c"], np.array([3, 3]), ["c"], **EFFORT).tolist() == [3]


def test_bright_and_dark_pictures_are_told_apart_whatever_is_constant():
    random = np.random.default_rng(0)
    train = random.normal(0, 0.1, size=(40, 9)).astype(np.float32)
    train[20:, :4] += 1.0
    train[:, 8] = 7.0  # never varies
    targets = np.repeat([0, 1], 20)
    assert baselines.pixels_logistic(train, targets, train, **EFFORT).tolist() == targets.tolist()


def test_a_thumbnail_averages_down_to_sixteen_a_side_and_leaves_small_pictures_alone():
    small = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert baselines.thumbnail(small).tolist() == small.ravel().tolist()
    large = np.repeat(np.repeat(np.arange(256, dtype=np.float32).reshape(1, 16, 16), 3, axis=1), 2, axis=2)
    assert baselines.thumbnail(large).tolist() == list(range(256))  # (1, 48, 32): each cell repeated 3 x 2
    uneven = np.ones((3, 50, 37), dtype=np.float32)
    assert baselines.thumbnail(uneven) == pytest.approx(np.ones(3 * 256))


def test_handwritten_digits_are_read_about_as_well_as_logistic_regression_is_known_to():
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)
    found = baselines.pixels_logistic(pixels[::2], targets[::2], pixels[1::2], **EFFORT)
    assert (found == targets[1::2]).mean() > 0.93

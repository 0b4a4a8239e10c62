"""Metrics: by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.evaluation import metrics

CONFIDENT = np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.4, 0.6]])


@pytest.fixture
def answers():
    """300 examples of 7 classes, 5 of which occur; probabilities, targets."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(300, 7))
    targets = random.choice(5, size=300, p=[0.6, 0.2, 0.1, 0.07, 0.03])
    logits[np.arange(300), targets] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, targets.astype(np.int64)


def test_agree_with_scikit_learn(answers):
    probabilities, targets = answers
    predicted = probabilities.argmax(axis=1)
    assert metrics.accuracy(predicted, targets) == pytest.approx(sk.accuracy_score(targets, predicted))
    assert metrics.macro_f1(predicted, targets, 7) == pytest.approx(sk.f1_score(targets, predicted, average="macro"))
    assert metrics.surprise(probabilities, targets).mean() == pytest.approx(
        sk.log_loss(targets, probabilities, labels=range(7))
    )
    table = metrics.confusion(predicted, targets, 7)
    assert (table == sk.confusion_matrix(targets, predicted, labels=range(7))).all()
    expected = sk.precision_recall_fscore_support(targets, predicted, labels=range(7), zero_division=0)
    rows = metrics.per_class(table)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(column))


def test_macro_f1_of_many_samples_at_once_is_that_of_each(answers):
    probabilities, targets = answers
    predicted = probabilities.argmax(axis=1)
    rows = np.random.default_rng(1).integers(0, 300, size=(4, 40))
    each = metrics.macro_f1_each(predicted[rows], targets[rows], 7)
    assert each == pytest.approx([sk.f1_score(targets[row], predicted[row], average="macro") for row in rows])


def test_an_answer_outside_the_classes_is_a_miss_but_no_class():
    # class 0: 1 of 2 found, never named wrongly: F1 = 2 / 3; class 1: found: F1 = 1; their mean is 5 / 6
    assert metrics.macro_f1(np.array([0, 2, 1]), np.array([0, 0, 1]), 2) == pytest.approx(5 / 6)


def test_calibration_error_matches_the_value_worked_out_by_hand():
    # bin of 0.9: one of two right, gap |0.5 - 0.9| = 0.4, half the examples
    # bin of 0.6: two of two right, gap |1.0 - 0.6| = 0.4, half the examples
    targets = np.array([0, 0, 1, 1])
    assert metrics.expected_calibration_error(CONFIDENT, targets, 15) == pytest.approx(0.4)


def test_reliability_shows_the_same_bins_and_empty_ones_as_empty():
    rows = metrics.reliability(CONFIDENT, np.array([0, 0, 1, 1]), 5)
    assert [row["n"] for row in rows] == [0, 0, 2, 0, 2]  # 0.6 closes (0.4, 0.6]
    assert rows[2] == {
        "low": 0.4,
        "high": 0.6,
        "n": 2,
        "confidence": pytest.approx(0.6),
        "accuracy": 1.0,
    }
    assert rows[0]["confidence"] is None


def test_reliability_weighted_by_its_bins_is_the_calibration_error(answers):
    rows = metrics.reliability(*answers, 15)
    weighted = sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in rows if row["n"]) / 300
    assert metrics.expected_calibration_error(*answers, 15) == pytest.approx(weighted)


def test_a_probability_of_zero_for_the_truth_costs_much_but_not_infinitely_much():
    assert metrics.surprise(np.array([[1.0, 0.0]]), np.array([1])).mean() == pytest.approx(-np.log(1e-15))


def test_logits_are_refused_with_the_row_that_gave_them_away():
    with pytest.raises(DataError, match=r"row 0 of probabilities sums to 5\.0000.*logits\?"):
        metrics.expected_calibration_error(np.array([[4.0, 1.0]]), np.array([0]), 15)
    with pytest.raises(DataError, match=r"row 1 of probabilities.*smallest value is -0\.5000"):
        metrics.surprise(np.array([[0.5, 0.5], [1.5, -0.5]]), np.array([0, 0])).mean()
    with pytest.raises(DataError, match=r"row 0 of probabilities sums to nan"):
        metrics.check(np.array([[np.nan, 1.0]]))


def test_nothing_can_be_measured_on_no_example():
    with pytest.raises(DataError, match="there is no example"):
        metrics.accuracy(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

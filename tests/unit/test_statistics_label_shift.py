"""Class shares without labels: by hand where that can be, else against a general optimiser and known truths."""

import numpy as np
import pytest
from scipy.optimize import minimize

from headstart.statistics import label_shift


def posterior(values, shares, means, spread=1.0):
    """P(class | value) for classes that are normal around `means`, and come in `shares`."""
    joint = shares * np.exp(-((values[:, None] - means) ** 2) / (2 * spread**2))
    return joint / joint.sum(axis=1, keepdims=True)


def drawn(shares, n, seed, means=(0.0, 2.0, 4.0)):
    """Values of three overlapping classes, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), size=n, p=shares)
    return random.normal(np.array(means)[labels]), labels


MEANS = np.array([0.0, 2.0, 4.0])
EVEN = np.array([1 / 3, 1 / 3, 1 / 3])
TRIPLED = np.array([0.7, 0.2, 0.1])


def test_certain_answers_are_counted():
    # three of four examples are surely of the first class
    certain = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert label_shift.expectation_maximisation(certain, np.array([0.5, 0.5])) == pytest.approx([0.75, 0.25])


def test_probabilities_that_say_nothing_leave_the_source_shares():
    source = np.array([0.2, 0.8])
    assert label_shift.expectation_maximisation(np.tile(source, (50, 1)), source) == pytest.approx(source)


def test_expectation_maximisation_finds_the_maximum_that_a_general_optimiser_finds():
    values, _ = drawn(TRIPLED, 400, seed=1)
    probabilities = posterior(values, EVEN, MEANS)

    def loss(free):
        shares = np.exp(np.append(free, 0.0))
        return -np.log((probabilities / EVEN) @ (shares / shares.sum())).sum()

    best = np.exp(np.append(minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9}).x, 0.0))
    found = label_shift.expectation_maximisation(probabilities, EVEN)
    assert found == pytest.approx(best / best.sum(), abs=1e-4)


def test_weights_count_like_repeated_examples():
    values, _ = drawn(TRIPLED, 60, seed=2)
    probabilities = posterior(values, EVEN, MEANS)
    times = np.random.default_rng(3).integers(0, 3, 60)
    repeated = label_shift.expectation_maximisation(np.repeat(probabilities, times, axis=0), EVEN)
    weighted = label_shift.expectation_maximisation(probabilities, EVEN, weights=times.astype(np.float64))
    assert weighted == pytest.approx(repeated, abs=1e-6)


def test_the_confusion_matrix_is_solved_by_hand():
    # of the first class 8 of 10 are recognised, of the second 6 of 10; 0.8 a + 0.4 (1 - a) = 0.7 gives a = 0.75
    confusion = np.array([[8.0, 2.0], [4.0, 6.0]])
    assert label_shift.black_box(confusion, np.array([0.7, 0.3])) == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    "confusion",
    [
        pytest.param([[5.0, 5.0], [5.0, 5.0]], id="both classes are answered alike"),
        pytest.param([[9.0, 1.0], [0.0, 0.0]], id="a class has no held-out example"),
    ],
)
def test_what_predictions_can_not_tell_is_refused(confusion):
    assert label_shift.black_box(np.array(confusion), np.array([0.5, 0.5])) is None


def test_a_share_that_comes_out_negative_is_none():
    found = label_shift.black_box(np.array([[9.0, 1.0], [2.0, 8.0]]), np.array([0.05, 0.95]))
    assert found == pytest.approx([0.0, 1.0])


def test_both_estimates_agree_and_find_the_shares_of_a_window():
    before, labels = drawn(EVEN, 3000, seed=4)
    after, _ = drawn(TRIPLED, 3000, seed=5)
    found = label_shift.estimate(
        posterior(before, EVEN, MEANS), labels, posterior(after, EVEN, MEANS), resamples=60, level=0.95, seed=0
    )
    assert found.values == pytest.approx(TRIPLED, abs=0.04)
    assert found.by_confusion == pytest.approx(TRIPLED, abs=0.06)
    assert (found.low <= found.values).all() and (found.values <= found.high).all()
    assert found.disagreement == 0.0


def test_estimates_that_contradict_each_other_say_by_how_much():
    # half of the window is surely of the first class; the rest, a class the model does not know, leans to the second.
    # Predictions say half and half; probabilities say that such hesitant examples are rare ones of the first class
    before, labels = drawn(np.array([0.5, 0.5]), 4000, seed=6, means=(0.0, 4.0))
    means = np.array([0.0, 4.0])
    known = posterior(before, np.array([0.5, 0.5]), means)
    odd = np.tile([[0.99, 0.01], [0.45, 0.55]], (1000, 1))
    found = label_shift.estimate(known, labels, odd, resamples=30, level=0.95, seed=0)
    assert found.disagreement is not None and found.disagreement > 0.1


@pytest.mark.slow
def test_intervals_hold_the_true_shares_about_as_often_as_they_say():
    held = []
    for seed in range(60):
        before, labels = drawn(EVEN, 600, seed=100 + seed)
        after, _ = drawn(TRIPLED, 400, seed=1000 + seed)
        window = posterior(after, EVEN, MEANS)
        found = label_shift.estimate(
            posterior(before, EVEN, MEANS), labels, window, resamples=100, level=0.9, seed=seed
        )
        held.append((found.low <= TRIPLED) & (found.high >= TRIPLED))
    assert np.mean(held) > 0.82  # 180 intervals at 0.9: three deviations below


def test_no_example_is_refused():
    with pytest.raises(ValueError, match=r"shape \(0, 2\)"):
        label_shift.expectation_maximisation(np.zeros((0, 2)), np.array([0.5, 0.5]))


def test_an_estimate_that_is_no_surer_than_its_distance_is_not_followed_at_all():
    # intervals of 1.96 standard deviations either way; two classes move by 0.1, so the squared distance is 0.02
    reference, values = np.array([0.5, 0.5]), np.array([0.6, 0.4])

    def told(deviation):
        reach = 1.959964 * deviation
        return label_shift.shrunk(values, values - reach, values + reach, reference, level=0.95)

    assert told(0.1) == pytest.approx([0.5, 0.5])  # variances 0.02 in all
    assert told(0.05) == pytest.approx([0.575, 0.425], abs=1e-6)  # 0.005: a quarter of the way back
    assert told(0.0) == pytest.approx(values)
    assert label_shift.shrunk(reference, reference, reference, reference, level=0.95) == pytest.approx(reference)

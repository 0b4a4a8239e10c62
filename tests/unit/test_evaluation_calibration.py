"""Calibration finds the temperature and the biases that were put in, and stays calm where data can't tell."""

import numpy as np
import pytest

from headstart.bundle import Calibration
from headstart.errors import DataError
from headstart.evaluation import metrics
from headstart.evaluation.calibration import fit, for_shares


def draw(examples, temperature, seed=0, bias=(0.0, 0.0, 0.0, 0.0)):
    """Logits that are right so calibrated: labels drawn from softmax(logits / temperature + bias)."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3.0, size=(examples, 4))
    shares = np.exp(logits / temperature + np.array(bias))
    shares /= shares.sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) < random.random((examples, 1))).sum(axis=1)
    return logits.astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_finds_the_temperature_that_labels_were_drawn_with(temperature):
    found = fit(*draw(20_000, temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.bias == pytest.approx((0.0, 0.0, 0.0, 0.0), abs=0.05)
    assert found.abstain_below == 0.0


def test_finds_the_biases_that_labels_were_drawn_with():
    found = fit(*draw(20_000, 1.5, bias=(1.0, 0.0, -0.5, -0.5)))
    assert found.temperature == pytest.approx(1.5, rel=0.05)
    assert found.bias == pytest.approx((1.0, 0.0, -0.5, -0.5), abs=0.06)


def test_biases_that_only_fit_noise_are_not_kept():
    kept = [any(fit(*draw(120, 1.0, seed=seed)).bias) for seed in range(20)]
    assert sum(kept) <= 4  # by chance the difference exceeds its standard error in 16% at most


def test_biases_that_hold_within_groups_alone_are_not_kept():
    # each group of 40 examples favours classes of its own: held-out rows of a group look like the others of it
    random = np.random.default_rng(0)
    logits, targets, groups = [], [], []
    for group in range(12):
        mine, labels = draw(40, 1.0, seed=group, bias=tuple(random.normal(0, 2.0, 4)))
        logits, targets, groups = [*logits, mine], [*targets, labels], [*groups, *[f"g{group}"] * 40]
    by_rows = fit(np.concatenate(logits), np.concatenate(targets))
    by_groups = fit(np.concatenate(logits), np.concatenate(targets), groups)
    assert any(by_rows.bias) and not any(by_groups.bias)


def test_biases_lower_the_loss_on_examples_that_were_not_seen():
    logits, targets = draw(4000, 1.5, seed=1, bias=(1.0, 0.0, -0.5, -0.5))
    found = fit(logits[:1000], targets[:1000])
    plain = Calibration(found.temperature, (0.0,) * 4, 0.0)
    held = logits[1000:], targets[1000:]
    loss = [metrics.surprise(each.apply(held[0]), held[1]).mean() for each in (found, plain)]
    assert loss[0] < loss[1] - 0.02


def test_no_temperature_on_a_grid_is_less_surprising():
    logits, targets = draw(2000, 1.7)
    found = fit(logits, targets)

    def surprise(temperature):
        shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
        return metrics.surprise(shares.astype(np.float64), targets).mean()

    best = min(surprise(temperature) for temperature in np.linspace(0.3, 5, 200))
    assert metrics.surprise(found.apply(logits), targets).mean() == pytest.approx(best, abs=1e-4)


def test_changes_no_label():
    logits, targets = draw(500, 3.0)
    assert (fit(logits, targets).apply(logits).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_with_every_answer_right_nothing_becomes_certain():
    logits = np.tile(np.array([[4.0, 0.0, 0.0]], dtype=np.float32), (30, 1))
    found = fit(logits, np.zeros(30, dtype=np.int64))
    assert 0.3 < found.temperature < 1.0  # likelihood alone would take it to its lower bound


def test_with_no_example_the_temperature_is_one():
    found = fit(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64))
    assert found.temperature == pytest.approx(1.0, abs=1e-4)


def test_logits_that_are_not_numbers_are_refused_by_row():
    with pytest.raises(DataError, match="validation example 1 are not all finite"):
        fit(np.array([[1.0, 2.0], [np.nan, 0.0]], dtype=np.float32), np.array([0, 1]))


def test_the_same_shares_change_nothing():
    logits, targets = draw(500, 1.3)
    fitted = fit(logits, targets)
    own = dict(zip("abcd", fitted.apply(logits).mean(axis=0).tolist(), strict=True))
    assert for_shares(fitted, logits, "abcd", own).apply(logits) == pytest.approx(fitted.apply(logits))


def test_other_shares_move_the_odds_by_the_ratio_of_new_to_old():
    # one logit vector, both classes equally probable; of 9 to 1 the first is nine times as probable
    logits = np.zeros((1, 2), dtype=np.float32)
    moved = for_shares(Calibration.identity(2), logits, "ab", {"a": 0.9, "b": 0.1})
    assert moved.apply(logits)[0] == pytest.approx([0.9, 0.1])


def test_a_class_that_does_not_come_stays_possible():
    logits = np.array([[0.0, 8.0]], dtype=np.float32)
    moved = for_shares(Calibration.identity(2), np.zeros((1, 2)), "ab", {"a": 1.0, "b": 0.0})
    assert 0 < moved.apply(logits)[0, 1] < Calibration.identity(2).apply(logits)[0, 1]

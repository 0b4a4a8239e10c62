"""What the plan measures on frozen features."""

from types import SimpleNamespace

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.params.transfer import Probe
from headstart.transfer import evidence, probe
from headstart.transfer.context import Split
from headstart.transfer.evidence import Probed

PARAMS = Probe(strengths=[1.0], folds=5, iterations=300, class_weights="none", seed=5)


def probed(features: np.ndarray, targets: np.ndarray, groups=None) -> Probed:
    none = [None] * len(targets)
    rows = Dataset("text", list(map(str, range(len(targets)))), [""] * len(targets), none, groups or none, none)
    head = probe.fit(features, targets, int(targets.max()) + 1, PARAMS, groups=groups)
    context = SimpleNamespace(classes=int(targets.max()) + 1, probe=PARAMS)
    return Probed(context, Split(rows, targets, features), head)


def noisy(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one informative direction among many: more labels tell it from the others."""
    random = np.random.default_rng(3)
    targets = np.arange(count) % 2
    features = random.normal(size=(count, width)).astype(np.float32)
    features[:, 0] += 2.0 * targets
    return features, targets


def test_twice_the_labels_help_where_the_probe_still_learns_and_the_gain_is_that_of_the_same_examples():
    found = probed(*noisy(160, 60))
    more = evidence.twice_the_labels(found)
    assert more["labels"] == 160
    assert more["gain"]["value"] == pytest.approx(found.right.mean() - more["half"]["value"])
    assert more["gain"]["value"] > 0


def test_twice_the_labels_bring_nothing_where_half_of_them_tell_the_classes_apart():
    targets = np.arange(100) % 2
    features = np.stack([10.0 * targets, np.zeros(100)], axis=1).astype(np.float32)
    more = evidence.twice_the_labels(probed(features, targets))
    assert (more["gain"]["value"], more["half"]["value"]) == (0.0, 1.0)


def test_train_that_is_too_small_to_be_halved_is_not():
    features, targets = noisy(12, 3)
    assert evidence.twice_the_labels(probed(features, targets)) is None


def test_a_sample_has_about_as_many_rows_as_asked_and_every_class():
    targets = np.array([0] * 900 + [1] * 95 + [2] * 5)
    rows = evidence.sample(targets, 100, seed=1)
    assert 95 <= len(rows) <= 105
    assert set(targets[rows]) == {0, 1, 2}
    assert (targets[rows] == 0).mean() == pytest.approx(0.9, abs=0.03)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.errors import DataError
from headstart.params.transfer import Probe
from headstart.statistics import cluster_robust
from headstart.transfer import probe

ONE = Probe(strengths=[1.0], folds=5, iterations=1000, class_weights="none", seed=5)
MANY = Probe(strengths=[100.0, 0.01, 0.1, 1.0], folds=5, iterations=1000, class_weights="none", seed=5)


def clouds(*, classes: int, each: int = 30, apart: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds around points far from the origin, the columns of different scale."""
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), each)
    centres = generator.normal(scale=apart, size=(classes, 6))
    values = (centres[targets] + generator.normal(size=(len(targets), 6))) * [1, 2, 4, 2, 1, 1] + 50.0
    return values.astype(np.float32), targets


@pytest.mark.parametrize("classes", [2, 4])
def test_the_folded_head_answers_raw_features_as_scaling_and_regression_do(classes):
    features, targets = clouds(classes=classes)
    head = probe.fit(features, targets, classes, ONE)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    expected = pipeline.fit(features.astype(np.float64), targets).predict_log_proba(features.astype(np.float64))
    logits = head.logits(features)
    ours = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert head.weight.shape == (classes, 6)
    assert np.allclose(np.exp(ours), np.exp(expected), atol=5e-3)


def test_held_out_accuracy_is_no_better_than_chance_on_random_labels():
    features, _ = clouds(classes=2, each=200)
    targets = np.random.default_rng(1).integers(0, 2, 400)
    accuracy = cluster_robust.share(probe.fit(features, targets, 2, MANY).right, 0.99)
    assert accuracy.low < 0.5 < accuracy.high
    assert accuracy.n == 400


def test_noise_calls_for_the_lowest_strength_and_it_is_tried_first():
    features = np.random.default_rng(2).normal(size=(120, 60)).astype(np.float32)
    targets = np.random.default_rng(3).integers(0, 3, 120)
    assert probe.fit(features, targets, 3, MANY).strength == 0.01


def test_a_head_refitted_at_the_strength_chosen_is_the_same_to_the_bit():
    features, targets = clouds(classes=3)
    first = probe.fit(features, targets, 3, MANY)
    again = probe.refit(features, targets, 3, MANY, strength=first.strength)
    assert np.array_equal(first.weight, again.weight)
    assert np.array_equal(first.bias, again.bias)


def test_a_strength_that_is_no_longer_on_the_list_can_still_be_refitted():
    features, targets = clouds(classes=3)
    head = probe.refit(features, targets, 3, ONE, strength=0.5)
    assert head.strength == 0.5


def test_a_column_that_never_changes_weighs_nothing_and_breaks_nothing():
    features, targets = clouds(classes=3)
    features[:, 2] = 0.1
    head = probe.fit(features, targets, 3, ONE)
    assert np.isfinite(head.weight).all()
    assert head.right.mean() > 0.9
    assert np.abs(head.weight[:, 2]).max() < 1e-6


def test_a_column_that_hardly_moves_gets_no_huge_weight_that_fine_tuning_would_trip_over():
    # MiniLM has a feature of spread 1e-9: scaled by its own spread its weight was 1e7, and fine-tuning fell to chance
    features, targets = clouds(classes=3)
    features[:, 2] = 1e-9 * (targets == 1)
    head = probe.fit(features, targets, 3, ONE)
    assert np.abs(head.weight[:, 2]).max() < np.abs(head.weight).max()


def test_a_class_without_examples_is_never_the_answer():
    features, targets = clouds(classes=3)
    head = probe.fit(features, targets + 1, 5, ONE)
    assert head.weight.shape == (5, 6)
    assert set(head.logits(features).argmax(axis=1)) <= {1, 2, 3}


def test_a_class_with_one_example_counts_as_missed_and_nothing_stops():
    features, targets = clouds(classes=3)
    targets[0] = 3
    head = probe.fit(features, targets, 4, MANY)
    right = probe.choose(features, targets, 4, MANY)[1].argmax(axis=1) == targets
    assert not right[0]
    assert np.array_equal(head.right, right)


def test_one_example_a_class_still_gives_a_head():
    features = np.eye(3, dtype=np.float32)
    head = probe.fit(features, np.arange(3), 3, ONE)
    assert list(head.logits(features).argmax(axis=1)) == [0, 1, 2]


def test_a_single_class_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"10 training examples show 1 class, at least 2 were expected.*quarantine"):
        probe.fit(np.zeros((10, 2), np.float32), np.zeros(10, np.int64), 2, ONE)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(2, 6), st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_folds_share_out_examples_and_every_class_evenly(labels, count, seed):
    targets = np.array(labels)
    fold = probe.folds(targets, count, seed=seed)
    used = min(count, len(targets))
    sizes = np.bincount(fold, minlength=used)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        shares = np.bincount(fold[targets == label], minlength=used)
        assert shares.max() - shares.min() <= 1


def test_log_loss_is_the_value_worked_out_by_hand():
    # softmax of (0, 0) gives 1/2: ln 2; of (0, ln 3) gives (1/4, 3/4): the second is right, ln 4/3
    logits = np.array([[0.0, 0.0], [0.0, np.log(3.0)]])
    assert probe.log_loss(logits, np.array([0, 1])) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)


def test_log_loss_of_huge_logits_does_not_overflow():
    assert probe.log_loss(np.array([[1000.0, 0.0]]), np.array([1])) == pytest.approx(1000.0)


def test_one_group_stays_in_one_fold_and_folds_stay_alike_in_classes():
    targets = np.repeat(np.arange(3), 40)
    groups = [f"{row // 5}" for row in range(120)]
    fold = probe.folds(targets, 4, seed=1, groups=groups)
    for group in set(groups):
        assert len({fold[row] for row in range(120) if groups[row] == group}) == 1
    # 8 groups of 5 a class, dealt to 4 folds: 2 groups, 10 examples, of each class in each fold
    for held in range(4):
        assert np.bincount(targets[fold == held]).tolist() == [10, 10, 10]


def test_near_copies_in_one_group_do_not_flatter_the_held_out_accuracy():
    # twenty groups of five near copies, labels at random: nothing can be learned, copies can be remembered
    generator = np.random.default_rng(2)
    centres, labels = generator.normal(size=(60, 40)), generator.integers(0, 2, 60)
    features = (np.repeat(centres, 5, axis=0) + 0.01 * generator.normal(size=(300, 40))).astype(np.float32)
    targets, groups = np.repeat(labels, 5), [str(row // 5) for row in range(300)]
    params = Probe(strengths=[1.0], folds=5, iterations=200, class_weights="none", seed=3)
    apart = (probe.choose(features, targets, 2, params)[1].argmax(axis=1) == targets).mean()
    together = (probe.choose(features, targets, 2, params, groups=groups)[1].argmax(axis=1) == targets).mean()
    assert apart > 0.85
    # chance, within five standard errors of 60 independent draws
    assert together < 0.5 + 5 * 0.5 / 60**0.5


def test_a_temperature_cannot_make_the_calibrated_loss_worse_and_mends_overconfidence():
    generator = np.random.default_rng(4)
    logits = generator.normal(size=(500, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([generator.choice(3, p=row) for row in chances])
    plain = probe.log_loss(logits, targets)
    # logits ten times too large: a temperature of ten gives the very loss of the right ones, or a little less
    assert probe.calibrated_loss(10 * logits, targets) == pytest.approx(plain, abs=0.01)
    assert probe.log_loss(10 * logits, targets) > 2 * plain
    assert np.isnan(probe.calibrated_loss(np.full((2, 2), np.nan), np.array([0, 1])))


def test_a_validation_split_without_a_mistake_promises_no_more_than_its_size_shows():
    # 3 of 3 right, by a wide margin: Laplace's rule gives the next one 4/5
    logits = np.array([[50.0, 0.0], [0.0, 50.0], [60.0, 0.0]])
    assert probe.calibrated_loss(logits, np.array([0, 1, 0])) == pytest.approx(np.log(5 / 4))


def test_one_group_a_class_still_gives_folds_that_can_be_held_out():
    groups = [f"patient {label}" for label in range(3) for _ in range(5)]
    fold = probe.folds(np.repeat(np.arange(3), 5), 5, seed=1, groups=groups)
    assert len(np.unique(fold)) == 3
    assert all(len({fold[row] for row in range(15) if groups[row] == group}) == 1 for group in set(groups))


def test_a_single_group_is_dealt_row_by_row():
    assert len(np.unique(probe.folds(np.arange(10) % 2, 5, seed=1, groups=["all"] * 10))) == 5


def test_weights_that_make_classes_count_alike_are_worked_by_hand():
    # 3 of class 0 and 1 of class 2: 4 / (2 x 3) each, and 4 / (2 x 1)
    assert probe.balanced_weights(np.array([0, 0, 2, 0])) == pytest.approx([2 / 3, 2 / 3, 2, 2 / 3])


def test_a_weighted_loss_is_scikit_learns():
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(3)
    targets, logits = np.repeat([0, 1, 2], [30, 8, 2]), generator.normal(size=(40, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weights = probe.balanced_weights(targets)
    assert probe.log_loss(logits, targets, weights) == pytest.approx(log_loss(targets, shares, sample_weight=weights))
    assert probe.calibrated_loss(logits, targets, weights) <= probe.log_loss(logits, targets, weights)


def test_with_balanced_weights_the_probe_answers_a_rare_class():
    # 190 and 10 examples of two classes that overlap: plain fitting answers the common one nearly always
    generator = np.random.default_rng(4)
    targets = np.repeat([0, 1], [190, 10])
    features = generator.normal(size=(200, 2)).astype(np.float32) + targets[:, None].astype(np.float32)
    plain, balanced = (
        probe.fit(features, targets, 2, ONE.model_copy(update={"class_weights": own})) for own in ("none", "balanced")
    )
    found = [(head.logits(features).argmax(axis=1) == 1)[targets == 1].mean() for head in (plain, balanced)]
    assert found[0] < 0.3 and found[1] > 0.6

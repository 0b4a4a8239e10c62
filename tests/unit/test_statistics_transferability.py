import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from headstart.errors import DataError
from headstart.statistics.transferability import log_me, neighbours

RANDOM = np.random.default_rng(5)
STARTS = ([0.0, 0.0], [3.0, 1.0], [-1.0, 2.0], [2.0, 5.0])


def features(count, width):
    """Values and two classes that the first of them mostly tells apart."""
    values = RANDOM.normal(size=(count, width))
    return values, (values[:, 0] + RANDOM.normal(size=count) > 0).astype(np.int64)


@pytest.mark.parametrize(("count", "width"), [(40, 5), (25, 60)])
def test_log_me_is_the_greatest_evidence_of_a_gaussian_over_both_precisions(count, width):
    # independent: the density of y under N(0, F F' / a + 1 / b) by scipy, maximised over a and b by Nelder and Mead
    values, targets = features(count, width)
    best = []
    for target in (targets == 0, targets == 1):

        def loss(log, target=target):
            covariance = values @ values.T / np.exp(log[0]) + np.eye(count) / np.exp(log[1])
            return -multivariate_normal(np.zeros(count), covariance).logpdf(target.astype(float)) / count

        options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 3000}
        best.append(-min(minimize(loss, start, method="Nelder-Mead", options=options).fun for start in STARTS))
    assert log_me(values, targets) == pytest.approx(np.mean(best), abs=1e-5)


def test_log_me_does_not_depend_on_order_scale_or_names_of_classes():
    values, targets = features(60, 8)
    score, order = log_me(values, targets), RANDOM.permutation(60)
    assert log_me(values[order], targets[order]) == pytest.approx(score)
    assert log_me(100 * values, targets) == pytest.approx(score)
    assert log_me(values, 7 - 5 * targets) == pytest.approx(score)


def test_features_that_tell_classes_apart_score_higher_than_noise():
    values, targets = features(200, 10)
    assert log_me(values, targets) > log_me(RANDOM.normal(size=(200, 10)), targets)


def test_features_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="all features are zero"):
        log_me(np.zeros((4, 2)), np.array([0, 1, 0, 1]))


def test_a_feature_that_is_no_number_is_refused_with_its_row():
    with pytest.raises(DataError, match="row 1 of the features is not finite"):
        log_me(np.array([[1.0], [np.nan]]), np.array([0, 1]))


def at(*degrees):
    """Unit vectors at these angles: the nearer the angle, the nearer the neighbour."""
    return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)


def test_the_nearest_by_angle_answers_whatever_the_lengths():
    # nearest of 0 is 10 (same class), of 10 is 0, of 45 is 10 (another class), of 90 is 45
    values = at(0, 10, 45, 90) * np.array([[1.0], [100.0], [1.0], [1.0]])
    assert neighbours(values, np.array([0, 0, 1, 1]), 1).tolist() == [True, True, False, True]


def test_the_most_frequent_class_of_the_nearest_answers():
    # the nearest of 0 is 5 (class 1); 10 and 15 (class 0) outvote it
    assert neighbours(at(0, 5, 10, 15), np.array([0, 1, 0, 0]), 3).tolist() == [True, False, True, True]


def test_of_equally_frequent_classes_the_nearer_one_answers():
    # of 0: 5 (class 1), then 20 (class 0): one vote each, and 5 is nearer
    assert not neighbours(at(0, 5, 20), np.array([0, 1, 0]), 2)[0]


def test_members_of_its_own_group_are_no_neighbours():
    # the copy is out for 0 and 1, so 30 (class 1) answers them; of 30 the nearest is 1 (class 0), of 60 it is 30
    found = neighbours(at(0, 1, 30, 60), np.array([0, 0, 1, 1]), 1, groups=["a", "a", None, None])
    assert found.tolist() == [False, False, False, True]
    assert neighbours(at(0, 1, 30, 60), np.array([0, 0, 1, 1]), 1)[0]


def test_an_example_left_without_neighbours_is_wrong():
    assert neighbours(at(0, 1), np.array([0, 0]), 3, groups=["a", "a"]).tolist() == [False, False]
    assert neighbours(at(0), np.array([0]), 3).tolist() == [False]


def test_blocks_give_what_one_block_gives(monkeypatch):
    values, targets = features(50, 4)
    whole = neighbours(values, targets, 5)
    monkeypatch.setattr("headstart.statistics.transferability.BLOCK", 150)  # three rows at a time
    assert neighbours(values, targets, 5).tolist() == whole.tolist()


def test_neighbours_agree_with_scikit_learn_leaving_each_one_out():
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    values, targets = features(60, 3)
    theirs = cross_val_score(KNeighborsClassifier(5, metric="cosine"), values, targets, cv=LeaveOneOut())
    assert neighbours(values, targets, 5).tolist() == (theirs == 1).tolist()


def test_no_neighbour_cannot_vote():
    with pytest.raises(ValueError, match="0 neighbours cannot vote"):
        neighbours(at(0, 1), np.array([0, 0]), 0)

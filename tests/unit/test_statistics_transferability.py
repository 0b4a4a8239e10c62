import numpy as np
import pytest

from headstart.errors import DataError
from headstart.statistics.transferability import neighbours

RANDOM = np.random.default_rng(5)


def features(count, width):
    """Values and two classes that the first of them mostly tells apart."""
    values = RANDOM.normal(size=(count, width))
    return values, (values[:, 0] + RANDOM.normal(size=count) > 0).astype(np.int64)


def test_a_feature_that_is_no_number_is_refused_with_its_row():
    with pytest.raises(DataError, match="row 1 of the features is not finite"):
        neighbours(np.array([[1.0], [np.nan]]), np.array([0, 1]), 1)


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

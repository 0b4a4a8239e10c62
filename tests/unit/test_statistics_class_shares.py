"""Rows chosen so that classes come in given shares."""

from collections import Counter

import numpy as np
import pytest

from headstart.statistics.class_shares import choose, reached


def chosen(labels, shares):
    return Counter(labels[row] for row in choose(labels, shares))


def test_the_shares_there_already_choose_every_row():
    labels = ["a"] * 30 + ["b"] * 70
    assert choose(labels, {"a": 0.3, "b": 0.7}).tolist() == list(range(100))


def test_a_class_that_should_come_more_often_decides_how_many_rows_there_are():
    # 50 of each; a at 90% allows 50 / 0.88 = 56.8 rows where 2 points may be missing: 50 (of 50.4) and 6 (of 5.6)
    assert chosen(["a"] * 50 + ["b"] * 50, {"a": 0.9, "b": 0.1}) == {"a": 50, "b": 6}


def test_a_rare_class_does_not_cost_the_rows_of_all_others():
    # c has 1 row and should make up 2%: without it there are 101 rows of 49.5, 49.5 and 1, not 50 in all
    labels = ["a"] * 50 + ["b"] * 50 + ["c"]
    assert chosen(labels, {"a": 0.49, "b": 0.49, "c": 0.02}) == {"a": 50, "b": 49, "c": 1}


def test_a_class_that_does_not_come_has_no_row_and_one_without_rows_is_left_out():
    labels = ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    assert chosen(labels, {"a": 0.25, "b": 0.25, "c": 0.0, "unseen": 0.5}) == {"a": 40, "b": 40}


def test_no_row_is_chosen_twice_and_the_same_ones_each_time():
    labels = list("abc") * 33
    shares = {"a": 0.7, "b": 0.2, "c": 0.1}
    rows = choose(labels, shares)
    assert len(set(rows.tolist())) == len(rows)
    assert rows.tolist() == choose(labels, shares).tolist()
    assert reached(labels, rows, "abc") == pytest.approx(shares, abs=0.03)


def test_many_small_shares_are_not_all_rounded_away():
    # 40 classes of 1% each are half a row each in 50 rows; together they keep about their 40%
    labels = ["big"] * 30 + [f"c{n}" for n in range(40) for _ in range(10)]
    rows = choose(labels, {"big": 0.6, **{f"c{n}": 0.01 for n in range(40)}})
    assert np.mean([labels[row] == "big" for row in rows]) == pytest.approx(0.6, abs=0.03)


def test_shares_of_classes_that_have_no_row_at_all_are_refused():
    with pytest.raises(ValueError, match="no row"):
        choose(["a"], {"b": 1.0})

"""Whether test is later than train, and whether it looks like train."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from headstart.data.checks import splits
from headstart.params.prepare import Split
from headstart.report import finding_words
from tests.unit.checked_rows import LEVEL, examples


def timed(train, test):
    rows = examples(
        [str(n) for n in range(len(train) + len(test))], splits=["train"] * len(train) + ["test"] * len(test)
    )
    return replace(rows, times=pa.array([*train, *test], pa.string()))


def told(right_train, right_test, groups=None):
    right = np.array([*right_train, *right_test], bool)
    is_test = np.repeat([False, True], [len(right_train), len(right_test)])
    return splits.train_like_test(right, is_test, groups, level=LEVEL, looked=(len(right_train), len(right_test)))


def dealt(*counts, names=("validation", "test"), **asked):
    rows = [name for name, count in zip(("train", "validation", "test"), counts, strict=True) for _ in range(count)]
    shares = Split(**{"validation": 0.15, "test": 0.2, "seed": 1} | asked)
    return splits.carved(examples([str(n) for n in range(len(rows))], splits=rows), names, shares)


def test_the_share_that_a_hash_dealt_is_told_beside_the_one_asked_for():
    found = dealt(93, 22, 45)
    assert found.verdict == "pass" and found.statistic == pytest.approx(45 / 160 - 0.2)
    assert finding_words.told(found)["reason"] == (
        "Dealt by a hash, 160 rows came to validation 13.8% where 15.0% was asked for, "
        "test 28.1% where 20.0% was asked for."
    )
    assert found.evidence["came"] == {"validation": 0.1375, "test": 0.28125}


def test_a_split_that_the_source_brought_does_not_count():
    found = dealt(85, 15, 500, names=["validation"])
    assert "100 rows came to validation 15.0% where 15.0% was asked for." in finding_words.told(found)["reason"]


def test_training_rows_later_than_the_first_test_row_are_named():
    found = splits.time_order(timed(["2024-01-01", "2024-03-01", None], ["2024-02-01", "2024-04-01"]))
    assert (found.verdict, found.statistic) == ("unsure", 1.0)
    assert (
        "1 of 2 training rows with a time (50%) are later than the first test row (2024-02-01)"
        in finding_words.told(found)["reason"]
    )
    assert found.evidence["rows"][0]["row"] == 2


def test_a_split_by_time_is_in_order_and_rows_without_times_say_so():
    assert splits.time_order(timed(["2024-01-01"], ["2024-02-01"])).verdict == "pass"
    assert "have no times" in finding_words.told(splits.time_order(timed([None], ["2024-02-01"])))["reason"]


def test_the_two_sample_test_is_welchs_against_one_half():
    train, test = [1] * 70 + [0] * 30, [1] * 60 + [0] * 40
    found = told(train, test)
    # two-sample Welch between "is right on train" and "is wrong on test" asks the same: m1 + m2 > 1
    expected = stats.ttest_ind(train, 1 - np.array(test), equal_var=False, alternative="greater").pvalue
    assert found.statistic == pytest.approx(0.65)
    assert found.evidence["p"] == pytest.approx(expected)
    assert found.verdict == "unsure"


def test_a_classifier_that_always_says_the_same_tells_nothing():
    assert told([1] * 50, [0] * 50).verdict == "pass"


def test_a_classifier_that_is_always_right_tells_everything():
    assert told([1] * 50, [1] * 50).verdict == "unsure"


def test_a_group_counts_once():
    right = [1] * 90 + [0] * 10, [1] * 90 + [0] * 10
    assert told(*right).verdict == "unsure"
    # the same answers from four groups: means 1, 0.8 and 1, 0.8 are too few to be sure at one in a thousand
    groups = ["a"] * 50 + ["b"] * 50 + ["c"] * 50 + ["d"] * 50
    assert told(*right, groups).verdict == "pass"

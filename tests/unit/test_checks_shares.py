"""Class shares of the splits against each other, and against what production is said to see."""

import numpy as np
import pytest

from headstart.data.checks import shares
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, examples


def split(groups=None, **labels):
    """Rows of the splits named, with these labels."""
    rows = [(name, label) for name, own in labels.items() for label in own]
    return examples(
        [str(n) for n in range(len(rows))], [label for _, label in rows], [name for name, _ in rows], groups
    )


def between(rows):
    return shares.between_splits(rows, level=LEVEL, seed=1)


def test_splits_in_other_shares_than_train_are_named_with_the_class_that_moved_most():
    found = between(split(train="a" * 300 + "b" * 300, validation="a" * 50 + "b" * 50, test="a" * 90 + "b" * 30))
    # test is 75% a where train is half: a quarter of its rows would have to change
    assert (found.verdict, found.statistic) == ("unsure", pytest.approx(0.25))
    assert "other shares in test than in train: 'a' makes up 75.0% of test and 50.0% of train" in told(found)["reason"]
    assert "data.expected_shares" in told(found)["action"]
    assert found.evidence["validation"]["distance"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        pytest.param("a" * 30 + "b" * 30, "a" * 9 + "b" * 3, id="too few to tell"),
        pytest.param("a" * 50_000 + "b" * 50_000, "a" * 27_000 + "b" * 25_000, id="certain, and 2 points"),
    ],
)
def test_what_may_be_chance_or_is_too_small_to_act_on_passes(train, test):
    assert between(split(train=train, validation=train, test=test)).verdict == "pass"


def test_classes_that_come_in_lumps_of_one_group_are_no_difference():
    # 12 groups of 50 rows of one class each; three of test's four are of class a: 4 of 8 in train, so what
    labels = {"train": "a" * 200 + "b" * 200, "validation": "a" * 50 + "b" * 50, "test": "a" * 150 + "b" * 50}
    names = [f"g{row // 50}" for row in range(700)]
    assert between(split(**labels)).verdict == "unsure"
    assert between(split(groups=names, **labels)).verdict == "pass"


def test_groups_too_can_differ_beyond_chance():
    labels = {"train": "ab" * 400, "validation": "ab" * 50, "test": "a" * 180 + "b" * 20}
    names = [f"g{row // 4}" for row in range(1100)]
    assert between(split(groups=names, **labels)).verdict == "unsure"


@pytest.mark.nightly
def test_sound_splits_speak_up_as_rarely_as_the_level_says():
    random = np.random.default_rng(4)
    told = 0
    for _ in range(1000):
        drawn = {
            name: "".join(random.choice(list("abcd"), n))
            for name, n in (("train", 60), ("validation", 20), ("test", 20))
        }
        found = shares.between_splits(split(**drawn), level=0.1, seed=1)
        told += found.verdict == "unsure"
    assert told <= 130  # 100 and three standard deviations


def test_what_is_expected_is_told_with_how_many_test_rows_that_leaves():
    per_class = {"a": {"test": 50}, "b": {"test": 50}, "c": {"test": 0}}
    found = shares.expected(per_class, {"a": 0.9, "b": 0.1})
    assert (found.verdict, found.statistic) == ("pass", 56.0)  # see the test of `class_shares.choose`
    assert "40.0% of all rows apart from the test split; 56 rows of 100 can be chosen" in told(found)["reason"]
    lacking = shares.expected(per_class, {"a": 0.5, "c": 0.5})
    assert (lacking.verdict, lacking.evidence["missing"]) == ("unsure", ["c"])
    assert shares.expected(per_class, {"c": 1.0}).statistic == 0
    assert shares.expected(per_class, {"A": 1.0}).verdict == "fail"

"""Splits: shares, groups, the user's own, and no example that changes sides."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import split
from headstart.data.dataset import SPLITS
from headstart.data.split import carved
from headstart.params.prepare import Split

PARAMS = Split(validation=0.15, test=0.2, seed=1)
KEYS = st.lists(st.text(min_size=1, max_size=5), max_size=40)


def assign(keys, given_splits, params):
    """Names in, names out."""
    codes = np.array([-1 if name is None else SPLITS.index(name) for name in given_splits], dtype=np.int8)
    positions = np.array([split.position(key, params) for key in keys])
    return [SPLITS[home] for home in split.assign(positions, codes, params)]


LAWS = settings(deadline=None, max_examples=50)


@LAWS
@given(KEYS, KEYS)
def test_when_data_grows_no_example_changes_sides(old, new):
    before = dict(zip(old, assign(old, [None] * len(old), PARAMS), strict=True))
    grown = new + old
    after = dict(zip(grown, assign(grown, [None] * len(grown), PARAMS), strict=True))
    assert {key: after[key] for key in before} == before


@LAWS
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["train", "validation", "test"]))))
def test_the_users_splits_are_kept_where_all_three_are_there(rows):
    given_splits = ["train", "validation", "test", *(split for _, split in rows)]
    assert assign(["x", "y", "z", *(key for key, _ in rows)], given_splits, PARAMS) == given_splits


@LAWS
@given(st.lists(st.sampled_from(["g1", "g2", "g3", "g4"])))
def test_examples_of_one_group_stay_together(groups):
    homes: dict[str, set[str]] = {}
    for group, home in zip(groups, assign(groups, [None] * len(groups), PARAMS), strict=True):
        homes.setdefault(group, set()).add(home)
    assert all(len(splits) == 1 for splits in homes.values())


def test_shares_come_out_as_asked_for():
    # 20,000 keys: the standard error of a share of 0.2 is 0.003
    counts = Counter(assign([str(n) for n in range(20_000)], [None] * 20_000, PARAMS))
    assert abs(counts["test"] / 20_000 - 0.2) < 0.012
    assert abs(counts["validation"] / 20_000 - 0.15) < 0.012


def test_a_missing_validation_split_is_carved_from_train_and_test_is_left_alone():
    keys = [str(n) for n in range(1000)]
    splits = assign(keys, ["train"] * 900 + ["test"] * 100, PARAMS)
    assert set(splits[900:]) == {"test"}
    assert set(splits[:900]) == {"train", "validation"}
    assert carved(["train", "test"]) == ["validation"]


def test_a_source_that_starts_to_bring_a_test_split_keeps_the_carved_validation_split():
    keys = [str(n) for n in range(500)]
    before = assign(keys, [None] * 500, PARAMS)
    after = assign([*keys, "new"], [*["train"] * 500, "test"], PARAMS)
    assert [key for key, split in zip(keys, before, strict=True) if split == "validation"] == [
        key for key, split in zip(keys, after, strict=False) if split == "validation"
    ]


def test_rows_without_a_split_beside_rows_with_one_count_as_training_rows():
    assert set(assign(["a", "b", "c", "d"], [None, "train", "validation", "test"], PARAMS)[:2]) == {"train"}


def test_another_seed_gives_another_split():
    keys = [str(n) for n in range(200)]
    other = Split(validation=0.15, test=0.2, seed=2)
    assert assign(keys, [None] * 200, PARAMS) != assign(keys, [None] * 200, other)

"""Ids, groups and times that give the label away, and those that don't."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from headstart.data.checks import metadata
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, examples

N = 400
LABELS = [("spam", "fine")[n % 2] for n in range(N)]


def rows(ids=None, times=None, groups=None):
    made = examples([f"text {n}" for n in range(N)], LABELS, groups=groups)
    ids = pa.array(ids) if ids else made.ids
    return replace(made, ids=ids, times=pa.array(times, pa.string()) if times else made.times)


def test_ids_that_begin_otherwise_for_each_class_are_named():
    found = metadata.shortcut(
        rows([f"{'inbox' if label == 'fine' else 'junk'}_{n}" for n, label in enumerate(LABELS)]), level=LEVEL, seed=1
    )
    assert found.verdict == "unsure"
    assert "the start of the id alone predicts 100.0%" in told(found)["reason"]


def test_a_quarter_of_the_largest_class_that_was_collected_otherwise_is_named():
    """Guessing the largest class is as right without the column: the value itself has to be looked at."""
    ids = [f"{'row' if label == 'fine' or n % 8 else 'export'}_{n}" for n, label in enumerate(LABELS)]
    found = metadata.shortcut(rows(ids), level=LEVEL, seed=1)
    assert (found.verdict, found.evidence["columns"]) == ("unsure", ["id_start"])
    assert "the start of the id 'export_' stands on" in told(found)["reason"]
    assert "of 'spam' and hardly elsewhere" in told(found)["reason"]


def test_a_class_that_was_collected_on_other_days_is_named():
    times = [f"2024-01-0{1 if label == 'fine' else 2}T10:00:00" for label in LABELS]
    assert metadata.shortcut(rows(times=times), level=LEVEL, seed=1).evidence["columns"] == ["date"]


def test_files_in_class_folders_are_named_after_their_label_and_that_is_no_news():
    assert (
        metadata.shortcut(rows([f"{label}/{n}.png" for n, label in enumerate(LABELS)]), level=LEVEL, seed=1).verdict
        == "pass"
    )


def test_columns_that_have_nothing_to_do_with_the_label_are_quiet():
    generator = np.random.default_rng(3)
    for _ in range(50):
        ids = [f"{'abcd'[generator.integers(4)]}{n}" for n in range(N)]
        times = [f"2024-01-0{generator.integers(1, 8)}T{generator.integers(10, 24)}:00" for _ in range(N)]
        groups = [f"author {generator.integers(40)}" for _ in range(N)]
        assert metadata.shortcut(rows(ids, times, groups), level=LEVEL, seed=1).verdict == "pass"

"""What changed in the data, as Markdown, from a comparison of two small revisions."""

import pytest

from headstart.data import revisions
from headstart.report import data_change
from tests.unit.test_data_growth import BEGINNINGS
from tests.unit.test_data_prepare import params, prepared


@pytest.fixture
def change(tmp_path):
    """Of 60 rows, 20 a split: 9 test rows come in, one row of train goes and one gets the other label."""
    old = BEGINNINGS["own"]
    [first, *rest] = [row for row in old if row[0] == "train"]
    relabelled = ("train", rest[0][1], "y" if rest[0][2] == "x" else "x")
    kept = [row for row in old if row not in (first, rest[0])]
    new = [*kept, relabelled, *(("test", f"new {number}", "x") for number in range(9))]
    for name, rows in (("old", old), ("new", new)):
        prepared(tmp_path / name, rows)
    compared = revisions.compare(tmp_path / "old/raw/m", tmp_path / "new/raw/m", params())
    return {"old": {"revision": "a" * 32, "when": None}, "new": {"revision": "b" * 32, "when": None}, **compared}


def test_the_line_counts_what_came_went_and_was_relabelled(change):
    assert data_change.summary("m", change) == "m: 9 rows in, 1 out, 1 with another label, 0 in another split"


def test_splits_and_shares_stand_before_and_now(change):
    # 30 x of 60 before; 68 rows now. The row that went and the relabelled one are one x and one y
    text = data_change.markdown("m", change)
    assert "Revision bbbbbbbb against aaaaaaaa." in text
    assert "| all | 60 | 68 |" in text
    assert "| test | 20 | 29 |" in text
    counts = change["classes"]["counts"]
    assert (counts["x"]["before"], counts["x"]["after"] + counts["y"]["after"]) == (30, 68)
    assert f"| x | 50.0% | {100 * counts['x']['after'] / 68:.1f}% | 30 | {counts['x']['after']} |" in text


def test_what_did_not_pass_stands_with_what_to_do(change):
    text = data_change.markdown("m", change)
    assert "| Labels are as they were | unsure |" in text


def test_a_label_with_a_bar_stays_in_its_cell(change):
    counts = {"a|b": {"before": 30, "after": 34}, "<b>": {"before": 30, "after": 34}}
    text = data_change.markdown("m", {**change, "classes": {**change["classes"], "counts": counts}})
    assert "| a\\|b | " in text
    assert "| \\<b\\> | " in text

"""Gate `class_recall`: a class that is never answered rightly fails where its examples can tell."""

import pytest

from headstart.evaluation.gates import class_recall


def rows(*classes):
    keys = ("label", "recall", "support", "groups")
    return {"per_class": [dict(zip(keys, row, strict=True)) for row in classes]}


def test_a_class_with_none_of_nine_right_fails_and_is_named():
    # 0.5^9 = 0.00195 is at most 0.05 / 5
    others = [(name, 0.8, 20, None) for name in "abcd"]
    finding = class_recall.judge(rows(*others, ("stroke", 0.0, 9, None)), 0.05)
    assert (finding.verdict, finding.statistic, finding.evidence["never"]) == ("fail", 1.0, ["stroke"])
    assert finding.reason == "Not one answer is right on the 9 test examples of 'stroke'."
    assert "class_weights" in finding.action


@pytest.mark.parametrize(("support", "verdict"), [(5, "pass"), (6, "fail")])
def test_how_many_examples_tell_follows_from_the_number_of_classes(support, verdict):
    # of two classes: 0.5^5 = 0.031 is more than 0.05 / 2, 0.5^6 = 0.016 is not
    finding = class_recall.judge(rows(("a", 1.0, 50, None), ("b", 0.0, support, None)), 0.05)
    assert finding.verdict == verdict
    assert "'b'" in finding.reason


def test_too_few_examples_are_told_and_let_through():
    finding = class_recall.judge(rows(("a", 1.0, 50, None), ("b", 0.0, 1, None), ("c", 0.0, 0, None)), 0.05)
    assert (finding.verdict, finding.action) == ("pass", "")
    assert finding.reason == (
        "1 of 2 classes have at least one right answer; not one is right on the 1 test example of 'b': too few to tell."
    )


def test_rows_of_one_group_count_as_one():
    document = rows(("a", 1.0, 50, 30), ("b", 0.0, 40, 2))
    finding = class_recall.judge(document, 0.05)
    assert finding.verdict == "pass"
    assert "the 40 test examples of 'b' in 2 groups" in finding.reason


def test_many_classes_are_counted_and_the_largest_named():
    finding = class_recall.judge(rows(*((f"c{at}", 0.0, 20 + at, None) for at in range(14))), 0.05)
    assert finding.statistic == 14
    assert finding.reason.startswith("Not one answer is right on the 33 test examples of 'c13', the 32")
    assert finding.reason.endswith("and 4 more.")


@pytest.mark.parametrize("document", [None, {}, {"per_class": []}, {"per_class": [{"label": "a"}]}])
def test_missing_evidence_fails(document):
    finding = class_recall.judge(document, 0.05)
    assert finding.verdict == "fail"
    assert "without evidence nothing is deployed" in finding.reason

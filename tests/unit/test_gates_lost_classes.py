"""Gate `lost_classes`: what the champion knows does not vanish unnoticed; a new name for it is asked about."""

import pytest

from headstart.evaluation.comparison import contrast
from headstart.evaluation.gates import lost_classes
from headstart.params.evaluation import Gates

GATES = Gates(accuracy=0.6, macro_f1=0.5, calibration_error=0.15, baseline_margin=0.0, champion_margin=0.02, level=0.05)


def judged(truth, theirs, ours_known, theirs_known, **options):
    """The finding where the candidate is always right and champion 3 answered `theirs`."""
    comparison = contrast(truth, truth, theirs, known=(ours_known, theirs_known), gates=GATES, **options)
    return lost_classes.judge(comparison, champion="3", model="mail")


def test_a_class_that_vanished_fails_and_is_named():
    truth = ["1", "3"] * 10
    finding = judged(truth, truth, ["1", "3"], ["1", "3", "7"])
    assert (finding.verdict, finding.statistic, finding.evidence["gone"]) == ("fail", 1.0, ["7"])
    assert finding.reason == (
        "'7' is gone: champion 3 knows it, and the candidate will answer such inputs with another class."
    )
    assert finding.action == (
        "See what left the data (headstart data mail --diff previous current) and bring it back. "
        "If this is meant, promote the candidate with a reason."
    )


def test_the_same_classes_and_new_ones_pass():
    truth = ["a", "b", "new"] * 10
    finding = judged(truth, ["a", "b", "a"] * 10, ["a", "b", "new"], ["a", "b"])
    assert (finding.verdict, finding.statistic) == ("pass", 0.0)


def test_a_renamed_class_is_asked_about_with_the_map_that_keeps_its_name():
    truth = ["billing issue"] * 20 + ["delivery"] * 20
    theirs = ["billing"] * 18 + ["delivery"] * 22
    finding = judged(truth, theirs, ["billing issue", "delivery"], ["billing", "delivery"])
    assert finding.verdict == "fail"
    assert finding.reason == (
        "'billing' is gone and 'billing issue' is new: champion 3 answers 'billing' to 18 of the 20 test examples of "
        "'billing issue'. Renamed?"
    )
    assert finding.action == (
        "To keep the old name, map it under models.mail.prepare.labels: {billing issue: billing}. "
        "If this is meant, promote the candidate with a reason."
    )


def test_classes_that_became_one_are_asked_about():
    truth = ["money"] * 20 + ["delivery"] * 20
    theirs = ["billing"] * 9 + ["refund"] * 10 + ["delivery"] * 21
    finding = judged(truth, theirs, ["delivery", "money"], ["billing", "delivery", "refund"])
    assert finding.reason == (
        "'billing' and 'refund' are gone and 'money' is new: champion 3 answers 'billing' to 9 of the 20 test examples "
        "of 'money', 'refund' to 10 of the 20 test examples of 'money'. Merged?"
    )
    assert "prepare.labels" not in finding.action  # no map brings two classes back out of one


def test_a_class_that_went_into_another_is_asked_about():
    truth = ["a"] * 40
    finding = judged(truth, ["a"] * 25 + ["b"] * 15, ["a", "c"], ["a", "b", "c"])
    assert finding.reason.endswith("answers 'b' to 15 of the 40 test examples of 'a'. Merged into 'a'?")


def test_a_class_that_became_several_is_asked_about():
    truth = ["visa"] * 10 + ["mastercard"] * 10
    finding = judged(truth, ["card"] * 20, ["mastercard", "visa"], ["card"])
    assert "'card' is gone and 'mastercard' and 'visa' are new" in finding.reason
    assert finding.reason.endswith("Split?")
    assert "{mastercard: card, visa: card}" in finding.action


def test_each_change_has_a_sentence_of_its_own():
    truth = ["A"] * 10 + ["B"] * 10 + ["c"] * 10
    theirs = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    finding = judged(truth, theirs, ["A", "B", "c"], ["a", "b", "c", "d"])
    assert finding.statistic == 3
    assert finding.reason.count("Renamed?") == 2
    assert "'d' is gone: champion 3 knows it" in finding.reason
    assert "{A: a}" in finding.action and "{B: b}" in finding.action


def test_answers_that_the_champion_confuses_now_and_then_are_no_new_name():
    truth = ["a"] * 40
    finding = judged(truth, ["a"] * 33 + ["b"] * 7, ["a", "c"], ["a", "b", "c"])  # 7 of 40 are less than a fifth
    assert "'b' is gone: champion 3 knows it" in finding.reason


def test_labels_are_quoted_as_yaml_needs_it():
    truth = ["yes, no: #1"] * 5
    finding = judged(truth, ["on"] * 5, ["yes, no: #1"], ["on"])
    assert "{'yes, no: #1': 'on'}" in finding.action


def test_a_class_that_has_no_test_example_any_more_fails():
    truth = ["a"] * 10
    known = ["a", "b", "c"]
    finding = judged(truth, truth, known, known, tested=["a", "b"])  # c never had one
    assert (finding.verdict, finding.evidence["untested"]) == ("fail", ["b"])
    assert finding.reason == (
        "'b' had test examples when champion 3 was measured and has none now: whether the candidate still finds it is "
        "not known."
    )
    assert finding.action.startswith("Add labelled examples of 'b'.")


def test_the_first_candidate_can_lose_no_class():
    assert lost_classes.judge(None, champion=None, model="mail").verdict == "pass"


@pytest.mark.parametrize("comparison", [None, {}, {"classes": {"gone": []}}, {"classes": ["a"]}])
def test_missing_evidence_fails(comparison):
    finding = lost_classes.judge(comparison, champion="3", model="mail")
    assert finding.verdict == "fail"
    assert "without evidence nothing is deployed" in finding.reason

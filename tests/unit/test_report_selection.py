"""Why training kept a candidate, in words, and the table of all of them."""

import pytest

from headstart.report import formats, selection, training
from tests.unit import report_old_plan, report_plan


def test_a_significant_difference_is_told_by_what_it_fixes_and_regresses():
    told = selection.reason(report_plan.history())
    assert told == (
        "Of 180 validation examples fine-tuning gets 10 right that linear probe gets wrong, and 2 wrong that linear "
        "probe gets right: significantly better."
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("lower_loss", "its loss is the lowest (0.310, fine-tuning 0.190)"),
        ("lower_balanced_loss", "With all classes weighing the same, its validation loss is the lowest"),
        ("others_failed", "Every other candidate failed in training"),
        ("better_than_mitigated", "with that mitigated, linear probe is better on validation"),
    ],
)
def test_every_other_reason_has_a_sentence(code, told):
    history = report_plan.history("linear_probe")
    history["reason"]["code"] = code
    assert told in selection.reason(history)


def test_a_single_candidate_is_said_to_be_one():
    history = {**report_plan.history(), "reason": {"code": "only_candidate", "against": None}}
    assert selection.reason(history) == "Fine-tuning was the only candidate."


def test_the_table_marks_the_kept_one_and_names_what_failed():
    history = report_plan.history()
    history["candidates"][0]["outcome"] = "diverged"
    rows = selection.rows(history, {"fine_tune": 41.0})
    assert [(row["label"], row["kept"], row["note"], row["seconds"]) for row in rows] == [
        ("linear probe", False, "it diverged", ""),
        ("fine-tuning", True, "", "41 s"),
    ]


def test_the_accuracy_to_expect_is_said_to_come_from_the_examples_that_chose():
    told = selection.expectation(report_plan.history())
    assert "96.2% (93.2 to 99.2)" in told and "the same examples chose this candidate" in told


def test_a_history_of_format_2_is_read():
    old = report_plan.history("linear_probe") | {"format": 2}
    old["reason"] = {"code": "mitigated_worse_than_probe", "against": "fine_tune"}
    old["candidates"][1]["training"]["notes"] = ["A sentence of its own."]
    history = formats.history(old)
    assert "with that mitigated, linear probe is better" in selection.reason(history)
    assert training.notes(history["candidates"][1]["training"]) == ["A sentence of its own."]


def test_a_history_of_format_1_is_read():
    history = formats.history(report_old_plan.history("fine_tune"))
    assert history["kept"] == "fine_tune"
    assert selection.reason(history) == "Fine-tuning is better than the probe it started from."
    assert len(selection.kept(history)["training"]["epochs"]) == 18
    assert selection.expectation(history) == ""  # it has no interval
    assert [row["label"] for row in selection.rows(history, {})] == ["linear probe", "fine-tuning"]


def test_a_plan_of_format_2_is_read():
    from headstart.report import plan as words

    plan = formats.plan(report_old_plan.plan("fine_tune", 10, 36))
    assert [one["strategy"] for one in plan["shortlist"]] == ["fine_tune"]
    told = "\n".join(words.lines("tickets", plan, {}))
    assert "The probe reaches 91.2%" in told and "resnet has no linear layers below its head." in told
    assert formats.plan(report_plan.plan()) == report_plan.plan()

"""Sentences of what stages found: made from codes and numbers, old documents shown with their own."""

import json

import pytest

from headstart.errors import GateError, StrategyError, UsageError
from headstart.findings import Finding
from headstart.report import finding_words, plan
from headstart.stages import describe, revive, worded

TORN = Finding("groups", "unsure", 1.0, 0.0, evidence={"groups": ["ward 3"], "known": 4})


def test_a_code_becomes_a_sentence_with_its_numbers():
    found = finding_words.told(TORN)
    assert found["reason"] == "1 of 4 groups stands in more than one split of the source: ward 3."
    assert found["action"].startswith("Split the source by group")


def test_a_document_of_before_keeps_the_sentences_it_brought():
    old = {"check": "groups", "verdict": "unsure", "statistic": 1.0, "bar": 0.0, "reason": "As it was said then.",
           "action": "", "evidence": {"groups": ["ward 3"]}}  # fmt: skip
    assert finding_words.told(old) == old


def test_a_finding_that_no_sentence_is_known_for_is_shown_without():
    found = finding_words.told({"check": "of a newer version", "verdict": "pass", "statistic": 1.0, "bar": None})
    assert (found["reason"], found["action"]) == ("", "")


def test_a_refusal_by_findings_reaches_people_with_reasons_once_however_often_it_is_passed_on():
    failed = Finding("diverged", "fail", 2.0, 1.5, evidence={"model": "network", "start": 0.6, "loss": 1.2})
    error = GateError("the candidate is not exported.", action="Override it.", findings=[failed.document()])
    told = revive(json.loads(json.dumps(describe(worded(error)))))
    assert str(told).count("Training diverged: validation loss went from 0.600 to 1.200, 2.00 times its start") == 1
    assert told.action.endswith("Override it.")
    assert told.findings[0]["reason"].startswith("Training diverged")


def test_a_strategy_that_is_impossible_is_refused_with_the_plans_sentence_and_what_to_do_instead():
    error = worded(StrategyError("lora", {"code": "no_linear_layers", "kind": "mobilenet_v1"}))
    assert (error.exit_status, describe(error)["kind"]) == (2, "ParamsError")
    assert "plan.strategy is lora, which is impossible for this model: A mobilenet_v1 has no linear layers" in str(
        error
    )
    assert error.action == "Set plan.strategy to auto, or to fine_tune."


@pytest.mark.parametrize("code", sorted(plan.INSTEAD))
def test_every_obstacle_has_a_sentence_and_something_to_do(code):
    numbers = dict.fromkeys(("rows", "least", "texts", "held_out", "budget", "tokens"), 7)
    error = worded(StrategyError("adapt_then_fine_tune", {"code": code, "kind": "resnet", **numbers}))
    assert code not in str(error) and "{" not in str(error) and "plan.strategy to auto" in error.action


@pytest.mark.parametrize("error", [UsageError("no"), GateError("no")])
def test_other_refusals_are_left_as_they_are(error):
    assert worded(error) is error

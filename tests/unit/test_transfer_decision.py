"""The decision: when no race is needed, who wins one, what is predicted, and what would change it."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.params.transfer import Choice
from headstart.statistics import learning_curve, paired
from headstart.statistics.interval import Interval, wilson
from headstart.transfer import decision
from headstart.transfer.control import Control
from headstart.transfer.evidence import Evidence
from headstart.transfer.race import Leg, Outcome

WORK = {"linear_probe": 100, "lora": 120, "fine_tune": 150, "adapt_then_fine_tune": 150}


def interval(value: float, *, width: float = 0.02, n: int = 100) -> Interval:
    return Interval(value, value - width, min(1.0, value + width), n)


RISING, FLAT = [120, 140, 150], [150, 150, 150]  # right of 200 after 20, 40 and 80 labels


def evidence(
    *, probe: float = 0.8, median: float = 40.0, test: int = 400, scratch: float = 0.4, right: list[int] = RISING
) -> Evidence:
    few = Control(10, 3, 2, interval(0.6), interval(0.7), interval(scratch), 240, {"transfer": 1.0, "scratch": 2.0})
    examples = {"train": 100, "validation": 20, "test": test, "classes": 3}
    per_class = {"min": 5, "median": median, "max": 90}
    curve = learning_curve.fit([20, 40, 80], right, 200, level=0.9, generator=np.random.default_rng(1), resamples=50)
    backbone, examples = {"name": "tiny", "kind": "bert", "parameters": 1000}, {**examples, "per_class": per_class}
    return Evidence(backbone, examples, interval(probe), 1.0, [], {}, {}, curve, few, "tokens", 100)


def choice(strategy: str = "auto") -> Choice:
    values = {"layers": "auto", "good_enough": 0.98, "target": None, "examples_per_class": 10, "budget": 1000}
    return Choice(strategy=strategy, folds=5, layer_examples=100, interval=0.9, **values)


def race(
    accuracies: dict[str, float], standing: list[str], *, n: int = 400, ended: str = "All rungs were run."
) -> Outcome:
    """A race of one rung; each strategy errs on examples of its own."""
    right = {
        name: np.random.default_rng(seed).permutation(n) < round(value * n)
        for seed, (name, value) in enumerate(accuracies.items())
    }
    legs = [Leg(name, 50, wilson(int(one.sum()), n, 0.9), one, 10, 1.0) for name, one in right.items()]
    leader = max(standing, key=accuracies.__getitem__)
    gaps = {
        name: paired.difference(one, right["linear_probe"], 0.9)
        for name, one in right.items()
        if name != "linear_probe"
    }
    behind = {name: paired.difference(right[leader], right[name], 0.9) for name in standing if name != leader}
    return Outcome(legs, {}, standing, leader, gaps, behind, 30, 100, ended)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(evidence(), None, id="room above the probe"),
        pytest.param(evidence(probe=0.95), None, id="probe just short of good enough"),  # of 100, up to 0.975
        pytest.param(evidence(probe=0.96), "98.0% is good enough", id="may reach good enough"),  # up to 0.982
        pytest.param(
            replace(evidence(), probe=Interval(0.7, 0.1, 1.0, 100)), None, id="few groups: it may be anything"
        ),
        pytest.param(evidence(median=9.5), "median class has 9.5 training", id="too few labels"),
        pytest.param(evidence(median=10.0), None, id="just enough labels"),
    ],
)
def test_no_race_is_run_where_the_probe_may_do_or_labels_are_too_few(found, reason):
    told = decision.settled(found, choice())
    assert (told is None) if reason is None else (reason in told)


def test_without_a_race_the_probe_is_chosen_and_the_reason_says_what_was_seen():
    found = evidence(probe=0.97)
    made = decision.decide(found, None, choice(), decision.settled(found, choice()), {}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("linear_probe", "fine_tune")
    assert any("higher plan.choice.good_enough" in one for one in made.otherwise)


def test_a_leader_beyond_doubt_is_chosen():
    run = race({"linear_probe": 0.7, "fine_tune": 0.85}, ["fine_tune"], ended="fine_tune is the only one left.")
    made = decision.decide(evidence(), run, choice(), None, {}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("fine_tune", "linear_probe")
    assert "leads the race" in made.reason
    assert "fine_tune 85.0%, linear_probe 70.0%" in made.reason


def test_of_those_that_cannot_be_told_apart_the_cheapest_is_chosen_and_more_judges_are_named():
    run = race({"linear_probe": 0.8, "fine_tune": 0.805}, ["linear_probe", "fine_tune"])
    barred = {"lora": "There are no linear layers."}
    made = decision.decide(evidence(probe=0.86), run, choice(), None, barred, doubt=0.25, work=WORK)
    assert made.strategy == "linear_probe"  # 0.847 is foreseen of fine-tuning with all of train
    assert "fine_tune leads by 0.5 points" in made.reason and "not beyond the doubt allowed" in made.reason
    assert any("more judged examples may tell them apart" in one for one in made.otherwise)
    assert any("lora did not enter: There are no linear layers." in one for one in made.otherwise)


@pytest.mark.parametrize(("doubt", "chosen"), [(0.25, "fine_tune"), (0.05, "linear_probe")])
def test_a_dearer_one_that_will_likely_overtake_is_chosen_though_the_race_cannot_tell_them_apart(doubt, chosen):
    run = race({"linear_probe": 0.81, "fine_tune": 0.8}, ["linear_probe", "fine_tune"])
    made = decision.decide(evidence(right=FLAT), run, choice(), None, {}, doubt=doubt, work=WORK)
    assert made.strategy == chosen
    if chosen == "fine_tune":
        assert (
            "With all 100 examples it will likely be more accurate than the cheaper linear_probe (chance" in made.reason
        )
        assert "fine_tune 80.0%" in made.reason


@pytest.mark.parametrize(
    ("fine_tune", "right", "budget", "times"),
    [
        pytest.param(0.77, FLAT, 1000, 2, id="a probe that gains nothing more is overtaken soon"),
        pytest.param(0.77, RISING, 2000, 8, id="one that still learns later"),
        pytest.param(0.77, RISING, 1000, None, id="8 times 150 is over the budget"),
        pytest.param(0.6, FLAT, 2000, None, id="too far behind"),
    ],
)
def test_how_many_more_labels_would_change_the_decision_is_told_where_they_would(fine_tune, right, budget, times):
    run = race({"linear_probe": 0.8, "fine_tune": fine_tune}, ["linear_probe", "fine_tune"])
    wanted = choice().model_copy(update={"budget": budget})
    made = decision.decide(evidence(right=right), run, wanted, None, {}, doubt=0.25, work=WORK)
    assert made.strategy == "linear_probe"
    told = [one for one in made.otherwise if "would make it" in one]
    assert len(told) == (times is not None)
    if times:
        assert told[0].startswith(f"{100 * times} training examples, {times} times as many, would make it fine_tune")


def test_of_several_that_more_labels_would_change_it_to_the_one_that_would_be_taken_is_told():
    run = race({"linear_probe": 0.8, "lora": 0.77, "fine_tune": 0.77}, ["linear_probe", "lora", "fine_tune"])
    told = decision.decide(evidence(right=FLAT), run, choice(), None, {}, doubt=0.25, work=WORK).otherwise
    assert [one.split(", which")[0][-4:] for one in told if "would make it" in one] == ["lora"]


def test_more_labels_change_nothing_where_params_ask_for_a_strategy():
    run = race({"linear_probe": 0.8, "fine_tune": 0.77}, ["linear_probe", "fine_tune"])
    made = decision.decide(evidence(right=FLAT), run, choice("fine_tune"), None, {}, doubt=0.25, work=WORK)
    assert not any("would make it" in one for one in made.otherwise)


def test_how_many_more_labels_a_target_takes_is_told_of_the_strategy_that_was_chosen():
    # 0.8 after 50 labels, 80.5 of 401 errors: 0.1 after 50 x 2.0075^(1 / 0.35) = 366.4, 267 more than the 100 there are
    run = race({"linear_probe": 0.7, "fine_tune": 0.8}, ["fine_tune"])
    wanted = choice().model_copy(update={"target": 0.9})
    needed = decision.labels_needed("fine_tune", evidence(), run, wanted)
    assert needed == {"accuracy": 0.9, "by": "plan.choice.target", "labels": 367, "more": 267, "strategy": "fine_tune"}
    unasked = decision.labels_needed("fine_tune", evidence(), run, choice())
    assert (unasked["accuracy"], unasked["by"]) == (0.98, "plan.choice.good_enough")
    probe = decision.labels_needed("linear_probe", evidence(), run, wanted)
    assert probe["labels"] == evidence().curve.labels_needed(0.9)
    for out_of_reach in (0.999, 1.0):
        far = choice().model_copy(update={"target": out_of_reach})
        assert decision.labels_needed("fine_tune", evidence(), run, far)["labels"] is None


def test_a_target_that_is_foreseen_already_takes_no_more_and_one_without_a_race_is_told_of_the_probe():
    run = race({"linear_probe": 0.7, "fine_tune": 0.65}, ["linear_probe", "fine_tune"])
    reached = choice().model_copy(
        update={"target": 0.79}
    )  # the probe, handed on where fine-tuning is no better, has 0.8
    assert decision.labels_needed("fine_tune", evidence(), run, reached)["more"] == 0
    unraced = decision.labels_needed("fine_tune", evidence(), None, choice().model_copy(update={"target": 0.9}))
    assert unraced["strategy"] == "linear_probe" and unraced["labels"] == evidence().curve.labels_needed(0.9)


def test_a_runner_up_that_did_not_race_is_one_that_could_have():
    barred = {"fine_tune": "It would cost too much."}
    made = decision.decide(evidence(), None, choice(), "early", barred, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("linear_probe", "lora")


@pytest.mark.parametrize(("fine_tune", "chosen"), [(0.77, "fine_tune"), (0.7, "linear_probe")])
def test_a_dearer_one_that_is_behind_beyond_doubt_may_still_overtake_and_its_chance_is_told(fine_tune, chosen):
    # half of train was learned from; fine-tuning's errors fall by (1 / 2)^0.35 to 0.78 of theirs, a flat probe's do not
    run = race({"linear_probe": 0.8, "fine_tune": fine_tune}, ["linear_probe", "fine_tune"], n=2000)
    assert run.behind["fine_tune"].interval.low > 0
    made = decision.decide(evidence(right=FLAT), run, choice(), None, {}, doubt=0.4, work=WORK)
    assert made.strategy == chosen
    told = [one for one in made.otherwise if one.startswith("fine_tune is dearer than linear_probe")]
    assert len(told) == (chosen == "linear_probe")
    if told:
        assert "more accurate by a chance of 0.1" in told[0] and "0.60 is asked" in told[0]


def test_one_that_left_the_race_overtakes_nobody():
    run = race({"linear_probe": 0.8, "fine_tune": 0.8}, ["linear_probe"], ended="linear_probe is the only one left.")
    assert decision.decide(evidence(), run, choice(), None, {}, doubt=0.25, work=WORK).strategy == "linear_probe"


def test_a_lead_that_may_be_nothing_is_no_negative_zero():
    run = race({"linear_probe": 0.70, "fine_tune": 0.705}, ["linear_probe", "fine_tune"])
    behind = replace(run.behind["linear_probe"], interval=Interval(0.006, -0.0001, 0.012, 400))
    made = decision.decide(
        evidence(probe=0.86), replace(run, behind={"linear_probe": behind}), choice(), None, {}, doubt=0.25, work=WORK
    )
    assert "leads by 0.6 points (0.0 to 1.2)" in made.reason


def test_the_runner_up_is_one_that_still_stands_before_one_that_left_however_right_that_was():
    accuracies = {"linear_probe": 0.7, "lora": 0.76, "fine_tune": 0.85, "adapt_then_fine_tune": 0.72}
    run = race(accuracies, ["fine_tune", "adapt_then_fine_tune"])
    made = decision.decide(evidence(right=FLAT), run, choice(), None, {}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("fine_tune", "adapt_then_fine_tune")
    nobody = replace(
        race({"linear_probe": 0.7}, ["linear_probe"]), left={"adapt_then_fine_tune": "It changed nothing."}
    )
    made = decision.decide(evidence(), nobody, choice(), None, {"lora": "no"}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("linear_probe", "fine_tune")
    alone = race(accuracies, ["fine_tune"])
    made = decision.decide(evidence(right=FLAT), alone, choice(), None, {}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("fine_tune", "lora")


def test_a_strategy_that_params_ask_for_is_taken_and_the_plan_still_speaks():
    run = race({"linear_probe": 0.7, "fine_tune": 0.85}, ["fine_tune"])
    made = decision.decide(evidence(), run, choice("lora"), None, {}, doubt=0.25, work=WORK)
    assert (made.strategy, made.runner_up) == ("lora", "fine_tune")
    assert made.reason.startswith("params.yaml asks for lora. Left to itself, the plan would say fine_tune")


def test_a_strategy_that_params_and_plan_agree_on_is_said_to_be_so():
    run = race({"linear_probe": 0.7, "fine_tune": 0.85}, ["fine_tune"])
    reason = decision.decide(evidence(), run, choice("fine_tune"), None, {}, doubt=0.25, work=WORK).reason
    assert reason.startswith("params.yaml asks for it, and the plan")


def test_negative_transfer_is_named_when_scratch_wins_beyond_doubt():
    found = evidence(scratch=0.9)
    told = decision.decide(found, None, choice(), "early", {}, doubt=0.25, work=WORK).otherwise
    assert any(one.startswith("Negative transfer: with 10 labels a class") for one in told)
    assert not any(
        "Negative" in one
        for one in decision.decide(evidence(), None, choice(), "early", {}, doubt=0.25, work=WORK).otherwise
    )

"""The decision card: everything a person needs to follow the choice, in the terminal and on a page."""

import pytest

from headstart import artifacts
from headstart.report import decision, page
from headstart.report.evidence import gather
from tests.unit import report_evidence, report_plan

PARTS = {"probe": 2.0, "a_pass": 4.0, "race/fine_tune/269": 10.0, "race/fine_tune/538": 20.0}


@pytest.fixture()
def plan() -> dict:
    return report_plan.plan("fine_tune", 10, 36)


def test_the_terminal_shows_choice_forecast_cost_evidence_race_and_what_would_change_it(plan):
    told = "\n".join(decision.lines("tickets", plan, PARTS))
    for sentence in (
        "tickets: fine_tune (runner-up linear_probe)",
        "predicted  accuracy 93.0% (89.6% to 96.4%, 90% sure) on 360 test examples,",
        "from 93.0% in the race after learning from 538",
        "backbone        glyphs, a resnet of 0.7 M parameters",
        "costs      84,100,000 pixels, about 40 s on this machine",
        "proxy A-distance 1.72 of 2 (1.60 to 1.81)",
        "2,154, twice as many, would likely bring a probe 2.2 points (0.9 to 3.4)",
        "98.0% of fine_tune would take about 10,923 more, by its forecast",
        "race       fine_tune               538 rows  93.0% (91.0% to 95.0%)",
        "otherwise  lora is 0.8 points behind",
    ):
        assert sentence in told


def test_seconds_come_from_the_longest_leg_else_from_a_timed_epoch_else_are_unknown(plan):
    # 20 s for 538 rows are 40.04 s for 1,077; an epoch of 4 s for 1.8 million pixels is 40 s for 18 million
    assert decision.cost(plan, "fine_tune", PARTS) == pytest.approx(20 * 1077 / 538, rel=1e-6)
    assert decision.cost(plan, "lora", PARTS) == pytest.approx(40.0)
    assert decision.cost(plan, "linear_probe", PARTS) == 2.0
    assert decision.cost(plan, "lora", {}) is None


WAYS = ("fine_tune", "adapt_then_fine_tune", "scratch")
WORTH = {"value": 0.9, "low": 0.88, "high": 0.92, "n": 720}


def test_adapting_is_timed_and_priced_apart_and_only_the_rows_of_a_leg_are_carried_on(plan):
    # 250 rows of 80 tokens took 20 s after 200 s of adapting; all of train are 1,000 rows
    before = decision.view(plan, {})["race_caption"]
    assert before.endswith("pixels were spent on its rungs.") and "adapting" not in dict(decision.seen(plan))
    plan["work"]["memory_mb"]["adapt_then_fine_tune"] = 4
    plan["work"] |= {"adapting": 250_000, "of": {"linear_probe": 80_000, **dict.fromkeys(WAYS, 800_000)}}
    plan["race"]["legs"] += [
        {"strategy": name, "rows": 250, "work": 250 * 800, **WORTH} for name in ("fine_tune", "adapt_then_fine_tune")
    ]
    plan["adapted"] = "The backbone read 250,000 tokens of 400 texts."
    parts = {f"race/{name}/250": 20.0 for name in WAYS} | {"race/adapting": 200.0}
    assert decision.cost(plan, "adapt_then_fine_tune", parts) == pytest.approx(200 + 20 * 4)
    assert decision.cost(plan, "fine_tune", parts) == pytest.approx(20 * 4)
    assert decision.cost(plan, "adapt_then_fine_tune", {"a_pass": 4.0}) == pytest.approx(4 * (800 + 250) / 80)
    view = decision.view(plan, {})
    assert view["race_caption"].endswith("were spent on its rungs; what adapting read comes on top.")
    assert [row["work"] for row in view["costs"]] == [80_000, 800_000, 1_050_000]
    assert dict(decision.seen(plan))["adapting"] == plan["adapted"]
    chosen = {**plan, "strategy": "adapt_then_fine_tune"}
    assert dict(decision.seen(chosen))["adapting"] == plan["adapted"] + " Training finds it done."


def test_a_plan_made_before_adapting_was_told_apart_carries_its_whole_leg_on(plan):
    plan["work"]["of"] |= {"fine_tune": 80_000, "adapt_then_fine_tune": 380_000}
    plan["race"]["legs"].append({"strategy": "adapt_then_fine_tune", "rows": 250, "work": 320_000, **WORTH})
    took = decision.cost(plan, "adapt_then_fine_tune", {"race/adapt_then_fine_tune/250": 220.0})
    assert took == pytest.approx(220 * 380 / 320)


def test_an_unknown_gap_and_an_unreachable_target_are_said_in_words(plan):
    plan["evidence"]["gap"]["domain"] = {"unknown": "no sample is kept"}
    plan["labels_needed"]["labels"] = None
    told = dict(decision.seen(plan))
    assert told["domain gap"] == "unknown: no sample is kept"
    assert "that fine_tune reaches 98.0% can't be foreseen" in told["more labels"]


def test_an_accuracy_that_nobody_asked_for_is_said_to_be_good_enough_and_how_to_ask_for_another(plan):
    plan["labels_needed"]["by"] = "plan.choice.good_enough"
    told = dict(decision.seen(plan))["more labels"]
    assert "98.0% (good_enough; plan.choice.target names another) of fine_tune would take about" in told


def test_what_a_target_takes_is_told_without_a_learning_curve_too(plan):
    plan["evidence"]["transferability"]["curve"] = None
    assert (
        dict(decision.seen(plan))["more labels"] == "98.0% of fine_tune would take about 10,923 more, by its forecast"
    )
    plan["labels_needed"]["more"] = 0
    assert dict(decision.seen(plan))["more labels"] == "98.0% of fine_tune is within reach of those there are"
    plan["labels_needed"] = None
    assert "more labels" not in dict(decision.seen(plan))


@pytest.mark.parametrize("why", ["this network can't end at encoder.layer.3, where a probe is better", None])
def test_a_better_layer_that_is_not_used_comes_with_the_reason(plan, why):
    plan["evidence"]["layers"][4]["value"], plan["all_layers"] = 0.99, why
    told = dict(decision.seen(plan))["best layer"]
    assert told.endswith(f"all layers stay: {why or 'it is not better beyond doubt'}")  # older plans keep no reason


def test_a_strategy_that_was_barred_is_not_priced(plan):
    assert [row["name"] for row in decision.view(plan, PARTS)["costs"]] == ["linear_probe", "fine_tune"]


def test_the_card_is_one_page_that_needs_no_network(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifacts.write_json(artifacts.stage_output("tickets", "plan") / "plan.json", plan)
    html = decision.write("tickets").read_text()
    assert "What would change the decision" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    assert html == decision.write("tickets").read_text()


def test_a_report_shows_the_card_and_a_plan_of_the_format_before_without_it(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report_evidence.write("digits", "image", report_evidence.DIGITS)
    assert "What was seen" in page.render(gather("digits"))
    path = artifacts.stage_output("digits", "plan") / "plan.json"
    old = {key: plan[key] for key in ("strategy", "runner_up", "reason", "predicted", "evidence")}
    artifacts.write_json(path, {**old, "format": 1})
    assert "What was seen" not in page.render(gather("digits"))

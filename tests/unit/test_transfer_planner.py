import pytest

from headstart.params.transfer import Choice
from headstart.statistics.interval import Interval
from headstart.transfer import planner
from headstart.transfer.control import Control
from headstart.transfer.evidence import Evidence, Work


def interval(value: float, *, width: float = 0.02, n: int = 100) -> Interval:
    return Interval(value, value - width, min(1.0, value + width), n)


def evidence(*, probe: float = 0.8, median: float = 40.0, work: int = 500, mended: float = 0.75) -> Evidence:
    """A probe, and a control in which fine-tuning took the probe from 0.6 to `mended`."""
    few = Control(10, 3, 2, interval(0.6), interval(mended), interval(0.4), 240, {"transfer": 1.0, "scratch": 2.0})
    examples = {"train": 100, "validation": 20, "test": 20, "classes": 3}
    per_class = {"min": 5, "median": median, "max": 90}
    return Evidence(
        {**examples, "per_class": per_class}, interval(probe), 1.0, [], few, Work("tokens", 100, work, 1000)
    )


def choice(strategy: str = "auto") -> Choice:
    values = {"good_enough": 0.98, "examples_per_class": 10, "budget": 1000, "mended": 0.25, "mended_at_most": 0.75}
    return Choice(strategy=strategy, folds=5, layer_examples=100, interval=0.9, **values)


@pytest.mark.parametrize(
    ("found", "strategy", "reason"),
    [
        pytest.param(evidence(), "fine_tune", "right on 0.800 of held-out", id="room above the probe"),
        pytest.param(evidence(probe=0.959), "fine_tune", "short of 0.98", id="probe just short of good enough"),
        pytest.param(evidence(probe=0.961), "linear_probe", "0.98 is good enough", id="interval reaches good enough"),
        pytest.param(evidence(median=9.5), "linear_probe", "median class has 9.5 training", id="too few labels"),
        pytest.param(evidence(median=10.0), "fine_tune", "median class has 10 examples", id="just enough labels"),
        pytest.param(evidence(work=1001), "linear_probe", "cost 1,001 tokens; the budget is 1,000", id="too dear"),
        pytest.param(evidence(work=1000), "fine_tune", "1,000 of 1,000 tokens", id="just within budget"),
    ],
)
def test_the_rule_chooses_and_says_why(found, strategy, reason):
    decision = planner.choose(found, choice())
    assert decision.strategy == strategy
    assert {decision.strategy, decision.runner_up} == {"linear_probe", "fine_tune"}
    assert reason in decision.reason


def test_a_strategy_that_params_ask_for_is_taken_and_the_rule_still_speaks():
    decision = planner.choose(evidence(work=5000), choice("fine_tune"))
    assert decision.strategy == "fine_tune"
    assert decision.reason.startswith("params.yaml asks for fine_tune. Left to itself, the plan would say linear_probe")
    assert "5,000 tokens" in decision.reason


def test_a_strategy_that_params_and_rule_agree_on_is_said_to_be_so():
    assert planner.choose(evidence(), choice("fine_tune")).reason.startswith("params.yaml asks for it, and the plan")


def test_the_probe_predicts_what_it_reached_on_held_out_folds():
    assert planner.predict("linear_probe", evidence(probe=0.8), choice()) == {
        "metric": "accuracy",
        "value": pytest.approx(0.8),
        "low": pytest.approx(0.78),
        "high": pytest.approx(0.82),
    }


@pytest.mark.parametrize(
    ("few", "value", "high"),
    [
        # few labels took 0.6 to `few`. Usual 0.25 of 0.2 errors: 0.85; at most 0.75 of 0.18: 0.955
        pytest.param(0.5, 0.85, 0.955, id="did harm with few labels: as usual"),
        pytest.param(0.64, 0.85, 0.955, id="mended a tenth with few labels: as usual"),
        pytest.param(0.8, 0.9, 0.955, id="mended half with few labels: half"),
        pytest.param(0.96, 0.98, 0.982, id="mended nine tenths with few labels: also at most"),
    ],
)
def test_fine_tuning_is_predicted_to_mend_its_usual_share_of_errors_or_what_it_mended_with_few_labels(few, value, high):
    predicted = planner.predict("fine_tune", evidence(probe=0.8, mended=few), choice())
    assert predicted["value"] == pytest.approx(value)
    assert predicted["low"] == pytest.approx(0.78)
    assert predicted["high"] == pytest.approx(high)


def test_a_perfect_probe_is_predicted_to_stay_perfect():
    few = evidence(probe=1.0)
    assert planner.predict("fine_tune", few, choice())["value"] == 1.0

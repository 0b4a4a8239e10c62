"""Absolute gates: three answers, closed by default, and sentences that a stranger understands."""

import math

import pytest

from headstart.evaluation.gates import accuracy, bars, calibration_error, macro_f1
from headstart.statistics.interval import Interval

LEVEL = 0.05


def calibrated(document, bar):
    return calibration_error.judge(document, bar, LEVEL)


GATES = [
    pytest.param(accuracy.judge, "accuracy", "accuracy", id="accuracy"),
    pytest.param(macro_f1.judge, "macro_f1", "macro_f1", id="macro_f1"),
]


def evaluation(metric, value, low, high, n=200):
    return {"metrics": {metric: {"value": value, "low": low, "high": high, "n": n}}}


@pytest.mark.parametrize(("judge", "check", "metric"), GATES)
@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        pytest.param(0.65, 0.75, "pass", id="wholly above"),
        pytest.param(0.60, 0.75, "pass", id="from the bar up"),
        pytest.param(0.55, 0.75, "unsure", id="across"),
        pytest.param(0.45, 0.60, "unsure", id="up to the bar"),
        pytest.param(0.45, 0.55, "fail", id="wholly below"),
    ],
)
def test_more_is_better(judge, check, metric, low, high, verdict):
    finding = judge(evaluation(metric, (low + high) / 2, low, high), 0.6)
    assert (finding.check, finding.verdict, finding.bar) == (check, verdict, 0.6)
    assert finding.statistic == (low + high) / 2


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.01, 0.14, "pass"), (0.01, 0.16, "unsure"), (0.16, 0.2, "fail")]
)
def test_less_calibration_error_is_better(low, high, verdict):
    assert calibrated(evaluation("ece", (low + high) / 2, low, high), 0.15).verdict == verdict


def everywhere(**changes):
    """An evaluation whose every metric has the same, damaged interval."""
    interval = {"value": 0.9, "low": 0.9, "high": 1.0, "n": 9, **changes}
    return {"metrics": dict.fromkeys(("accuracy", "macro_f1", "ece"), interval)}


@pytest.mark.parametrize("judge", [accuracy.judge, macro_f1.judge, calibrated])
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="no document"),
        pytest.param({}, id="no metrics"),
        pytest.param({"metrics": {"accuracy": None, "macro_f1": None, "ece": None}}, id="no interval"),
        pytest.param(everywhere(low=None), id="half an interval"),
        pytest.param(everywhere(n=0), id="no example"),
        pytest.param(everywhere(value=math.nan), id="not a number"),
    ],
)
@pytest.mark.parametrize("bar", [0.6, None])
def test_missing_evidence_fails_and_says_so(judge, document, bar):
    finding = judge(document, bar)
    assert finding.verdict == "fail"
    assert "without evidence nothing is deployed" in finding.reason
    assert finding.action


def test_a_pass_needs_no_action():
    finding = accuracy.judge(evaluation("accuracy", 0.91, 0.88, 0.93), 0.6)
    assert finding.reason == "Accuracy is 0.910 (0.880 to 0.930) on 200 test examples; the bar is 0.6."
    assert finding.action == ""


def test_an_unsure_gate_says_how_many_examples_would_tell():
    # half-width 0.1 down to 0.65 - 0.6 = 0.05 takes 4 times as many: 200 * 4 = 800
    finding = accuracy.judge(evaluation("accuracy", 0.65, 0.55, 0.75), 0.6)
    assert "the bar of 0.6 lies inside the interval" in finding.reason
    assert finding.action == (
        "About 800 test examples would tell. Add examples of the classes that are confused (see the report); or lower "
        "gates.accuracy to 0.55, if that will do."
    )
    assert accuracy.judge(evaluation("accuracy", 0.65, 0.55, 0.75), 0.55).verdict == "pass"


def test_a_number_of_examples_out_of_reach_is_called_so():
    # half-width 0.1 down to 0.002 takes 2,500 times as many: 500,000
    finding = accuracy.judge(evaluation("accuracy", 0.602, 0.502, 0.702), 0.6)
    assert finding.action.startswith(
        "About 500,000 test examples would tell, 2,500 times what there is: out of reach. "
    )


@pytest.mark.parametrize(("low", "bar"), [(0.57, "0.57"), (0.5799, "0.57"), (0.004, None)])
def test_the_bar_that_it_would_pass_is_named(low, bar):
    action = accuracy.judge(evaluation("accuracy", (low + 0.9) / 2, low, 0.9), 0.6).action
    assert (f"lower gates.accuracy to {bar}, if" in action) if bar else "gates.accuracy" not in action


def test_the_calibration_error_to_allow_is_rounded_up():
    finding = calibrated(evaluation("ece", 0.12, 0.05, 0.171), 0.15)
    assert finding.action.endswith("; or raise gates.calibration_error to 0.18, if that will do.")


def test_a_value_on_the_bar_itself_promises_no_number_of_examples():
    assert bars.enough(Interval(0.6, 0.5, 0.7, 100), 0.6) == ""
    assert accuracy.judge(evaluation("accuracy", 0.6, 0.5, 0.7), 0.6).action.startswith("Add examples")


def test_groups_are_named_and_what_would_tell_is_counted_in_groups():
    # half-width 0.1 down to 0.05 takes 4 times as many: of 40 groups 160
    document = {**evaluation("accuracy", 0.65, 0.55, 0.75), "groups": 40}
    finding = accuracy.judge(document, 0.6)
    assert "on 200 test examples in 40 groups; the bar" in finding.reason
    assert finding.action.startswith("About 160 groups of test examples would tell.")
    finding = accuracy.judge({**document, "groups": 1}, 0.6)
    assert "in 1 group;" in finding.reason
    assert finding.action.startswith("More examples of one group will not tell; those of others would.")


@pytest.mark.parametrize(("judge", "check", "metric"), GATES)
def test_without_a_bar_what_was_measured_is_reported(judge, check, metric):
    finding = judge(evaluation(metric, 0.3, 0.2, 0.4), None)
    assert (finding.check, finding.verdict, finding.statistic, finding.bar) == (check, "pass", 0.3, None)
    assert finding.reason.endswith(f"0.300 (0.200 to 0.400) on 200 test examples; no bar is set (gates.{check}).")


def reliable(ece, n=100, confidence=0.5, **more):
    """An evaluation whose answers all have one confidence."""
    return {
        **evaluation("ece", ece, max(ece - 0.05, 0), ece + 0.05, n),
        "reliability": [{"n": 0, "confidence": None}, {"n": n, "confidence": confidence}],
        **more,
    }


def test_a_calibrated_model_is_off_by_the_mean_deviation_of_a_binomial():
    # one coin: |X - 0.5| is always 0.5, and does not vary
    assert calibration_error.chance([{"n": 1, "confidence": 0.5}], 0.05) == pytest.approx((0.5, 0.5))
    # two coins: |X - 1| is 1, 0, 1 with chances 1/4, 1/2, 1/4: mean 1/2, variance 1/2 - 1/4 = 1/4; of n = 2
    expected, most = calibration_error.chance([{"n": 2, "confidence": 0.5}], 0.05)
    assert (expected, most) == pytest.approx((0.25, 0.25 + 1.644854 * 0.5 / 2))
    # sure answers are never off in a calibrated model
    assert calibration_error.chance([{"n": 9, "confidence": 1.0}], 0.05) == (0.0, 0.0)


def test_four_answers_a_group_count_as_one():
    alone, together = (calibration_error.chance([{"n": 100, "confidence": 0.5}], 0.05, groups) for groups in (None, 25))
    assert together == pytest.approx((2 * alone[0], 2 * alone[1]))


def test_without_a_bar_calibration_is_held_against_what_chance_explains():
    # 100 coins: mean deviation 3.98 (C(100, 50) / 2^100 * 50), variance 25 - 3.98^2 = 9.16; 95% of 100 coins stay
    # under 0.0398 + 1.645 * 3.03 / 100 = 0.0896, and 0.05 more is tolerated
    passed, failed = calibrated(reliable(0.139), None), calibrated(reliable(0.141), None)
    assert (passed.verdict, failed.verdict) == ("pass", "fail")
    assert failed.bar == pytest.approx(0.1396, abs=2e-4)
    assert "a calibrated model shows 0.040 on average on as many, and rarely more than 0.090" in failed.reason
    assert failed.action.endswith("; or set gates.calibration_error to 0.2, if that will do.")


def test_without_a_bar_and_without_reliability_calibration_is_not_known():
    assert calibrated(evaluation("ece", 0.01, 0.0, 0.02), None).verdict == "fail"

"""Gate `champion`: no worse by more than a margin, or not enough to tell; unsure never replaces a champion."""

import numpy as np
import pytest

from headstart.evaluation.gates import champion
from headstart.statistics import paired

BARS = {"margin": 0.02, "level": 0.05, "new_class_bar": 0.6}


def compared(wins, losses, n=1000, *, f1=0.0, new=None):
    return {
        "paired": {"wins": wins, "losses": losses, "n": n},
        "macro_f1": {"difference": {"value": f1, "low": f1 - 0.03, "high": f1 + 0.03, "n": n}},
        "classes": {"both": ["a", "b"], "new": ["c"] if new else [], "gone": []},
        "new": {"accuracy": new} if isinstance(new, dict) else None,
    }


def test_the_first_champion_has_nobody_to_beat():
    finding = champion.judge(None, champion=None, **BARS)
    assert finding.verdict == "pass"
    assert finding.reason == "No other version is live to compare with: the other gates decide."


def test_a_deleted_champion_leaves_nothing_to_compare_with():
    finding = champion.judge(None, champion="3", deleted=True, **BARS)
    assert finding.verdict == "fail"
    assert finding.reason == "Champion 3 was deleted in MLflow: there is nothing to compare the candidate with."
    assert finding.action == "Promote the candidate, or another version, with a reason."


def test_the_class_that_loses_most_is_named():
    flips = [
        {"class": "b", "n": 90, "wins": 0, "losses": 8},
        {"class": "a", "n": 910, "wins": 40, "losses": 2},
    ]
    finding = champion.judge({**compared(40, 10), "flips": flips}, champion="3", **BARS)
    assert "the class that loses most is b: 8 of its 90 examples" in finding.reason
    assert finding.evidence["flips"] == flips


@pytest.mark.parametrize(
    ("wins", "losses", "n", "verdict"),
    [
        pytest.param(40, 10, 1000, "pass", id="better"),
        pytest.param(10, 10, 1000, "pass", id="as good"),
        pytest.param(0, 0, 50, "unsure", id="the same answers, but too few examples"),
        pytest.param(10, 25, 1000, "unsure", id="perhaps worse by the margin"),
        pytest.param(10, 60, 1000, "fail", id="worse"),
    ],
)
def test_three_answers(wins, losses, n, verdict):
    finding = champion.judge(compared(wins, losses, n), champion="3", **BARS)
    assert finding.verdict == verdict
    assert finding.bar == -0.02
    assert f"only the candidate is right on {wins} and only champion 3 on {losses}" in finding.reason


def test_groups_make_it_less_sure_than_their_rows_would():
    scattered = {
        **compared(40, 10),
        "paired": {
            "wins": 40,
            "losses": 10,
            "n": 1000,
            "cluster_robust": {"groups": 9, "effective": 9.0, "error": 0.03},
        },
    }
    finding = champion.judge(scattered, champion="3", **BARS)
    assert finding.verdict == "unsure"
    assert "On 1000 test examples in 9 groups that both can answer" in finding.reason
    assert finding.evidence["low"] == pytest.approx(0.03 - 1.859548 * 0.03)  # t(0.95, 8 degrees)
    # (1.645 + 0.842)^2 * 9 groups * (0.03 / 0.05)^2 = 20.04
    assert finding.action == (
        "About 21 groups of test examples would tell. Keep the champion meanwhile; or raise gates.champion_margin to "
        "0.03, if so much may be lost."
    )


def test_unsure_says_how_many_examples_would_show_it():
    # value -0.015 lies 0.005 above the bar, 3.5% differ: (1.645 + 0.842)^2 (0.035 - 0.005^2) / 0.005^2 = 8,649
    finding = champion.judge(compared(10, 25), champion="3", **BARS)
    assert finding.action.startswith("About 8,700 test examples would tell. Keep the champion meanwhile; or raise")


def test_a_class_given_up_is_seen_though_accuracy_hides_it():
    finding = champion.judge(compared(5, 5, f1=-0.2), champion="3", **BARS)
    assert finding.verdict == "fail"
    assert "it is worse on rarer classes" in finding.reason


def test_macro_f1_that_can_not_tell_does_not_hold_a_candidate_up():
    assert champion.judge(compared(5, 5, f1=-0.03), champion="3", **BARS).verdict == "pass"


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.7, 0.9, "pass"), (0.5, 0.9, "unsure"), (0.2, 0.5, "fail")])
def test_classes_the_champion_does_not_know_are_held_to_the_absolute_bar(low, high, verdict):
    new = {"value": (low + high) / 2, "low": low, "high": high, "n": 40}
    assert champion.judge(compared(5, 5, new=new), champion="3", **BARS).verdict == verdict


def test_new_classes_without_a_test_example_are_not_let_through():
    finding = champion.judge(compared(5, 5, new=True), champion="3", **BARS)
    assert finding.verdict == "fail"
    assert "No test example is of the new classes c" in finding.reason


@pytest.mark.parametrize("document", [None, {}, {"paired": {"wins": 1}}, {**compared(5, 5), "macro_f1": None}])
def test_a_comparison_that_was_not_made_fails(document):
    finding = champion.judge(document, champion="3", **BARS)
    assert finding.verdict == "fail"
    assert "not compared with" in finding.reason


def test_no_class_in_common_fails():
    finding = champion.judge(compared(0, 0, 0), champion="3", **BARS)
    assert finding.verdict == "fail"
    assert "No test example is of a class that both" in finding.reason


@pytest.mark.slow
def test_a_candidate_worse_by_the_margin_replaces_the_champion_at_most_as_often_as_the_level():
    random = np.random.default_rng(8)
    draws = random.multinomial(2000, [0.015, 0.035, 0.95], size=1500)  # worse by the margin of 0.02
    passed = [
        champion.judge(compared(int(wins), int(losses), 2000), champion="3", **BARS).verdict == "pass"
        for wins, losses, _ in draws
    ]
    assert np.mean(passed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)


@pytest.mark.slow
def test_an_equally_good_candidate_mostly_replaces_it_given_the_examples_that_power_asks_for():
    n = paired.sample_size(0.02, 0.05, 0.05, 0.8)
    draws = np.random.default_rng(9).multinomial(n, [0.025, 0.025, 0.95], size=1500)
    passed = [
        champion.judge(compared(int(wins), int(losses), n), champion="3", **BARS).verdict == "pass"
        for wins, losses, _ in draws
    ]
    assert np.mean(passed) > 0.75

"""What is predicted for the test split."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from headstart.statistics.interval import wilson
from headstart.transfer import forecast
from headstart.transfer.race import Leg, Outcome
from tests.unit.test_transfer_decision import choice, evidence, race


def test_the_probe_predicts_what_it_reached_with_the_doubt_of_a_test_split_added():
    # probe 0.8 +- 0.02 at 90%; a test of 400 rows: z sqrt(0.8 * 0.2 / 400) = 1.645 * 0.02 = 0.0329
    predicted = forecast.predict("linear_probe", evidence(), None, choice())
    reach = (0.02**2 + 0.0329**2) ** 0.5
    assert predicted["value"] == pytest.approx(0.8)
    assert predicted["high"] - predicted["value"] == pytest.approx(reach, abs=1e-4)
    assert predicted["value"] - predicted["low"] == pytest.approx(reach, abs=1e-4)
    assert predicted["basis"] == "the probe on held-out folds of train"


def test_errors_of_the_race_fall_as_labels_grow_by_the_power_law():
    # right on 360 of 400 after 50 rows: error (40 + 0.5) / 401; 100 rows are twice as many
    error = 40.5 / 401
    run = race({"linear_probe": 0.7, "fine_tune": 0.9}, ["fine_tune"])
    predicted = forecast.predict("fine_tune", evidence(test=10_000_000), run, choice())
    assert predicted["value"] == pytest.approx(1 - error * 2**-0.35)
    measured = (wilson(360, 400, 0.9).high - wilson(360, 400, 0.9).low) / 2 * 2**-0.35
    slow, fast = error * (1 - 2**-0.35), error * (2**-0.35 - 2**-0.75)
    assert predicted["value"] - predicted["low"] == pytest.approx(np.hypot(slow, measured), abs=1e-4)
    assert predicted["high"] - predicted["value"] == pytest.approx(np.hypot(fast, measured), abs=1e-4)
    assert predicted["basis"] == "90.0% in the race after learning from 50, its errors falling as labels grow to 100"


def test_a_trained_strategy_is_predicted_no_worse_than_the_probe_that_would_be_handed_on():
    run = race({"linear_probe": 0.75, "fine_tune": 0.76}, ["fine_tune"])
    predicted = forecast.predict("fine_tune", evidence(probe=0.85, test=10_000_000), run, choice())
    assert predicted["value"] == pytest.approx(0.85)
    assert predicted["low"] >= 0.80
    assert predicted["basis"].endswith("which is handed on where fine_tune is no better")


def test_a_strategy_that_did_not_race_is_predicted_with_the_doubt_of_half_the_errors():
    predicted = forecast.predict("scratch", evidence(test=10_000_000), None, choice())
    assert predicted["value"] == pytest.approx(0.8)
    assert predicted["high"] - 0.8 == pytest.approx((0.1**2 + 0.02**2) ** 0.5, abs=1e-4)
    assert "scratch did not race" in predicted["basis"]


def carried_on(probe: float, fine_tune: float, *, left: tuple[float, float], growth: float, run: Outcome) -> float:
    """The chance by hand, each judged example counted alone: 400 of them, errors of 0.5 more than were seen."""
    errors = [(400 * (1 - share) + 0.5) / 401 for share in (probe, fine_tune)]
    falls = [left, (growth**-0.35, (1 - growth**-0.75) / 2 / 1.6449)]
    wrong = [~leg.right for leg in run.legs]
    each = np.array([falls[0][0] * one - falls[1][0] * other for one, other in zip(*wrong, strict=True)])
    doubts = [each.std(ddof=1) / 20, *(error * fall[1] for error, fall in zip(errors, falls, strict=True))]
    ahead = falls[0][0] * errors[0] - falls[1][0] * errors[1]
    return NormalDist().cdf(ahead / np.sqrt(np.square(doubts).sum()))


@pytest.mark.parametrize(("times", "growth"), [(1, 2), (4, 8)])
def test_the_chance_to_overtake_is_that_of_both_carried_on_from_the_same_judged_examples(times, growth):
    # both learned from 50 of 100 rows; the probe's errors fall as its curve does from there, fine-tuning's by its power
    run, found = race({"linear_probe": 0.82, "fine_tune": 0.8}, ["linear_probe", "fine_tune"]), evidence()
    expected = carried_on(0.82, 0.8, left=found.curve.left(50, 100 * times), growth=growth, run=run)
    told = forecast.chance("fine_tune", "linear_probe", found, run, choice(), times=times)
    assert told == pytest.approx(expected, abs=1e-4)
    back = forecast.chance("linear_probe", "fine_tune", found, run, choice(), times=times)
    assert back == pytest.approx(1 - expected, abs=1e-4)


def test_how_right_the_probe_is_on_folds_of_train_is_no_yardstick_for_who_was_judged_elsewhere():
    run = race({"linear_probe": 0.82, "fine_tune": 0.8}, ["linear_probe", "fine_tune"])
    told = [forecast.chance("fine_tune", "linear_probe", evidence(probe=one), run, choice()) for one in (0.6, 0.95)]
    assert told[0] == told[1]


def test_the_more_alike_two_answer_the_surer_is_who_is_ahead():
    apart = race({"linear_probe": 0.7, "fine_tune": 0.75}, ["linear_probe", "fine_tune"])
    right = [np.arange(400) < 400 * share for share in (0.7, 0.75)]  # fine-tuning is right wherever the probe is
    legs = [replace(leg, right=one) for leg, one in zip(apart.legs, right, strict=True)]
    alike, found = replace(apart, legs=legs), evidence()
    told = [forecast.chance("fine_tune", "linear_probe", found, run, choice()) for run in (apart, alike)]
    assert told[0] < told[1]
    clustered = replace(alike, groups=[f"g{row // 100}" for row in range(400)])  # all that differ are one group's
    assert forecast.chance("fine_tune", "linear_probe", found, clustered, choice()) < told[1]


def test_a_probe_without_a_curve_falls_as_the_others_do():
    run = race({"linear_probe": 0.8, "fine_tune": 0.8}, ["linear_probe", "fine_tune"])
    assert forecast.chance(
        "fine_tune", "linear_probe", replace(evidence(), curve=None), run, choice()
    ) == pytest.approx(0.5)


def test_a_perfect_probe_stays_within_one():
    predicted = forecast.predict("linear_probe", evidence(probe=1.0), None, choice())
    assert predicted["value"] == predicted["high"] == 1.0
    assert predicted["low"] < 1.0


def test_of_simulated_power_laws_the_interval_holds_as_many_as_it_says():
    generator, held = np.random.default_rng(0), []
    z = 1.6449
    for _ in range(600):
        power = generator.normal(forecast.LIKELY, (forecast.FASTEST - forecast.LIKELY) / z)
        share = generator.uniform(0.1, 0.4)
        right = generator.random(500) >= share
        leg = Leg("fine_tune", 25, wilson(int(right.sum()), 500, 0.9), right, 10, 1.0)
        run = Outcome([leg], {}, ["fine_tune"], "fine_tune", {}, {}, 30, 100, "All rungs were run.")
        predicted = forecast.predict("fine_tune", evidence(probe=0.01), run, choice())
        truth = generator.binomial(400, 1 - min(1.0, share * 4**-power)) / 400
        held.append(predicted["low"] <= truth <= predicted["high"])
    assert 0.85 <= np.mean(held) <= 0.95

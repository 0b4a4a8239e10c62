"""What is predicted for the test split."""

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
    assert predicted["basis"] == "0.900 in the race after learning from 50, its errors falling as labels grow to 100"


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


def test_the_chance_to_overtake_is_that_of_both_carried_on_to_all_of_train():
    # fine-tuning: wrong on 0.2 after 50 of 100 rows; the probe is right on 0.8 +- 0.02 (90%) of held-out folds
    run = race({"linear_probe": 0.8, "fine_tune": 0.8}, ["linear_probe", "fine_tune"])
    error, z = 80.5 / 401, 1.6449
    measured = (wilson(320, 400, 0.9).high - wilson(320, 400, 0.9).low) / 2 * 2**-0.35
    spread = np.hypot(error * (1 - 2**-0.75) / 2, measured) / z
    expected = NormalDist().cdf((1 - error * 2**-0.35 - 0.8) / np.hypot(spread, 0.02 / z))
    assert forecast.chance("fine_tune", "linear_probe", evidence(), run, choice()) == pytest.approx(expected, abs=1e-4)
    back = forecast.chance("linear_probe", "fine_tune", evidence(), run, choice())
    assert back == pytest.approx(1 - expected, abs=1e-4)

    # at a level of 0.5 the same intervals are of twice the errors and more: less can be said
    wide = choice().model_copy(update={"interval": 0.5})
    z = 0.6745
    spread = np.hypot(error * (1 - 2**-0.75) / 2 / 1.6449, measured / z)
    expected = NormalDist().cdf((1 - error * 2**-0.35 - 0.8) / np.hypot(spread, 0.02 / z))
    assert forecast.chance("fine_tune", "linear_probe", evidence(), run, wide) == pytest.approx(expected, abs=1e-4)


def test_with_more_labels_than_train_the_probe_grows_by_its_curve_and_who_raced_by_its_power_law():
    run = race({"linear_probe": 0.8, "fine_tune": 0.8}, ["linear_probe", "fine_tune"])
    found, error, z = evidence(), 80.5 / 401, 1.6449
    measured = (wilson(320, 400, 0.9).high - wilson(320, 400, 0.9).low) / 2 * 8**-0.35  # 400 rows, the race had 50
    spread = np.hypot(error * (1 - 8**-0.75) / 2, measured) / z
    now, then = found.curve.at(100), found.curve.at(400)
    probe, around = 0.8 + then.value - now.value, np.hypot(0.02, (then.high - then.low) / 2) / z
    expected = NormalDist().cdf((1 - error * 8**-0.35 - probe) / np.hypot(spread, around))
    assert then.value > now.value
    told = forecast.chance("fine_tune", "linear_probe", found, run, choice(), times=4)
    assert told == pytest.approx(expected, abs=1e-4)


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

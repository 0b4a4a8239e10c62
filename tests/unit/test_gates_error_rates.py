"""How often gates without absolute bars err, by simulation: the numbers that their docstrings quote."""

import numpy as np
import pytest

from headstart.evaluation import metrics
from headstart.evaluation.gates import baseline, calibration_error

pytestmark = pytest.mark.nightly
RUNS = 2000


def rates(lead, examples, differing):
    """Of runs in which the candidate is truly better by `lead`, the shares that pass and that are provisional."""
    rng = np.random.default_rng(0)
    wins, losses = (differing + lead) / 2, (differing - lead) / 2
    passed = provisional = 0
    for won, lost, _ in rng.multinomial(examples, [wins, losses, 1 - wins - losses], size=RUNS):
        accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": examples}
        paired = {"wins": int(won), "losses": int(lost), "n": examples}
        found = baseline.judge({"baselines": {"words_svm": {"accuracy": accuracy, "paired": paired}}}, 0.0, 0.05)
        passed += found.verdict == "pass"
        provisional += baseline.is_better(found.document())
    return passed / RUNS, provisional / RUNS


@pytest.mark.parametrize("differing", [0.1, 0.3])
@pytest.mark.parametrize("examples", [60, 120, 300, 600])
def test_a_candidate_no_better_than_the_baseline_passes_once_in_twenty_and_is_provisional_less_than_half_the_time(
    examples, differing
):
    passed, provisional = rates(0.0, examples, differing)
    assert 0.035 <= passed <= 0.065
    assert 0.36 <= provisional <= 0.48


@pytest.mark.parametrize(("examples", "differing"), [(60, 0.1), (60, 0.3), (120, 0.3), (600, 0.3)])
def test_a_candidate_five_points_worse_hardly_ever_passes(examples, differing):
    passed, provisional = rates(-0.05, examples, differing)
    assert passed <= 0.015
    assert provisional <= 0.2


def failures(examples, too_sure, draw):
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(RUNS // 2):
        confidence = draw(rng, examples)
        right = rng.random(examples) < np.clip(confidence - too_sure, 0, 1)
        probabilities = np.stack([confidence, *[(1 - confidence) / 9] * 9], axis=1)
        targets = np.where(right, 0, 1)
        ece = metrics.expected_calibration_error(probabilities, targets, 15)
        document = {
            "metrics": {"ece": {"value": ece, "low": ece, "high": ece, "n": examples}},
            "reliability": metrics.reliability(probabilities, targets, 15),
        }
        failed += calibration_error.judge(document, None, 0.05).verdict == "fail"
    return failed / (RUNS // 2)


def flat(rng, n):
    return rng.uniform(0.3, 1.0, n)


def high(rng, n):
    return 0.2 + 0.8 * rng.beta(5, 1.5, n)


@pytest.mark.parametrize("draw", [flat, high])
@pytest.mark.parametrize("examples", [60, 120, 500, 5000])
def test_a_calibrated_model_hardly_ever_fails(examples, draw):
    assert failures(examples, 0.0, draw) <= 0.005


@pytest.mark.parametrize("draw", [flat, high])
@pytest.mark.parametrize(("examples", "least"), [(120, 0.65), (500, 0.99)])
def test_a_model_that_is_much_too_sure_fails(examples, least, draw):
    assert failures(examples, 0.2, draw) >= least

"""Gate `log_loss`: no worse than guessing by class shares, as far as the examples can tell."""

import math

import pytest

from headstart.evaluation.gates import log_loss


def evaluation(ours, guessed, low, high, n=68):
    def interval(value, low, high):
        return {"value": value, "low": low, "high": high, "n": n}

    return {
        "metrics": {"nll": interval(ours, ours - 0.2, ours + 0.2)},
        "guessing": {
            "nll": interval(guessed, guessed - 0.02, guessed + 0.02),
            "difference": interval(ours - guessed, low, high),
        },
    }


@pytest.mark.parametrize(
    ("ours", "low", "high", "verdict"),
    [
        pytest.param(1.23, 0.21, 0.87, "fail", id="worse beyond doubt"),
        pytest.param(0.83, -0.03, 0.41, "unsure", id="perhaps worse"),
        pytest.param(0.60, -0.21, 0.05, "pass", id="perhaps better"),
        pytest.param(0.20, -0.60, -0.40, "pass", id="better"),
    ],
)
def test_against_guessing(ours, low, high, verdict):
    finding = log_loss.judge(evaluation(ours, 0.69, low, high))
    assert (finding.verdict, finding.statistic, finding.bar) == (verdict, ours, 0.69)
    assert bool(finding.action) == (verdict != "pass")


def test_the_sentence_says_what_guessing_costs():
    finding = log_loss.judge(evaluation(1.23, 0.69, 0.21, 0.87))
    assert finding.reason == (
        "Log loss is 1.230 on 68 test examples; answering each with the class shares of train costs 0.690: the "
        "difference is 0.540 (0.210 to 0.870), so its probabilities are worse than guessing."
    )


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="no evaluation"),
        pytest.param({"metrics": {"nll": {"value": 0.1, "low": 0.1, "high": 0.1, "n": 9}}}, id="format 1"),
        pytest.param(evaluation(1.0, 0.7, math.nan, 0.9), id="not a number"),
        pytest.param(evaluation(1.0, 0.7, 0.1, 0.9, n=0), id="no example"),
    ],
)
def test_missing_evidence_fails(document):
    finding = log_loss.judge(document)
    assert finding.verdict == "fail"
    assert "without evidence nothing is deployed" in finding.reason

"""The screen before export: what is hopeless is stopped, what was kept is judged."""

import math

import numpy as np
import pytest

from headstart.errors import GateError
from headstart.evaluation import screen
from headstart.params.evaluation import Override
from headstart.params.transfer import Screen
from headstart.report.finding_words import told

PARAMS = Screen(loss_growth=1.5)


def history(*, kept="fine_tune", loss=0.4, accuracy=0.9, start=0.6, steps=((1.0, 2.0), (0.5, 1.0)), macro_f1=None):
    """A probe, and a network that was trained for one epoch."""
    network = {
        "strategy": "fine_tune" if kept == "linear_probe" else kept,
        "start_loss": start,
        "validation": {"accuracy": {"value": accuracy}, "macro_f1": {"value": macro_f1}, "loss": loss},
        "training": {
            "steps": [
                {"step": n, "epoch": 1.0, "loss": one, "gradient_norm": norm} for n, (one, norm) in enumerate(steps)
            ],
            "best_epoch": 1,
        },
    }
    measured = {"accuracy": {"value": 0.75}, "macro_f1": {"value": 0.7}, "loss": 0.6}
    probe = {"strategy": "linear_probe", "start_loss": 0.6, "validation": measured, "training": None}
    return {"kept": kept, "candidates": [probe, network]}


def judge(document, params=PARAMS, share=0.3, *, by_class=False):
    """On 100 validation rows, of which class 0 has a share and the nine others the rest."""
    targets = np.array([0] * round(100 * share) + [1 + place % 9 for place in range(100 - round(100 * share))])
    return screen.judge(document, params, targets, 10, by_class=by_class)


def verdicts(document, share=0.3, params=PARAMS):
    return {finding.check: finding.verdict for finding in judge(document, params, share)}


TRAINED = ["fine_tune", "lora", "adapt_then_fine_tune", "scratch"]


@pytest.mark.parametrize("used", TRAINED)
def test_a_healthy_network_passes_everything_whatever_trained_it(used):
    assert verdicts(history(kept=used), share=0.6) == {
        "nonfinite": "pass",
        "diverged": "pass",
        "above_majority": "pass",
    }


@pytest.mark.parametrize("used", TRAINED)
def test_a_broken_one_fails_whatever_trained_it(used):
    document = history(kept=used, loss=1.2, accuracy=0.2, steps=((math.nan, 1.0),))
    assert verdicts(document) == {"nonfinite": "fail", "diverged": "fail", "above_majority": "fail"}


def test_growth_is_counted_from_where_training_started_not_from_the_probe():
    assert (
        verdicts(history(loss=0.8, accuracy=0.7, start=0.9))["diverged"] == "pass"
    )  # the probe's loss is 0.6, ends lower


def test_a_probe_that_is_kept_is_judged_by_its_own_numbers():
    # fine-tuning blew up, but its network is not the one that was kept
    document = history(kept="linear_probe", loss=9.0, accuracy=0.1, steps=((math.nan, 1.0),))
    assert set(verdicts(document).values()) == {"pass"}
    assert "The linear probe is right on 0.750" in told(judge(document)[2])["reason"]


def test_loss_that_grew_is_called_diverged_with_both_numbers():
    finding = judge(history(loss=1.2, accuracy=0.8), share=0.3)[1]
    assert finding.verdict == "fail"
    assert finding.statistic == pytest.approx(2.0)
    assert "went from 0.600 to 1.200, 2.00 times its start; 1.5 is allowed" in told(finding)["reason"]
    assert "learning_rate" in told(finding)["action"]


def test_always_giving_the_commonest_class_is_not_enough():
    finding = judge(history(accuracy=0.5), share=0.5)[2]
    assert finding.verdict == "fail"
    assert "nothing useful was learned" in told(finding)["reason"]


@pytest.mark.parametrize("broken", [math.nan, math.inf, None])
def test_a_step_that_is_not_a_number_fails_and_is_named(broken):
    finding = judge(history(steps=((1.0, 2.0), (0.5, broken), (broken, 1.0))), share=0.3)[0]
    assert finding.verdict == "fail"
    assert "2 of 3 training steps" in told(finding)["reason"]
    assert "the first at step 1" in told(finding)["reason"]


@pytest.mark.parametrize(
    "document", [{}, {"kept": "fine_tune"}, {"kept": "linear_probe", "candidates": [{"strategy": "linear_probe"}]}]
)
def test_a_history_that_says_nothing_fails(document):
    assert set(verdicts(document).values()) == {"fail"}


def rare(f1):
    """The case of 6% fraud: balanced weights give up accuracy (0.771 against 0.938) for the rare class."""
    document = history(accuracy=0.771, loss=0.5, macro_f1=f1)
    targets = np.array([0] * 15 + [1])
    return screen.judge(document, PARAMS, targets, 2, by_class=True)[2]


def test_where_training_counts_every_class_alike_macro_f1_is_asked_for():
    finding = rare(0.711)
    # always class 0: F1 of class 0 is 2 * 15 / (16 + 15), of class 1 nothing
    assert (finding.verdict, finding.bar) == ("pass", pytest.approx(15 / 31))
    assert "has macro-F1 0.711 on validation; always giving the commonest class has 0.484" in told(finding)["reason"]
    assert rare(15 / 31).verdict == "fail"
    assert rare(None).verdict == "fail"


def test_accuracy_below_the_commonest_class_names_the_way_to_serve_a_rare_class():
    finding = judge(history(accuracy=0.5), share=0.6)[2]
    assert "set class_weights: balanced" in told(finding)["action"]


FAILED = {"check": "above_majority", "verdict": "fail", "reason": "r", "action": "a"}
REFUSED = {"verdict": "fail", "findings": [FAILED]}


def test_a_refusal_names_the_way_to_override_it():
    with pytest.raises(GateError, match=r"is not exported\.") as caught:
        screen.require(REFUSED, None, "rare")
    assert "headstart run rare --reason WHY" in caught.value.action


def test_an_override_lets_one_candidate_through_and_no_other():
    screen.require(REFUSED, Override(candidate=screen.candidate(REFUSED), reason="recall is 1.0"), "rare")
    other = {**REFUSED, "findings": [{**REFUSED["findings"][0], "reason": "worse"}]}
    with pytest.raises(GateError, match=r"is for another candidate"):
        screen.require(other, Override(candidate=screen.candidate(REFUSED), reason="recall is 1.0"), "rare")

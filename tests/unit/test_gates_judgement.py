"""All gates together: closed without evidence, one finding each, plain JSON."""

import json

from headstart.evaluation import gates
from headstart.findings import overall
from headstart.params.evaluation import Gates

CHECKS = [
    "accuracy", "macro_f1", "class_recall", "calibration_error", "log_loss", "baseline", "parity",
    "preprocessing", "batchnorm", "replay", "lost_classes", "champion",
]  # fmt: skip
PARAMS = Gates(
    accuracy=0.6, macro_f1=0.5, calibration_error=0.15, baseline_margin=0.0, champion_margin=0.02, level=0.05
)


def interval(value, width=0.02, n=500):
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def evidence(**changes):
    documents = {
        "evaluation": {
            "metrics": {"accuracy": interval(0.9), "macro_f1": interval(0.88), "ece": interval(0.03),
                        "nll": interval(0.3)},
            "guessing": {"nll": interval(1.6), "difference": interval(-1.3)},
            "per_class": [{"label": name, "recall": 0.9, "support": 100, "groups": None} for name in "abcde"],
            "baselines": {
                "majority": {"accuracy": interval(0.2), "paired": {"wins": 360, "losses": 10, "n": 500}},
                "tfidf_logistic": {"accuracy": interval(0.8), "paired": {"wins": 60, "losses": 10, "n": 500}},
            },
        },
        "parity": {
            "examples": 128, "max_difference": 1e-5, "label_flips": 0, "batch_difference": 1e-6,
            "graph": {"dropout": 0, "batchnorm_training": 0, "random_ops": 0},
        },
        "preprocessing": {
            "cases": [{"name": "rgb", "prepared_difference": 0.0, "logit_difference": 1e-6, "flipped": False,
                       "mistakes": []}],
            "refused": ["empty"], "same_prepared": 1.01,
        },
        "served": {"inputs": 40, "refused": 1, "max_difference": 0.0, "label_flips": 0, "wrong": []},
        "batchnorm": {"layers": [], "cure": None},
        "replay": {"examples": 16, "max_difference": 0.0, "label_flips": 0},
        "comparison": None,
        "champion": None,
    }  # fmt: skip
    return gates.Evidence(**{**documents, **changes})


def test_a_good_first_candidate_passes_every_gate():
    findings = gates.judge(evidence(), PARAMS)
    assert [finding.check for finding in findings] == CHECKS
    assert overall(findings) == "pass"


BARLESS = PARAMS.model_copy(update={"accuracy": None, "macro_f1": None, "calibration_error": None})


def small(wins, losses, **metrics):
    """116 test rows, on which the candidate is right 0.6 of the time; one bin of answers that are calibrated."""
    document = evidence().evaluation
    return {
        **document,
        "metrics": {**document["metrics"], "accuracy": interval(0.6, 0.09, 116), "macro_f1": interval(0.55, 0.1, 116),
                    "ece": interval(0.08, 0.05, 116), **metrics},
        "reliability": [{"n": 116, "confidence": 0.6}],
        "baselines": {"words_svm": {"accuracy": interval(0.55), "paired": {"wins": wins, "losses": losses, "n": 116}}},
    }  # fmt: skip


def test_a_first_candidate_that_is_ahead_on_a_small_test_set_has_one_doubt():
    findings = gates.judge(evidence(evaluation=small(18, 12)), BARLESS)
    assert overall(findings) == "unsure"
    found = gates.doubt(finding.document() for finding in findings)
    assert found is not None and found["check"] == "baseline"
    assert gates.settled(found["evidence"]).startswith("About ")


def test_one_beyond_doubt_passes_and_has_none():
    findings = gates.judge(evidence(evaluation=small(40, 5)), BARLESS)
    assert overall(findings) == "pass"
    assert gates.doubt(finding.document() for finding in findings) is None


def test_one_that_is_behind_on_these_examples_is_no_provisional_champion():
    findings = gates.judge(evidence(evaluation=small(12, 18)), BARLESS)
    assert gates.doubt(finding.document() for finding in findings) is None


def test_a_doubt_besides_the_baseline_closes_the_way():
    findings = gates.judge(evidence(evaluation=small(18, 12)), BARLESS.model_copy(update={"accuracy": 0.6}))
    assert [finding.check for finding in findings if finding.verdict != "pass"] == ["accuracy", "baseline"]
    assert gates.doubt(finding.document() for finding in findings) is None


def test_proposed_bars_lie_as_far_from_the_interval_as_its_end_from_the_value():
    # 0.6 - 2 * 0.09, 0.55 - 2 * 0.1, 0.08 + 2 * 0.05
    evaluation = small(18, 12) | {"baselines": {}}
    assert gates.proposed_bars(evaluation) == {"accuracy": 0.42, "macro_f1": 0.35, "calibration_error": 0.18}


def test_no_proposed_bar_lies_below_the_majority_class():
    guessed = {"majority": {"accuracy": {"value": 0.558}, "macro_f1": {"value": 0.2}}}
    evaluation = small(18, 12) | {"baselines": guessed}
    assert gates.proposed_bars(evaluation) == {"accuracy": 0.55, "macro_f1": 0.35, "calibration_error": 0.18}


def test_without_any_evidence_every_gate_is_closed():
    findings = gates.judge(gates.Evidence(None, None, None, None, champion="2"), PARAMS)
    assert [finding.verdict for finding in findings] == ["fail"] * len(CHECKS)
    assert all(finding.reason and finding.action for finding in findings)


def test_a_champion_without_a_comparison_closes_the_gate():
    findings = gates.judge(evidence(champion="2"), PARAMS)
    assert [finding.check for finding in findings if finding.verdict == "fail"] == ["lost_classes", "champion"]


def test_findings_are_plain_json_without_nan():
    for documents in (evidence(), gates.Evidence(None, None, None, None, champion=None)):
        for finding in gates.judge(documents, PARAMS):
            json.dumps(finding.document(), allow_nan=False)

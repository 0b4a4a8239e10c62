"""Gates `parity` and `replay`: the same answers before and after export, and after sealing."""

import pytest

from headstart.evaluation.gates import parity, replay

CLEAN = {"dropout": 0, "batchnorm_training": 0, "random_ops": 0}


def exported(**changes):
    return {"examples": 128, "max_difference": 1e-5, "label_flips": 0, "graph": CLEAN, **changes}


def replayed(**changes):
    return {"examples": 16, "max_difference": 1e-7, "label_flips": 0, **changes}


def test_an_exported_file_that_answers_as_the_network_passes():
    finding = parity.judge(exported(), 1e-3, 0)
    assert finding.verdict == "pass"
    assert "differ from the network's by 1.0e-05 at most (1.0e-03 allowed) and 0 labels change" in finding.reason


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"max_difference": 0.01}, "1.0e-02 at most", id="other logits"),
        pytest.param({"label_flips": 1}, "1 labels change (0 allowed)", id="another label"),
        pytest.param({"graph": {**CLEAN, "dropout": 3}}, "training: 3 dropout", id="dropout left in"),
        pytest.param({"graph": {**CLEAN, "random_ops": ["RandomNormal"]}}, "1 random_ops", id="randomness, by name"),
        pytest.param({"graph": {**CLEAN, "batchnorm_training": True}}, "1 batchnorm_training", id="a flag"),
    ],
)
def test_an_exported_file_that_answers_otherwise_fails(changes, told):
    finding = parity.judge(exported(**changes), 1e-3, 0)
    assert finding.verdict == "fail"
    assert told in finding.reason
    assert finding.action


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        exported(examples=0),
        exported(max_difference=None),
        exported(graph=None),
        exported(graph={"dropout": 0}),
    ],
)
def test_an_export_that_was_not_compared_in_full_fails(document):
    finding = parity.judge(document, 1e-3, 0)
    assert finding.verdict == "fail"
    assert "not compared in full" in finding.reason


def test_a_bundle_that_gives_its_golden_answers_again_passes():
    finding = replay.judge(replayed(), 1e-4)
    assert finding.verdict == "pass"
    assert finding.reason.startswith("Of 16 golden examples 0 get another label")


@pytest.mark.parametrize("changes", [{"max_difference": 2e-4}, {"label_flips": 1}])
def test_a_bundle_that_answers_otherwise_fails(changes):
    finding = replay.judge(replayed(**changes), 1e-4)
    assert finding.verdict == "fail"
    assert "headstart doctor" in finding.action


@pytest.mark.parametrize("document", [None, {}, replayed(examples=0), replayed(max_difference=None)])
def test_a_bundle_that_was_not_replayed_fails(document):
    assert replay.judge(document, 1e-4).verdict == "fail"

"""Gate `preprocessing`: hard inputs come out alike on both ways, and a difference is told by where it starts."""

import pytest

from headstart.evaluation.gates import preprocessing


def case(name="palette", prepared=0.0, logits=1e-6, flipped=False, mistakes=()):
    return {
        "name": name, "prepared_difference": prepared, "logit_difference": logits, "flipped": flipped,
        "mistakes": list(mistakes),
    }  # fmt: skip


def served(*wrong):
    return {"inputs": 40, "refused": 3, "max_difference": 0.0, "label_flips": len(wrong), "wrong": list(wrong)}


def judged(found, own=()):
    return preprocessing.judge(found, 1e-3, served(), data_findings=own)


def document(*cases, **changes):
    return {"cases": [case("rgb"), *cases], "refused": ["empty"], "same_prepared": 1.01, **changes}


def test_equal_answers_pass_and_refusals_are_counted():
    finding = judged(document(case(prepared=1.0)))
    assert (finding.verdict, finding.statistic) == ("pass", 1e-6)
    assert "1 others are refused, as the contract has it" in finding.reason


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param(
            case(prepared=40.0, logits=0.2, mistakes=["resized by the bicubic filter"]),
            "its logits differ by 2.0e-01; the difference starts before the network: resized by the bicubic filter.",
            id="a filter",
        ),
        pytest.param(
            case(prepared=None, logits=0.2, flipped=True),
            "and its label is another one; the difference starts before the network, and no known mistake explains it.",
            id="another shape",
        ),
        pytest.param(case(prepared=5.0), "starts before the network", id="inputs that the network does not hear"),
        pytest.param(case(logits=0.2), "it is prepared alike, so the difference starts in model.onnx.", id="a network"),
        pytest.param(case(flipped=True), "and its label is another one", id="a label"),
        pytest.param(case(prepared=None, logits=None, flipped=True), "give no answer at all", id="no answer"),
    ],
)
def test_a_difference_fails_and_is_told_by_where_it_starts(wrong, told):
    finding = judged(document(wrong))
    assert finding.verdict == "fail"
    assert "Of 2 inputs that are hard to read, 1 come out otherwise: palette." in finding.reason
    assert told in finding.reason
    assert finding.action


@pytest.mark.parametrize("missing", [None, {}, document(cases=[]), document(same_prepared=None)])
def test_without_a_comparison_the_gate_is_closed(missing):
    finding = judged(missing)
    assert finding.verdict == "fail"
    assert "Hard inputs were not compared" in finding.reason


def own(verdict, reason=""):
    evidence = {"inputs": 64, "count": 1}
    return [
        {"check": "ids"},
        {"check": "contract_agreement", "verdict": verdict, "reason": reason, "evidence": evidence},
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (own("pass"), "The backbone's own processor agrees with those values on 64 training inputs."),
        (own("unsure"), "The backbone's own processor gives other values on 1 of 64 training inputs."),
        (own("unsure", "1 of 64 inputs differ."), "Against the backbone's own processor, 1 of 64 inputs differ."),
    ],
)
def test_what_the_backbones_own_processor_makes_of_training_inputs_is_told_beside_it(found, told):
    assert judged(document(), found).reason.endswith(told)
    assert judged(document(case(logits=0.2)), found).reason.endswith(told)
    assert judged(document(), found).verdict == "pass"


def test_a_server_that_answers_otherwise_fails_with_the_first_input_that_differs():
    wrong = [
        {"name": "exif_6", "served": "cat", "expected": "dog"},
        {"name": "empty", "served": "cat", "expected": None},
    ]
    finding = preprocessing.judge(document(), 1e-3, served(*wrong))
    assert finding.verdict == "fail"
    assert "Of 40 inputs asked over HTTP, 2 are answered otherwise" in finding.reason
    assert "exif_6 is cat, and should be dog" in finding.reason


@pytest.mark.parametrize("missing", [None, {}, {"inputs": 0}])
def test_where_no_server_was_asked_the_gate_is_closed(missing):
    finding = preprocessing.judge(document(), 1e-3, missing)
    assert finding.verdict == "fail"
    assert "No server of the bundle was asked" in finding.reason

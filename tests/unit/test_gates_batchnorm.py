"""Gate `batchnorm` on documents: which statistics it lets pass and what it says of the others."""

import pytest

from headstart.evaluation.gates import batchnorm


def layer(name, **changes):
    return {"name": name, "kept": True, "moved": False, "divergence": 3.0, "bar": 0.02, **changes}


def learned(divergence):
    return layer("a", kept=False, divergence=divergence)


def document(*layers, gained=5, lost=5, cure=None):
    validation = {"n": 200, "stored": 180, "reestimated": 180 + gained - lost, "gained": gained, "lost": lost}
    return {"layers": list(layers), "images": 500, "validation": validation, "cure": cure}


def parity(*, difference=1e-6, nodes=0):
    return {"batch_difference": difference, "graph": {"dropout": 0, "batchnorm_training": nodes, "random_ops": 0}}


@pytest.mark.parametrize(
    ("found", "compared", "verdict"),
    [
        pytest.param({"layers": []}, parity(), "pass", id="no BatchNorm"),
        pytest.param(
            {"layers": []}, parity(difference=0.1), "fail", id="no BatchNorm, but answers depend on the batch"
        ),
        pytest.param(document(layer("a"), layer("b")), parity(), "pass", id="kept, far from training images by right"),
        pytest.param(document(layer("a"), layer("b", moved=True)), parity(), "fail", id="one frozen layer moved"),
        pytest.param(document(layer("a")), parity(nodes=1), "fail", id="normalises by the batch"),
        pytest.param(document(layer("a"), gained=60, lost=0), parity(), "pass", id="kept, others would be better"),
        pytest.param(document(learned(0.01)), parity(), "pass", id="learned, an average over training"),
        pytest.param(document(learned(0.05), gained=4, lost=9), parity(), "pass", id="learned, off and none the worse"),
        pytest.param(document(learned(0.05), gained=9, lost=4), parity(), "fail", id="learned, off and worse for it"),
        pytest.param(document(learned(0.01), gained=40, lost=2), parity(), "fail", id="learned, plainly worse"),
        pytest.param(None, parity(), "fail", id="no evidence"),
        pytest.param(document(layer("a")), None, "fail", id="no comparison of batches"),
    ],
)
def test_judges(found, compared, verdict):
    judged = batchnorm.judge(found, compared, 1e-3)
    assert judged.verdict == verdict
    assert bool(judged.action) is (verdict == "fail")


def test_says_that_a_network_has_no_batchnorm():
    assert "has no BatchNorm" in batchnorm.judge({"layers": []}, parity(), 1e-3).reason


@pytest.mark.parametrize(
    ("applied", "said"), [(True, "are exported in their place"), (False, "for another network, before it was trained")]
)
def test_says_what_became_of_a_cure(applied, said):
    judged = batchnorm.judge(document(layer("a"), cure={"applied": applied, "source": {}}), parity(), 1e-3)
    assert said in judged.reason
    assert judged.verdict == "pass"

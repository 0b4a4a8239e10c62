"""Injectors of files: what they leave behind is what an accident would leave."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headstart.bundle import Bundle, manifest_hash
from headstart.contract import spec
from headstart.errors import BundleError
from headstart.faults import bundles, checkpoints
from headstart.predictor import Predictor
from tests.unit import tiny_bundle


@pytest.fixture
def sealed(tmp_path):
    return tiny_bundle.text_bundle(tmp_path / "bundle")


def test_permuted_labels_pass_the_bundles_own_checks_and_answer_wrongly(sealed):
    before = manifest_hash(sealed)
    bundles.labels_permuted(sealed, np.random.default_rng(0))
    Bundle.open(sealed).verify()
    assert manifest_hash(sealed) != before
    assert spec.read(sealed).labels == ("positive", "negative")
    assert Predictor.load(sealed).predict(["good"])[0].label == "negative"


def test_inflated_logits_change_no_label_and_make_each_surer(sealed):
    before = Predictor.load(sealed).predict(["good", "bad"])
    bundles.logits_inflated(sealed, factor=2.0)
    after = Predictor.load(sealed).predict(["good", "bad"])
    assert [answer.label for answer in after] == [answer.label for answer in before]
    # logits (4, 0): odds e^4 become e^8
    assert before[0].probability == pytest.approx(1 / (1 + np.exp(-4)))
    assert after[0].probability == pytest.approx(1 / (1 + np.exp(-8)))


def test_an_altered_file_is_told_by_its_manifest(sealed):
    bundles.file_altered(sealed)
    with pytest.raises(BundleError, match=r"model\.onnx has SHA-256"):
        Bundle.open(sealed).verify()


def test_another_bundle_in_its_place_is_whole_in_itself(sealed, tmp_path):
    other = tiny_bundle.text_bundle(tmp_path / "other", temperature=3.0)
    bundles.replaced_by(sealed, other)
    Bundle.open(sealed).verify()
    assert manifest_hash(sealed) == manifest_hash(other)


@pytest.fixture
def checkpoint(tmp_path):
    """One BatchNorm of two channels, and a weight that must stay."""
    path = tmp_path / "model.safetensors"
    weights = {
        "conv.weight": np.arange(4, dtype=np.float32),
        "norm.running_mean": np.array([1.0, -1.0], dtype=np.float32),
        "norm.running_var": np.array([4.0, 9.0], dtype=np.float32),
        "norm.weight": np.ones(2, dtype=np.float32),
    }
    save_file(weights, path, metadata={"format": "pt"})
    return path


def test_moved_statistics_are_off_by_a_share_of_their_deviation(checkpoint):
    checkpoints.statistics_moved(checkpoint, 4, np.random.default_rng(0))
    weights = load_file(checkpoint)
    # severity 4: one deviation, here 2 and 3, up or down; variances doubled
    assert np.abs(weights["norm.running_mean"] - [1.0, -1.0]) == pytest.approx([2.0, 3.0])
    assert weights["norm.running_var"] == pytest.approx([8.0, 18.0])
    assert weights["conv.weight"].tolist() == [0, 1, 2, 3]


def test_lost_statistics_are_those_of_a_new_network(checkpoint):
    checkpoints.statistics_lost(checkpoint)
    weights = load_file(checkpoint)
    assert (weights["norm.running_mean"].tolist(), weights["norm.running_var"].tolist()) == ([0, 0], [1, 1])
    assert weights["norm.running_mean"].dtype == np.float32


def test_statistics_of_a_small_batch_repeat_with_their_seed(checkpoint, tmp_path):
    again = shutil.copy(checkpoint, tmp_path / "again.safetensors")
    for path in (checkpoint, again):
        checkpoints.last_batch_kept(path, 5, np.random.default_rng(3))
    assert checkpoint.read_bytes() == again.read_bytes()
    assert (load_file(checkpoint)["norm.running_var"] > 0).all()


def test_a_last_image_and_a_misread_momentum_leave_noise_that_repeats_with_its_seed(checkpoint, tmp_path):
    for name, inject in (("image", checkpoints.last_image_kept), ("momentum", checkpoints.momentum_misread)):
        one, other = (Path(shutil.copy(checkpoint, tmp_path / f"{name}{copy}")) for copy in range(2))
        for path in (one, other):
            inject(path, 1, np.random.default_rng(3))
        assert one.read_bytes() == other.read_bytes() != checkpoint.read_bytes()
        assert (load_file(one)["norm.running_var"] > 0).all()


def test_a_network_without_batchnorm_is_refused(tmp_path):
    save_file({"weight": np.zeros(2, dtype=np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="holds no BatchNorm"):
        checkpoints.statistics_lost(tmp_path / "m.safetensors")

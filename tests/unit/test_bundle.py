"""The deployable folder and its calibration."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.bundle import FILES, MANIFEST, Bundle, Calibration, manifest_hash, seal
from headstart.errors import BundleError

FORMAT_1 = {"format": 1, "temperature": 2.0, "bias": [0.5, -0.5], "abstain_below": 0.25}
LOGITS = arrays.arrays(np.float32, (4, 3), elements=st.floats(-50, 50, width=32))


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "export.onnx").write_bytes(b"weights")
    seal(tmp_path / "bundle", {"model.onnx": tmp_path / "export.onnx", "plan.json": b"{}"})
    return tmp_path / "bundle"


def test_the_identity_is_the_softmax():
    # e^0 : e^(ln 3) = 1 : 3
    assert Calibration.identity(2).apply(np.array([[0.0, np.log(3.0)]])) == pytest.approx(np.array([[0.25, 0.75]]))


def test_a_temperature_of_two_halves_the_logits():
    # 2 ln 3 / 2 = ln 3
    calibration = Calibration(2.0, (0.0, 0.0), 0.0)
    assert calibration.apply(np.array([[0.0, 2 * np.log(3.0)]])) == pytest.approx(np.array([[0.25, 0.75]]))


def test_the_bias_multiplies_odds_whatever_the_temperature():
    for temperature in (0.5, 1.0, 4.0):
        calibration = Calibration(temperature, (0.0, float(np.log(9.0))), 0.0)
        assert calibration.apply(np.zeros((1, 2))) == pytest.approx(np.array([[0.1, 0.9]]))


@settings(deadline=None, max_examples=50)
@given(LOGITS, st.floats(0.1, 10), st.floats(-30, 30))
def test_rows_sum_to_one_and_a_shift_of_all_logits_changes_nothing(logits, temperature, shift):
    calibration = Calibration(temperature, (0.1, 0.0, -0.1), 0.0)
    shares = calibration.apply(logits)
    assert shares.sum(axis=1) == pytest.approx(np.ones(4))
    assert calibration.apply(logits.astype(np.float64) + shift) == pytest.approx(shares, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(LOGITS, st.floats(0.1, 10))
def test_a_temperature_never_changes_the_winner(logits, temperature):
    rows = np.arange(len(logits))
    before = logits.argmax(axis=1)
    shares = Calibration(temperature, (0.0,) * 3, 0.0).apply(logits)
    assert shares[rows, before] == pytest.approx(shares.max(axis=1))


def test_very_large_logits_do_not_overflow():
    assert Calibration.identity(2).apply(np.array([[1e4, -1e4]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_no_rows_give_no_rows():
    assert Calibration.identity(3).apply(np.zeros((0, 3))).shape == (0, 3)


def test_logits_of_other_classes_are_refused():
    with pytest.raises(BundleError, match=r"logits have shape \(1, 3\); the calibration is for 2 classes"):
        Calibration.identity(2).apply(np.zeros((1, 3)))


def test_a_calibration_survives_json():
    calibration = Calibration(1.3, (0.1, -0.2), 0.5)
    assert Calibration.from_document(json.loads(json.dumps(calibration.document()))) == calibration


def test_a_calibration_of_format_1_is_still_read():
    assert Calibration.from_document(FORMAT_1) == Calibration(2.0, (0.5, -0.5), 0.25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"format": 2}, "calibration.json has format 2; this headstart reads 1", id="newer"),
        pytest.param({"temperature": 0}, r"temperature is 0.0; expected a finite number above 0", id="zero"),
        pytest.param({"temperature": float("nan")}, "temperature is nan", id="not a number"),
        pytest.param({"bias": [float("inf"), 0]}, "bias is", id="endless bias"),
        pytest.param({"bias": None}, "cannot be read", id="no bias"),
        pytest.param({"abstain_below": 2}, "abstain_below is 2.0; expected a probability", id="no probability"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(change, sentence):
    with pytest.raises(BundleError, match=sentence):
        Calibration.from_document({**FORMAT_1, **change})


def test_an_untouched_bundle_is_verified(sealed):
    bundle = Bundle.open(sealed)
    bundle.verify()
    assert set(bundle.files) == {"model.onnx", "plan.json"}


def test_a_manifest_holds_the_sha_256_of_each_file(sealed):
    # printf weights | sha256sum
    assert Bundle.open(sealed).files["model.onnx"] == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


def test_an_altered_file_is_named_with_both_hashes(sealed):
    before = Bundle.open(sealed).files["model.onnx"]
    (sealed / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(BundleError, match=rf"model.onnx has SHA-256 [0-9a-f]{{64}}, the manifest says {before}"):
        Bundle.open(sealed).verify()


def test_every_missing_and_altered_file_is_named_at_once(sealed):
    (sealed / "model.onnx").unlink()
    (sealed / "plan.json").write_text("[]")
    with pytest.raises(BundleError, match=r"(?s)model.onnx is missing.*plan.json has SHA-256"):
        Bundle.open(sealed).verify()


def test_a_folder_without_a_manifest_is_no_bundle(sealed):
    (sealed / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"MANIFEST.json does not exist"):
        Bundle.open(sealed)
    with pytest.raises(BundleError, match="never finished"):
        manifest_hash(sealed)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ('{"format": 2, "files": {}}', "has format 2; this headstart reads 1"),
        ('{"format": 1}', "does not list files"),
        ('{"format": 1, "files": {"../secret": "00"}}', "does not list files"),
        ('{"format": 1, "files": {"a": 5}}', "does not list files"),
        ("{", "is not JSON"),
        ("[]", "holds a list"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(sealed, document, sentence):
    (sealed / MANIFEST).write_text(document)
    with pytest.raises(BundleError, match=sentence):
        Bundle.open(sealed)


def test_what_is_not_in_the_manifest_is_not_read(sealed):
    (sealed / "extra.onnx").write_bytes(b"unhashed")
    Bundle.open(sealed).verify()
    with pytest.raises(BundleError, match=r"has no extra.onnx; it has model.onnx, plan.json"):
        Bundle.open(sealed).path("extra.onnx")


def test_the_same_files_give_the_same_manifest_in_any_folder_and_order(tmp_path):
    files = {"b.json": b"2", "a.json": b"1"}
    backwards = dict(reversed(files.items()))
    assert seal(tmp_path / "here", files) == seal(tmp_path / "there", backwards) == manifest_hash(tmp_path / "here")


def test_files_that_others_left_in_the_folder_are_sealed_too(tmp_path):
    (tmp_path / "golden.parquet").write_bytes(b"answers")
    seal(tmp_path, {"plan.json": b"{}"})
    assert set(Bundle.open(tmp_path).files) == {"golden.parquet", "plan.json"}


def test_sealing_again_replaces_the_manifest(sealed):
    before = manifest_hash(sealed)
    assert seal(sealed, {"plan.json": b"[]"}) != before
    Bundle.open(sealed).verify()


def test_a_seal_that_fails_leaves_no_manifest(sealed):
    (sealed / "inner").mkdir()
    with pytest.raises(BundleError, match=r"inner is not a file"):
        seal(sealed, {"plan.json": b"[]"})
    assert not (sealed / MANIFEST).exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", MANIFEST])
def test_only_plain_names_go_into_a_bundle(tmp_path, name):
    with pytest.raises(BundleError, match="cannot be a file of a bundle"):
        seal(tmp_path / "bundle", {name: b""})


def test_a_file_that_does_not_exist_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(BundleError, match=r"absent.onnx does not exist; the bundle needs it as model.onnx"):
        seal(tmp_path / "bundle", {"model.onnx": tmp_path / "absent.onnx"})
    assert not (tmp_path / "bundle").exists()


def test_text_and_image_bundles_differ_in_one_file():
    assert set(FILES["text"]) ^ set(FILES["image"]) == {"tokenizer.json", "preprocess.onnx"}

"""Raw inputs in, predictions out, through tiny networks whose answers are known."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.bundle import Calibration, seal
from headstart.errors import BundleError, ContractError
from headstart.predictor import Prediction, Predictor, Preprocessor
from tests.unit.contract_examples import (
    encoded,
    image_contract,
    image_model,
    levels,
    picture,
    text_contract,
    text_model,
)

IDENTITY = Calibration.identity(2)
BRIGHT, DARK = (encoded(Image.new("L", (9, 5), level)) for level in (200, 0))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    contract = text_contract(folder / "contract")
    return Predictor.open(model=text_model(folder / "model.onnx"), contract=contract, calibration=IDENTITY, threads=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    contract = image_contract(folder / "contract", rescale=1 / 255)
    return Predictor.open(model=image_model(folder / "model.onnx"), contract=contract, calibration=IDENTITY, threads=2)


@pytest.fixture
def bundle(tmp_path):
    """A sealed text bundle with a temperature of 2."""
    contract = text_contract(tmp_path / "contract")
    model = text_model(tmp_path / "exported.onnx")
    calibration = b'{"format": 1, "temperature": 2.0, "bias": [0.0, 0.0], "abstain_below": 0.6}'
    files = {path.name: path for path in contract.iterdir()}
    seal(tmp_path / "bundle", {"model.onnx": model, "calibration.json": calibration, **files})
    return tmp_path / "bundle"


def logistic(value):
    return 1 / (1 + math.exp(-value))


def test_a_text_is_answered_with_its_label_and_probability(texts):
    # one `good`: logits -1 and 1, a difference of 2
    (answer,) = texts.predict(["a good film"])
    assert answer.label == "positive"
    assert answer.probability == pytest.approx(logistic(2))
    assert answer.probabilities == pytest.approx((logistic(-2), logistic(2)))
    assert not answer.abstained


def test_a_picture_is_answered_by_its_brightness(images):
    bright, dark = images.predict([BRIGHT, DARK])
    assert bright.label == "positive"
    assert bright.probability == pytest.approx(logistic(2 * 200 / 255))
    # 0 and 0: of equally probable classes the first
    assert dark == Prediction("negative", 0.5, (0.5, 0.5))


def test_nothing_is_answered_with_nothing(texts, images):
    for predictor in (texts, images):
        assert predictor.predict([]) == []
        logits, features, _ = predictor.outputs([])
        assert (logits.shape[0], features.shape[0]) == (0, 0)
        assert predictor.preprocessor.prepare([]) == []
        assert predictor.preprocessor.properties([]) == []


def test_answers_come_in_the_order_of_the_inputs_whatever_their_length(texts):
    raw = ["bad", "a film a good film", "good", "a bad bad film", "film"]
    # good - bad, by hand
    assert texts.logits(raw, batch_size=2)[:, 1].tolist() == [-1, 1, 1, -2, 0]
    assert texts.outputs(raw, batch_size=3)[1].tolist() == [[0, 1], [1, 0], [1, 0], [0, 2], [0, 0]]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["good", "bad", "good film", "a bad film bad", "a"]), max_size=12), st.integers(1, 5))
def test_batches_change_no_answer(texts, raw, batch_size):
    alone = [texts.logits([text])[0].tolist() for text in raw]
    assert texts.logits(raw, batch_size=batch_size).tolist() == alone


def test_padding_is_not_read(texts):
    prepared = texts.preprocessor.prepare(["good", "bad bad film a"])
    logits, features, _ = texts.run(prepared)
    assert features.tolist() == [[1, 0], [0, 2]]
    assert logits.dtype == np.float32


def test_a_batch_of_pictures_is_a_stack(images):
    preprocessor = images.preprocessor
    batch = preprocessor.collate(preprocessor.prepare([BRIGHT, DARK, BRIGHT]))
    assert batch["pixel_values"].shape == (3, 1, 4, 4)
    assert preprocessor.collate([])["pixel_values"].shape == (0, 1, 4, 4)


def test_calibration_is_applied_once_to_published_probabilities(bundle):
    # temperature 2: a difference of 2 becomes 1
    predictor = Predictor.load(bundle, threads=1)
    assert predictor.predict(["good"])[0].probability == pytest.approx(logistic(1))
    assert predictor.logits(["good"]).tolist() == [[-1.0, 1.0]]


def test_an_answer_below_the_threshold_is_marked_as_abstained(bundle):
    predictor = Predictor.load(bundle, threads=1)
    sure, unsure = predictor.predict(["good good", "film"])
    assert (sure.abstained, unsure.abstained) == (False, True)


def test_properties_are_those_of_each_input(texts, images):
    of_text = texts.preprocessor.properties(["good awful"])[0]
    assert {name: of_text[name] for name in ("characters", "tokens", "unknown_share", "words")} == {
        "characters": 10.0,
        "tokens": 4.0,
        "unknown_share": 0.25,
        "words": 2.0,
    }
    described = images.preprocessor.properties([BRIGHT, DARK])
    assert [each["brightness"] for each in described] == pytest.approx([200 / 255, 0.0])
    assert (described[0]["width"], described[0]["height"]) == (9.0, 5.0)
    assert described[0]["kilobytes"] == len(BRIGHT) / 1000


def test_examining_gives_items_and_properties_at_once(texts, images):
    for predictor, raw in ((texts, ["good", "bad film"]), (images, [BRIGHT, DARK])):
        examined = predictor.preprocessor.examine(raw)
        for (item, described), prepared in zip(examined, predictor.preprocessor.prepare(raw), strict=True):
            assert np.array_equal(item, prepared)
            assert described
        assert [described for _, described in examined] == predictor.preprocessor.properties(raw)


def test_small_grey_scans_reach_the_network_as_pillow_enlarges_them(tmp_path):
    scan = levels(8, 8, 1)
    preprocessor = Preprocessor.load(image_contract(tmp_path, height=32, width=32), threads=1)
    (item,) = preprocessor.prepare([encoded(picture(scan))])
    expected = np.asarray(picture(scan).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(item, expected[np.newaxis])


@pytest.mark.parametrize("method", ["predict", "logits", "outputs"])
def test_the_first_bad_input_is_named_by_its_place(texts, images, method):
    with pytest.raises(ContractError, match="input 1 is empty") as refusal:
        getattr(texts, method)(["good", "", None])
    assert refusal.value.index == 1
    with pytest.raises(ContractError, match="input 2 is a damaged image") as refusal:
        getattr(images, method)([BRIGHT, DARK, BRIGHT[:50], b""])
    assert refusal.value.index == 2


def test_places_are_counted_through_all_batches(images):
    with pytest.raises(ContractError, match="input 7 is empty") as refusal:
        images.logits([BRIGHT] * 7 + [b""], batch_size=3)
    assert refusal.value.index == 7


def test_checking_refuses_what_preparing_refuses(texts, images):
    texts.preprocessor.check(["good"])
    images.preprocessor.check([BRIGHT])
    with pytest.raises(ContractError, match="input 11 is null"):
        texts.preprocessor.check(["good", None], first=10)
    with pytest.raises(ContractError, match="input 1 is a damaged image"):
        images.preprocessor.check([DARK, BRIGHT[:50]])


@pytest.mark.parametrize("raw", ["good", b"good"])
def test_one_bare_input_is_not_taken_for_a_list_of_letters(texts, raw):
    with pytest.raises(ContractError, match="expected a list of inputs; got one"):
        texts.predict(raw)


def test_several_threads_may_ask_at_once(texts, images):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda place: texts.logits(["good " * (place % 4), "a"])[0, 1], range(1, 4)))
        pictures = list(pool.map(lambda _: images.logits([BRIGHT, DARK]).tolist(), range(8)))
    assert answers == [1, 2, 3]
    assert pictures == [images.logits([BRIGHT, DARK]).tolist()] * 8


def test_an_altered_bundle_is_not_loaded(bundle):
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"model.onnx has SHA-256 .*, the manifest says"):
        Predictor.load(bundle)


def test_a_bundle_without_a_manifest_is_not_loaded(bundle):
    (bundle / "MANIFEST.json").unlink()
    with pytest.raises(BundleError, match=r"MANIFEST.json does not exist"):
        Predictor.load(bundle)


def test_a_bundle_without_its_network_is_not_loaded(bundle, tmp_path):
    kept = {path.name: path for path in bundle.iterdir() if path.name not in ("model.onnx", "MANIFEST.json")}
    seal(tmp_path / "other", kept)
    with pytest.raises(BundleError, match=r"has no model.onnx; it has"):
        Predictor.load(tmp_path / "other")


def parts(tmp_path, **changes):
    return {
        "model": image_model(tmp_path / "model.onnx"),
        "contract": image_contract(tmp_path / "contract"),
        "calibration": IDENTITY,
        **changes,
    }


def test_a_network_of_other_classes_is_refused(tmp_path):
    model = image_model(tmp_path / "three.onnx", classes=3)
    with pytest.raises(BundleError, match=r"model.onnx has 3 classes, the contract 2"):
        Predictor.open(**parts(tmp_path, model=model))


def test_a_calibration_of_other_classes_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"model.onnx has 2 classes, the calibration 3"):
        Predictor.open(**parts(tmp_path, calibration=Calibration.identity(3)))


def test_a_network_of_the_other_modality_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"takes \['attention_mask', 'input_ids'\]; the contract is for image"):
        Predictor.open(**parts(tmp_path, model=text_model(tmp_path / "text.onnx")))


def test_a_file_that_is_no_network_is_refused(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"broken.onnx cannot be loaded"):
        Predictor.open(**parts(tmp_path, model=broken))


def test_an_absent_network_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"absent.onnx does not exist"):
        Predictor.open(**parts(tmp_path, model=tmp_path / "absent.onnx"))


def test_another_tokenizer_than_the_contracts_is_refused(tmp_path):
    text_contract(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"tokenizer.json has SHA-256"):
        Preprocessor.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "contract.json"])
def test_a_contract_folder_lacking_a_file_is_refused(tmp_path, name):
    text_contract(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} does not exist"):
        Preprocessor.load(tmp_path)


def test_what_serves_loads_no_training_library():
    """The registry ships this code to where only the runtime's libraries are installed."""
    heavy = "'torch', 'transformers', 'sklearn', 'scipy', 'yaml', 'onnx', 'mlflow', 'pandas', 'matplotlib'"
    program = f"import sys, headstart.predictor, headstart.profile; print(sorted({{{heavy}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

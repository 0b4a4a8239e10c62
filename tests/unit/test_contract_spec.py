"""The contract's values, hashes and folder."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import bundle
from headstart.contract import files
from headstart.contract import spec as contracts
from headstart.contract.spec import Contract
from headstart.errors import BackboneError, BundleError
from tests.unit.contract_examples import LABELS, document, image_spec, text_spec, tokenizer_json

FORMAT_1 = {
    "format": 1,
    "modality": "image",
    "input": {
        "mode": "L",
        "resize": "shortest_edge",
        "height": 24,
        "width": 20,
        "shortest_edge": 28,
        "resample": "bicubic",
        "crop": [24, 20],
        "rescale": 0.00392156862745098,
        "mean": [0.5],
        "std": [0.25],
        "max_pixels": 1000,
        "max_bytes": 2000,
    },
    "labels": ["cat", "dog"],
    "hash": {
        "input": "de6850c118979da4e78282e26b0073d96738da5502df012c8eaafc72265b5574",
        "labels": "07bdda6536300f70cd3ae02db4e242d6c8ebf7609da98970c67bb4753e900c38",
    },
}
labels = st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True).map(tuple)


def picture_contract(**changes):
    return Contract("image", image_spec(**changes), LABELS)


@settings(deadline=None, max_examples=30)
@given(
    labels,
    st.sampled_from(["L", "RGB"]),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    st.floats(1e-6, 10.0),
)
def test_a_contract_survives_json(names, mode, height, width, resample, rescale):
    spec = image_spec(mode, height=height, width=width, resample=resample, rescale=rescale)
    contract = Contract("image", spec, names)
    assert Contract.from_document(json.loads(json.dumps(contract.document()))) == contract


def test_a_text_contract_survives_json():
    contract = Contract("text", text_spec(tokenizer_json()), LABELS)
    assert Contract.from_document(json.loads(json.dumps(contract.document()))) == contract


def test_new_labels_change_only_the_hash_of_the_labels():
    before, after = picture_contract(), Contract("image", image_spec(), ("negative", "neutral", "positive"))
    assert before.input_hash == after.input_hash
    assert before.labels_hash != after.labels_hash


def test_the_order_of_labels_is_part_of_the_contract():
    assert picture_contract().labels_hash != Contract("image", image_spec(), LABELS[::-1]).labels_hash


def test_every_value_of_the_input_is_part_of_its_hash():
    changes = [
        {"height": 5},
        {"width": 5},
        {"resample": "bicubic"},
        {"rescale": 0.5},
        {"mean": (0.1, 0.0, 0.0)},
        {"std": (2.0, 1.0, 1.0)},
        {"max_pixels": 5},
        {"max_bytes": 5},
        {"crop": (2, 2)},
    ]
    hashes = {picture_contract(**change).input_hash for change in [{}, *changes]}
    assert len(hashes) == len(changes) + 1


def test_the_short_hash_names_both_parts():
    contract = picture_contract()
    assert contract.hash == f"{contract.input_hash[:12]}.{contract.labels_hash[:12]}"


def test_the_hash_of_labels_is_sha_256_of_their_json():
    # sha256sum of ["negative","positive"], without a newline
    assert picture_contract().labels_hash == "414d8f8b517d4dbcec9ff06c78de3b55f6d7533dab14abbd8544818e1014d2eb"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"mode": "CMYK"}, "mode is 'CMYK'", id="colours"),
        pytest.param({"resize": "pad"}, "resize is 'pad'", id="way to resize"),
        pytest.param({"resample": "hamming"}, "resample is 'hamming'; expected one of nearest, bilinear", id="filter"),
        pytest.param({"height": 0}, "height is 0; expected at least 1", id="no height"),
        pytest.param({"mean": (0.5,)}, "mean is .* expected 3 finite numbers", id="too few means"),
        pytest.param({"std": (1.0, 0.0, 1.0)}, "std is .* no zero", id="division by zero"),
        pytest.param(
            {"resize": "shortest_edge", "crop": (4, 4)}, "shortest_edge is None; expected at least 1", id="edge"
        ),
        pytest.param({"resize": "none"}, "crop is None; expected a size", id="outputs of different sizes"),
        pytest.param({"shortest_edge": 9}, "shortest_edge is 9; expected None", id="edge that would be ignored"),
    ],
)
def test_impossible_pictures_are_refused_by_name(changes, sentence):
    with pytest.raises(BackboneError, match=sentence):
        replace(image_spec(), **changes)


@pytest.mark.parametrize("names", [("one",), ("twice", "twice"), ()])
def test_labels_must_be_two_or_more_and_differ(names):
    with pytest.raises(BackboneError, match="labels"):
        Contract("image", image_spec(), names)


def test_a_contract_is_for_the_input_it_holds():
    with pytest.raises(BackboneError, match=r"ImageSpec.*expected TextSpec for text"):
        Contract("text", image_spec(), LABELS)


def test_a_folder_gives_back_what_was_written(tmp_path):
    tokenizer = tokenizer_json()
    contract = Contract("text", text_spec(tokenizer), LABELS)
    files.write(tmp_path, contract, tokenizer_json=tokenizer)
    assert contracts.read(tmp_path) == contract
    assert (tmp_path / "tokenizer.json").read_text() == tokenizer


def test_the_same_contract_is_the_same_bytes_in_any_folder(tmp_path):
    for name in ("here", "there"):
        files.write(tmp_path / name, picture_contract(), tokenizer_json=None)
    for name in ("contract.json", "preprocess.onnx"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_another_tokenizer_than_the_contracts_is_not_written(tmp_path):
    contract = Contract("text", text_spec(tokenizer_json()), LABELS)
    with pytest.raises(BackboneError, match=r"SHA-256 .*; the contract was made for"):
        files.write(tmp_path, contract, tokenizer_json=tokenizer_json(baked=True))
    assert not (tmp_path / "contract.json").exists()


def test_format_1_is_still_read():
    contract = Contract.from_document(FORMAT_1)
    assert contract.input.crop == (24, 20)
    assert contract.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"format": 2}, "format 2; this headstart reads 1", id="newer format"),
        pytest.param({"labels": ["dog", "cat"]}, "was altered", id="labels exchanged"),
        pytest.param({"input": {**FORMAT_1["input"], "height": 25}}, "was altered", id="size changed"),
        pytest.param({"input": {**FORMAT_1["input"], "sharpen": 1}}, "unknown value 'sharpen'", id="unknown value"),
        pytest.param({"input": {"mode": "L"}}, "cannot be read: .*missing", id="missing values"),
        pytest.param({"input": 5}, "cannot be read", id="no values"),
        pytest.param({"modality": "sound"}, "cannot be read", id="unknown modality"),
    ],
)
def test_an_altered_document_is_refused_with_the_reason(change, sentence):
    with pytest.raises(BundleError, match=sentence):
        Contract.from_document({**FORMAT_1, **change})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, r"contract.json does not exist", id="absent"),
        pytest.param("{", "is not JSON", id="cut off"),
        pytest.param("[]", "holds a list", id="not an object"),
    ],
)
def test_a_folder_without_a_contract_is_refused(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "contract.json").write_text(content)
    with pytest.raises(BundleError, match=sentence):
        contracts.read(tmp_path)


def test_contract_files_are_those_a_bundle_expects(tmp_path):
    files.write(tmp_path, picture_contract(), tokenizer_json=None)
    assert {path.name for path in tmp_path.iterdir()} <= set(bundle.FILES["image"])
    assert document(tmp_path / "contract.json")["format"] == 1

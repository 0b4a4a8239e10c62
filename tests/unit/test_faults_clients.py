"""Mistakes of clients, made here by other libraries than ours, are found from one input."""

import io
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from headstart.bundle import Calibration
from headstart.contract import files
from headstart.contract.spec import Contract
from headstart.errors import UsageError
from headstart.faults import clients
from headstart.predictor import Predictor
from tests.unit.contract_examples import LABELS, encoded, image_spec, text_model, text_spec, tokenizer_json

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 32


@pytest.fixture(scope="module")
def photograph():
    """90 by 60 pixels with structure at every scale, reddish."""
    random = np.random.default_rng(5)
    levels = sum(
        np.asarray(
            Image.fromarray(np.uint8(random.integers(0, 255, (size, size, 3)))).resize(
                (90, 60), Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        )
        * weight
        for size, weight in ((4, 0.5), (12, 0.3), (40, 0.2))
    )
    levels[..., 0] += 30
    return encoded(Image.fromarray(np.uint8(np.clip(levels, 0, 255))))


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Shorter side to 40, 32 by 32 from the middle, ImageNet's normalisation; logits hear every pixel."""
    folder = tmp_path_factory.mktemp("images")
    spec = image_spec(
        "RGB", resize="shortest_edge", height=SIDE, width=SIDE, shortest_edge=40, crop=(SIDE, SIDE),
        rescale=1 / 255, mean=MEAN, std=STD,
    )  # fmt: skip
    files.write(folder, Contract("image", spec, LABELS), tokenizer_json=None)
    linear_model(folder / "model.onnx", spec.shape, len(LABELS))
    return folder


def linear_model(path, shape, classes):
    """Features: three random weighings of all pixels; logits: mixtures of those."""
    pixels = np.random.default_rng(1).normal(0, 0.1, (int(np.prod(shape)), 3)).astype(np.float32)
    weight = np.array([[2, 0, 1, -1], [0, 1, 1, 2], [-1, 1, 0, 1]], dtype=np.float32)[:, :classes]
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "pixels"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3]),
    ]
    constants = [numpy_helper.from_array(pixels, "pixels"), numpy_helper.from_array(weight, "weight")]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", *shape])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.fixture(scope="module")
def image_predictor(image_folder):
    return Predictor.open(
        model=image_folder / "model.onnx", contract=image_folder, calibration=Calibration.identity(2), threads=1
    )


def pillow(photograph, *, size=(60, 40), crop=True, resample=Image.Resampling.BILINEAR):
    """A careful client's levels, `(height, width, 3)`: 90 x 60 becomes 60 x 40, then the middle."""
    image = Image.open(io.BytesIO(photograph)).resize(size, resample)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)) if crop else image, dtype=np.float64)


def tensor(levels, *, divide=255.0, mean=MEAN, std=STD):
    return ((levels / divide - mean) / std).transpose(2, 0, 1)


def torch_without_antialias(photograph):
    levels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(photograph)), dtype=np.float32)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(levels, (40, 60), mode="bilinear", antialias=False)[0]
    return resized[:, 4:36, 14:46].permute(1, 2, 0).numpy().astype(np.float64)


CLIENTS = {
    "channels come last": lambda p: tensor(pillow(p)).transpose(1, 2, 0),
    "red and blue are swapped": lambda p: tensor(pillow(p)[..., ::-1]),
    "levels were not divided by 255": lambda p: tensor(pillow(p), divide=1.0),
    "levels were divided by 255 twice": lambda p: tensor(pillow(p), divide=255.0**2),
    "levels 0 to 255 are neither divided nor normalised": lambda p: pillow(p).transpose(2, 0, 1),
    "mean and deviation were left out": lambda p: tensor(pillow(p), mean=0.0, std=1.0),
    "normalised by mean and deviation 0.5": lambda p: tensor(pillow(p), mean=0.5, std=0.5),
    "resized by the bicubic filter": lambda p: tensor(pillow(p, resample=Image.Resampling.BICUBIC)),
    "resized by the nearest filter": lambda p: tensor(pillow(p, resample=Image.Resampling.NEAREST)),
    "resized without antialiasing": lambda p: tensor(torch_without_antialias(p)),
    "squashed to size, proportions lost": lambda p: tensor(pillow(p, size=(SIDE, SIDE), crop=False)),
    "the shorter side was made as long as the crop": lambda p: tensor(pillow(p, size=(48, 32))),
    "cropped without resizing first": lambda p: tensor(pillow(p, size=(90, 60))),
}


def test_a_careful_client_agrees(image_folder, image_predictor, photograph):
    found = clients.compare(image_folder, image_predictor, photograph, tensor(pillow(photograph)))
    assert (found.agrees, found.faults) == (True, ())
    batch_of_one = clients.compare(image_folder, image_predictor, photograph, tensor(pillow(photograph))[None])
    assert batch_of_one.agrees


@pytest.mark.parametrize("mistake", CLIENTS)
def test_one_tensor_is_enough_to_name_a_mistake(mistake, image_folder, image_predictor, photograph):
    found = clients.compare(image_folder, image_predictor, photograph, CLIENTS[mistake](photograph))
    assert (found.agrees, found.faults) == (False, (mistake,))


@pytest.mark.parametrize("mistake", [name for name in CLIENTS if name != "channels come last"])
def test_one_vector_of_logits_is_enough_too(mistake, image_folder, image_predictor, photograph):
    logits = image_predictor.run([CLIENTS[mistake](photograph).astype(np.float32)])[0][0]
    found = clients.compare(image_folder, image_predictor, photograph, logits)
    assert (found.kind, found.faults) == ("logits", (mistake,))


def test_two_mistakes_at_once_are_named_both(image_folder, image_predictor, photograph):
    both = tensor(pillow(photograph, size=(SIDE, SIDE), crop=False)[..., ::-1])
    found = clients.compare(image_folder, image_predictor, photograph, both)
    assert set(found.faults) == {"red and blue are swapped", "squashed to size, proportions lost"}


def test_ignored_orientation_is_named(image_folder, image_predictor, photograph):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    turned = encoded(Image.open(io.BytesIO(photograph)), "PNG", exif=exif)
    found = clients.compare(image_folder, image_predictor, turned, tensor(pillow(photograph)))
    assert found.faults == ("EXIF's orientation was ignored",)


def test_what_nothing_explains_gets_no_name(image_folder, image_predictor, photograph):
    noise = np.random.default_rng(0).normal(size=(3, SIDE, SIDE))
    found = clients.compare(image_folder, image_predictor, photograph, noise)
    assert (found.agrees, found.faults) == (False, ())
    assert "None of the known mistakes" in found.meaning
    assert "was expected" in found.where


def test_the_first_difference_is_told_by_its_place(image_folder, image_predictor, photograph):
    changed = tensor(pillow(photograph))
    changed[1, 5, 7] += 1.0
    found = clients.compare(image_folder, image_predictor, photograph, changed)
    assert found.where.startswith("channel 1, row 5, column 7 is ")
    # one deviation of 0.224 is 57 grey levels
    assert found.difference == pytest.approx(0.224 * 255 * 0.224 / 0.224, rel=0.05)


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    tokenizer = tokenizer_json()
    files.write(folder, Contract("text", text_spec(tokenizer), LABELS), tokenizer_json=tokenizer)
    text_model(folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def text_predictor(text_folder):
    return Predictor.open(
        model=text_folder / "model.onnx", contract=text_folder, calibration=Calibration.identity(2), threads=1
    )


LONG = "good film bad film a good film"  # tokens 4 6 5 6 7 4 6 between 2 and 3; the contract keeps 6 in all


@pytest.mark.parametrize(
    ("ids", "faults"),
    [
        ([4, 6, 5, 6], ("special tokens are missing",)),
        ([2, 4, 6, 5, 6, 7, 4, 6, 3], ("not cut to 6 tokens",)),
        ([2, 4, 6, 3], ("cut to 4 tokens instead of 6",)),
        ([2, 6, 7, 4, 6, 3], ("cut at the beginning instead of the end",)),
        ([2, 4, 6, 5, 6, 7], ("cut after tokenizing, the closing token is lost",)),
        ([0, 0, 2, 4, 6, 5, 6, 3], ("padded at the beginning instead of the end",)),
        ([101, 2204, 2143, 2919, 2143, 102], ("another tokenizer or vocabulary was used",)),
    ],
)
def test_token_ids_of_known_mistakes_are_named(ids, faults, text_folder, text_predictor):
    found = clients.compare(text_folder, text_predictor, LONG, ids)
    assert (found.kind, found.agrees, found.faults) == ("token_ids", False, faults)


@pytest.mark.parametrize("ids", [[2, 4, 6, 5, 6, 3], [[2, 4, 6, 5, 6, 3]], [2, 4, 6, 5, 6, 3, 0, 0]])
def test_token_ids_that_are_right_agree_with_or_without_padding_at_the_end(ids, text_folder, text_predictor):
    assert clients.compare(text_folder, text_predictor, LONG, ids).agrees


def test_a_cleaning_step_is_named_where_it_changes_tokens(text_folder, text_predictor):
    # "good!" is two tokens, the second unknown; without punctuation one
    found = clients.compare(text_folder, text_predictor, "good! film", [2, 4, 6, 3])
    assert found.faults == ("punctuation was removed",)


def test_logits_of_a_text_that_was_cut_elsewhere_are_named(text_folder, text_predictor):
    # one good alone: (-1, 1); ours has one good and one bad: (0, 0)
    found = clients.compare(text_folder, text_predictor, "a good film bad", [-1.0, 1.0])
    assert found.kind == "logits" and not found.agrees


def test_probabilities_in_place_of_logits_are_named(text_folder, text_predictor):
    shares = np.exp([-1.0, 1.0]) / np.exp([-1.0, 1.0]).sum()
    found = clients.compare(text_folder, text_predictor, "good film", shares)
    assert found.faults == ("probabilities were sent instead of logits",)


@pytest.mark.parametrize("arrived", ["words", [["a"]], [[[1.0, 2.0]], [[1.0, 2.0]]], [1.0, 2.0, 3.5]])
def test_what_is_no_tensor_is_refused_with_a_sentence(arrived, text_folder, text_predictor):
    with pytest.raises(UsageError, match=r"arrived|no array of numbers"):
        clients.compare(text_folder, text_predictor, "good film", arrived)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_a_difference_that_json_can_say(image_folder, image_predictor, photograph, value):
    tensor = image_predictor.preprocessor.prepare([photograph])[0].copy()
    tensor[1, 2, 3] = value
    found = clients.compare(image_folder, image_predictor, photograph, tensor)
    assert (found.agrees, found.kind) == (False, "tensor")
    assert f"the value at [1, 2, 3] is {value}, one of 1 of 3072" in found.where
    logits = clients.compare(image_folder, image_predictor, photograph, [value, 0.0])
    assert (logits.agrees, logits.kind) == (False, "logits")
    json.dumps([found.document(), logits.document()], allow_nan=False)

"""Mistakes of clients on inputs that are hard to read, in networks of other conventions, and under limits."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from headstart.bundle import Calibration
from headstart.contract import files
from headstart.contract.spec import Contract
from headstart.determinism import digest
from headstart.errors import BundleError, ContractError, UsageError
from headstart.faults import clients
from headstart.predictor import Predictor
from tests.unit.contract_examples import LABELS, encoded, image_spec, text_model, text_spec, tokenizer_json
from tests.unit.test_faults_clients import LONG, MEAN, SIDE, STD, linear_model

SMALL = {"height": SIDE, "width": SIDE, "max_pixels": 50_000_000, "max_bytes": 50_000_000}


def opened(folder, spec, labels=LABELS):
    """A predictor of pictures, and its folder; the network hears every pixel."""
    folder.mkdir(exist_ok=True)
    files.write(folder, Contract("image", spec, labels), tokenizer_json=None)
    linear_model(folder / "model.onnx", spec.shape, len(labels))
    calibration = Calibration.identity(len(labels))
    return folder, Predictor.open(model=folder / "model.onnx", contract=folder, calibration=calibration, threads=1)


def smooth(height, width, channels=3, *, seed=5):
    """Structure at every scale, reddish."""
    random = np.random.default_rng(seed)
    levels = sum(
        weight
        * np.asarray(
            Image.fromarray(random.integers(0, 255, (size, size, channels), dtype=np.uint8).squeeze()).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        ).reshape(height, width, channels)
        for size, weight in ((4, 0.5), (12, 0.3), (40, 0.2))
    )
    levels[..., 0] += 30
    return np.clip(levels, 0, 255).astype(np.uint8)


def small(image):
    """What a client's Pillow makes of an open picture: stretched to the network's size."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float64)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Stretched, divided by 255; nothing else."""
    return opened(tmp_path_factory.mktemp("plain") / "c", image_spec("RGB", rescale=1 / 255, **SMALL))


@pytest.fixture(scope="module")
def blue_first(tmp_path_factory):
    """A network of Caffe's kind: blue first, means taken off levels 0 to 255."""
    spec = image_spec("RGB", mean=(104.0, 117.0, 123.0), flip_channels=True, **SMALL)
    return opened(tmp_path_factory.mktemp("blue") / "c", spec)


def chw(levels):
    return levels.transpose(2, 0, 1)


def found(predictor, raw, tensor):
    folder, loaded = predictor
    comparison = clients.compare(folder, loaded, raw, tensor)
    return comparison.agrees, comparison.faults


@pytest.mark.parametrize(
    ("make", "faults"),
    [
        (lambda bgr: bgr - (104, 117, 123), ()),
        (lambda bgr: bgr[..., ::-1] - (104, 117, 123), ("red and blue are swapped",)),
        (lambda bgr: bgr - (123, 117, 104), ("mean and deviation stand in the reverse order",)),
        (lambda bgr: bgr / 255 - (104, 117, 123), ("levels were divided by 255 twice",)),
        (lambda bgr: bgr, ("levels 0 to 255 are neither divided nor normalised",)),
        (
            lambda bgr: (bgr[..., ::-1] / 255 - MEAN) / STD,
            ("red and blue are swapped", "normalised by ImageNet's mean and deviation"),
        ),
    ],
)
def test_networks_that_take_blue_first_have_their_own_right_way(make, faults, blue_first):
    photograph = encoded(Image.fromarray(smooth(60, 90)))
    bgr = small(Image.open(io.BytesIO(photograph)))[..., ::-1]
    assert found(blue_first, photograph, chw(make(bgr))) == (not faults, faults)


def transparent():
    levels = np.dstack([smooth(60, 90), np.tile(np.linspace(0, 255, 90), (60, 1)).astype(np.uint8)])
    return Image.fromarray(levels)


def palette():
    return Image.fromarray(smooth(60, 90)).quantize(64)


def deep():
    ramp = smooth(60, 90, 1).astype(np.uint16)[..., 0] * 200
    return Image.fromarray(ramp)


def inks():
    return Image.fromarray(smooth(60, 90)).convert("CMYK")


def over(image, colour):
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


READINGS = {
    "alpha": (transparent, "PNG", lambda image: over(image, "white"), ()),
    "alpha dropped": (transparent, "PNG", lambda image: image.convert("RGB"), ("transparency was dropped",)),
    "over black": (transparent, "PNG", lambda image: over(image, "black"), ("transparency was laid over black",)),
    "palette": (palette, "PNG", lambda image: image.convert("RGB"), ()),
    "palette indices": (
        palette,
        "PNG",
        lambda image: Image.fromarray(np.asarray(image)).convert("RGB"),
        ("palette indices were taken for levels",),
    ),
    "16 bits": (
        deep,
        "PNG",
        lambda image: Image.fromarray((np.asarray(image) // 256).astype(np.uint8)).convert("RGB"),
        (),
    ),
    "16 bits cut": (
        deep,
        "PNG",
        lambda image: Image.fromarray(np.minimum(np.asarray(image), 255).astype(np.uint8)).convert("RGB"),
        ("16 bits were cut to 255 instead of divided",),
    ),
    "CMYK": (inks, "JPEG", lambda image: image.convert("RGB"), ()),
    "CMYK the wrong way round": (
        inks,
        "JPEG",
        lambda image: Image.fromarray(255 - np.asarray(image), "CMYK").convert("RGB"),
        ("CMYK's inks were read the wrong way round",),
    ),
    "grey": (lambda: Image.fromarray(smooth(60, 90)).convert("L"), "PNG", lambda image: image.convert("RGB"), ()),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("case", READINGS)
def test_files_that_are_hard_to_read_agree_or_tell_how_they_were_misread(case, plain):
    make, kind, read, faults = READINGS[case]
    raw = encoded(make(), kind)
    tensor = chw(small(read(Image.open(io.BytesIO(raw)))) / 255)
    assert found(plain, raw, tensor) == (not faults, faults)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_that_is_ignored_is_named(orientation, plain):
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.fromarray(smooth(60, 90))
    raw = encoded(picture, "PNG", exif=exif)
    assert found(plain, raw, chw(small(picture) / 255)) == (False, ("EXIF's orientation was ignored",))


def test_grey_networks_hear_of_inverted_levels_and_other_greys(tmp_path):
    grey = opened(tmp_path / "c", image_spec("L", rescale=1 / 255, **SMALL))
    picture = Image.fromarray(smooth(60, 90))
    raw = encoded(picture)
    right = small(picture.convert("L")) / 255
    assert found(grey, raw, right) == (True, ())
    assert found(grey, raw, right[None, None]) == (True, ())
    assert found(grey, raw, 1 - right) == (False, ("black and white are inverted",))
    mean = Image.fromarray(np.asarray(picture).mean(axis=2).round().astype(np.uint8))
    assert found(grey, raw, small(mean) / 255) == (False, ("grey is the mean of the colours",))


def test_a_tensor_without_shape_as_javascript_has_it_is_compared_all_the_same(plain):
    picture = Image.fromarray(smooth(60, 90))
    right = small(picture) / 255
    assert found(plain, encoded(picture), chw(right).ravel()) == (True, ())
    assert found(plain, encoded(picture), right.ravel()) == (False, ("channels come last",))


def test_rows_and_columns_exchanged_are_named(plain):
    picture = Image.fromarray(smooth(60, 90))
    tensor = (small(picture) / 255).transpose(2, 1, 0)
    assert found(plain, encoded(picture), tensor) == (False, ("rows and columns are exchanged",))


def test_names_of_the_networks_inputs_may_stand_around_the_numbers(plain):
    picture = Image.fromarray(smooth(60, 90))
    tensor = chw(small(picture) / 255)[None]
    assert found(plain, encoded(picture), {"pixel_values": tensor.tolist()}) == (True, ())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_told_by_their_place(number, plain):
    folder, predictor = plain
    picture = Image.fromarray(smooth(60, 90))
    tensor = chw(small(picture) / 255)
    tensor[2, 3, 4] = number
    comparison = clients.compare(folder, predictor, encoded(picture), tensor)
    assert (comparison.difference, comparison.where.partition(" is ")[0]) == (None, "the value at [2, 3, 4]")
    assert "half-precision overflow" in comparison.meaning


def test_a_photograph_takes_less_than_two_seconds_of_one_core_even_where_nothing_explains_it(tmp_path):
    spec = image_spec(
        "RGB", resize="shortest_edge", height=224, width=224, shortest_edge=256, crop=(224, 224), rescale=1 / 255,
        mean=MEAN, std=STD,
    )  # fmt: skip
    folder, predictor = opened(tmp_path / "c", spec)
    raw = encoded(Image.fromarray(smooth(400, 500)), "JPEG")
    noise = np.random.default_rng(0).normal(size=spec.shape)
    before = time.process_time()
    assert clients.compare(folder, predictor, raw, noise).faults == ()
    assert time.process_time() - before < 2.0


@pytest.mark.slow
def test_a_picture_of_48_million_pixels_is_compared_in_bounded_time(plain):
    raw = encoded(Image.fromarray(smooth(100, 100)).resize((8000, 6000)), "JPEG")
    folder, predictor = plain
    before = time.process_time()
    comparison = clients.compare(folder, predictor, raw, np.zeros((3, SIDE, SIDE)))
    assert (comparison.agrees, comparison.faults) == (False, ())
    assert time.process_time() - before < 10.0


def test_where_the_time_is_up_the_difference_is_told_all_the_same(plain):
    folder, predictor = plain
    picture = Image.fromarray(smooth(60, 90))
    comparison = clients.compare(folder, predictor, encoded(picture), np.zeros((3, SIDE, SIDE)), limit_s=0.0)
    assert "was expected" in comparison.where
    assert comparison.meaning.startswith("The time was up before every known mistake was tried.")


def test_a_picture_beyond_the_contracts_limit_is_refused_by_the_contract(tmp_path):
    folder, predictor = opened(tmp_path / "c", image_spec("RGB", max_pixels=100))
    with pytest.raises(ContractError, match="at most 100 are accepted"):
        clients.compare(folder, predictor, encoded(Image.new("RGB", (20, 20))), np.zeros((3, 4, 4)))


# ------------------------------------------------------------------------------------------------------------ logits


def test_classes_in_another_order_are_told_place_by_place(tmp_path):
    folder, predictor = opened(
        tmp_path / "c", image_spec("RGB", rescale=1 / 255, **SMALL), ("cat", "dog", "owl", "pig")
    )
    raw = encoded(Image.fromarray(smooth(60, 90)))
    logits = predictor.logits([raw])[0]
    comparison = clients.compare(folder, predictor, raw, logits[[0, 3, 1, 2]])
    assert comparison.faults == (
        "classes stand in another order: place 1 holds 'pig', place 2 holds 'dog', place 3 holds 'owl'",
    )
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    if np.ptp(np.sort(shares)) > 0.01:  # told apart
        comparison = clients.compare(folder, predictor, raw, shares[::-1])
        assert comparison.faults[0] == "probabilities were sent instead of logits"
        assert comparison.faults[1].startswith("classes stand in another order: ")


# ------------------------------------------------------------------------------------------------------------- texts


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    tokenizer = tokenizer_json()
    spec = text_spec(tokenizer, max_characters=100_000)
    files.write(folder, Contract("text", spec, LABELS), tokenizer_json=tokenizer)
    text_model(folder / "model.onnx")
    calibration = Calibration.identity(2)
    return folder, Predictor.open(model=folder / "model.onnx", contract=folder, calibration=calibration, threads=1)


RIGHT = [2, 4, 6, 5, 6, 3]  # of LONG, six tokens in all


@pytest.mark.parametrize(
    ("ids", "mask", "faults"),
    [
        (RIGHT, [1] * 6, ()),
        ([*RIGHT, 0, 0], [1] * 6 + [0] * 2, ()),
        ([*RIGHT, 0, 0], [1] * 8, ("the attention mask covers padding",)),
        ([*RIGHT, 0, 0], [1] * 4 + [0] * 4, ("the attention mask leaves out tokens of the text",)),
        ([*RIGHT, 0, 0], [0] * 6 + [1] * 2, ("the attention mask is the wrong way round",)),
        ([*RIGHT, 0, 0], [0] * 6 + [-10000] * 2, ("the attention mask holds other numbers than 0 and 1",)),
        (RIGHT, [1] * 5, ("the attention mask has the shape (5,), the token ids (6,)",)),
        ([*RIGHT, 7, 7], [1] * 6 + [0] * 2, ("padded with token 7 instead of 0",)),
        ([0, 0, *RIGHT], [0] * 2 + [1] * 6, ("padded at the beginning instead of the end",)),
        (
            [0, 2, 4, 6, 5, 6, 7],
            [1] * 7,
            (
                "padded at the beginning instead of the end",
                "the attention mask covers padding",
                "cut after tokenizing, the closing token is lost",
            ),
        ),
    ],
)
def test_a_mask_beside_the_token_ids_is_compared_too(ids, mask, faults, words):
    given = {"input_ids": [ids], "attention_mask": [mask], "token_type_ids": [[0] * len(ids)]}
    assert found(words, LONG, given) == (not faults, faults)


def test_case_that_the_tokenizer_should_have_lowered_is_named(words):
    # Good and FILM are unknown (1) to a tokenizer without the contract's normalizer
    given = [2, 1, 1, 7, 3]
    assert found(words, "Good FILM a", given) == (False, ("case, accents or spaces were not normalised",))


def test_special_tokens_that_were_added_twice_are_named(words):
    assert found(words, "good film", [2, 2, 4, 6, 3, 3]) == (False, ("special tokens were added twice",))


def test_ids_that_are_all_off_by_one_are_named(words):
    assert found(words, LONG, [3, 5, 7, 6, 7, 4]) == (False, ("every token id is off by +1",))


def test_a_text_that_was_changed_by_hand_is_not_blamed_on_the_tokenizer(words):
    # "a good film bad": one word in front moves every other one by a place
    assert found(words, "good film bad", [2, 7, 4, 6, 5, 3]) == (False, ())


def test_a_text_of_100_000_characters_is_compared_in_bounded_time(words):
    text = "good film, bad " * 6666
    before = time.process_time()
    assert found(words, text, [2, 4, 6, 1, 5, 3]) == (True, ())
    assert found(words, text, [2, 5, 5, 5, 5, 3])[0] is False
    assert time.process_time() - before < 10.0


@pytest.mark.parametrize(
    "arrived",
    [{}, {"ids": [1]}, {"input_ids": [1], "logits": [1]}, {"input_ids": [1], "more": 2}, {"logits": [1.0]}, [], [[]]],
)
def test_objects_and_arrays_of_another_kind_are_refused_with_a_sentence(arrived, words):
    folder, predictor = words
    with pytest.raises(UsageError, match=r"arrived"):
        clients.compare(folder, predictor, "good film", arrived)


@pytest.mark.parametrize("ids", [[2, 4, 1e300, 3, 1], [2, 4.5, 3, 1, 1], [2, -4, 6, 3, 1]])
def test_numbers_that_are_no_token_ids_are_told(ids, words):
    folder, predictor = words
    assert not clients.compare(folder, predictor, "good film", {"input_ids": ids}).agrees


def test_a_tokenizer_that_is_not_the_contracts_is_a_damaged_bundle(tmp_path):
    tokenizer = tokenizer_json()
    files.write(tmp_path, Contract("text", text_spec(tokenizer), LABELS), tokenizer_json=tokenizer)
    text_model(tmp_path / "model.onnx")
    predictor = Predictor.open(
        model=tmp_path / "model.onnx", contract=tmp_path, calibration=Calibration.identity(2), threads=1
    )
    (tmp_path / "tokenizer.json").write_text(tokenizer + " ")
    assert digest(tokenizer) != digest(tokenizer + " ")
    with pytest.raises(BundleError, match="not the tokenizer that the contract was made for"):
        clients.compare(tmp_path, predictor, "good film", RIGHT)

import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from headstart.backbones import processor, store
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.determinism import digest
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from headstart.report.finding_words import told
from tests.unit import backbone_folders as tiny

LIMITS = Limits(tokens=128, characters=1000, pixels=5000, megabytes=2)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    store.make(
        tiny.write_text(folder / "from"),
        Backbone(modality="text", source="x", sha256={}, pretrain=None),
        folder / "to",
    )
    return folder / "to"


def image_folder(folder, **changes):
    """A stored image backbone with a processor file changed by hand."""
    tiny.write_image(folder, {**tiny.SMOOTH, **changes})
    (folder / "backbone.json").write_text('{"modality": "image", "shape": null}')
    return folder


def test_a_text_specification_takes_the_smallest_of_all_length_limits(text):
    spec, tokenizer_json = processor.input_spec(text, LIMITS)
    # limits 128, tokenizer 24, position embeddings 32
    assert spec == TextSpec(24, 1000, 0, "[PAD]", "right", digest(tokenizer_json))
    assert processor.input_spec(text, LIMITS.model_copy(update={"tokens": 7}))[0].max_tokens == 7
    assert tokenizer_json == (text / "tokenizer.json").read_text()


def test_more_tokens_than_the_backbone_takes_are_a_finding_with_the_way_out(text):
    spec, _ = processor.input_spec(text, LIMITS)
    [found] = processor.token_limit(spec, LIMITS)
    assert (found.check, found.verdict, found.statistic, found.bar) == ("token_limit", "unsure", 24.0, 128.0)
    assert told(found)["reason"].startswith("prepare.limits.tokens is 128, and the backbone takes 24 at most")
    assert told(found)["action"].startswith("Set prepare.limits.tokens to 24")
    assert processor.token_limit(spec, LIMITS.model_copy(update={"tokens": 24})) == []


def test_the_text_reference_is_transformers_own_tokenizer(text):
    [short, long] = processor.reference(text, LIMITS)(["Rain snow", "bread " * 40])
    assert short.tolist() == [2, 5, 6, 3]  # [CLS] rain snow [SEP]; not padded to the 12 that the file asks for
    assert long.tolist() == [2] + [7] * 22 + [3]
    assert short.dtype == np.int64


def test_an_image_specification_says_what_the_processor_file_says(tmp_path):
    spec, tokenizer_json = processor.input_spec(image_folder(tmp_path), LIMITS)
    assert spec == ImageSpec(
        mode="L",
        resize="stretch",
        height=16,
        width=16,
        shortest_edge=None,
        resample="bilinear",
        crop=None,
        rescale=1 / 255,
        mean=(0.5,),
        std=(0.5,),
        max_pixels=5000,
        max_bytes=2_000_000,
    )
    assert tokenizer_json is None


def test_the_image_reference_is_transformers_own_processor(tmp_path):
    data = tiny.picture(16, 16)
    [pixels] = processor.reference(image_folder(tmp_path), LIMITS)([data])
    levels = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_allclose(pixels[0], levels / 127.5 - 1.0, atol=1e-6)  # same size: no resampling, only scaling
    assert pixels.dtype == np.float32


def test_the_image_reference_turns_pictures_as_their_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, the picture lies a quarter turn to the left
    with Image.open(io.BytesIO(tiny.picture(16, 16))) as upright:
        buffer = io.BytesIO()
        upright.save(buffer, "PNG", exif=exif)
        levels = np.asarray(upright)
    [pixels] = processor.reference(image_folder(tmp_path), LIMITS)([buffer.getvalue()])
    np.testing.assert_allclose(pixels[0], np.rot90(levels, -1) / 127.5 - 1.0, atol=1e-6)


NOISE = np.random.default_rng(0).integers(0, 256, (12, 20, 4), dtype=np.uint8)
COLOUR, GREY = Image.fromarray(NOISE[..., :3]), Image.fromarray(NOISE[..., 0])
SEE_THROUGH = Image.fromarray(NOISE)
SIXTEEN = Image.fromarray(NOISE[..., :2].copy().view(np.uint16)[..., 0])


def palette_with_transparency():
    image = COLOUR.convert("P")
    image.info["transparency"] = 3
    return image


def turned():
    image = COLOUR.copy()
    image.getexif()[0x0112] = 6
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("image", "kind"),
    [
        pytest.param(COLOUR.convert("1"), "PNG", id="1"),
        pytest.param(GREY, "PNG", id="L"),
        pytest.param(COLOUR.convert("P"), "PNG", id="P"),
        pytest.param(palette_with_transparency(), "PNG", id="P with transparency"),
        pytest.param(palette_with_transparency(), "GIF", id="GIF with transparency"),
        pytest.param(COLOUR, "PNG", id="RGB"),
        pytest.param(COLOUR, "JPEG", id="JPEG"),
        pytest.param(COLOUR, "WEBP", id="WebP"),
        pytest.param(SEE_THROUGH, "PNG", id="RGBA"),
        pytest.param(SEE_THROUGH, "WEBP", id="RGBA WebP"),
        pytest.param(SEE_THROUGH.convert("LA"), "PNG", id="LA"),
        pytest.param(SIXTEEN, "PNG", id="I;16"),
        pytest.param(SIXTEEN, "TIFF", id="I;16 TIFF"),
        pytest.param(COLOUR.convert("CMYK"), "JPEG", id="CMYK"),
        pytest.param(COLOUR.convert("CMYK"), "TIFF", id="CMYK TIFF"),
        pytest.param(COLOUR.convert("YCbCr"), "TIFF", id="YCbCr"),
        pytest.param(turned(), "JPEG", id="turned by EXIF"),
    ],
)
def test_every_kind_of_image_is_prepared_alike_on_both_sides_of_the_comparison(tmp_path, image, kind, channels):
    """One transparent PNG among 43 images stopped a run: the comparison dropped what the contract lays over white."""
    from headstart.contract import agreement
    from headstart.contract.files import write
    from headstart.contract.spec import Contract
    from headstart.predictor import Preprocessor

    halves = {"image_mean": [0.5] * channels, "image_std": [0.5] * channels}
    folder = image_folder(tmp_path / "backbone", size={"height": 12, "width": 20}, **halves)
    config = {"model_type": "resnet", "num_channels": channels}
    (folder / "config.json").write_text(json.dumps(config))
    spec, _ = processor.input_spec(folder, LIMITS)
    write(tmp_path / "contract", Contract("image", spec, ("a", "b")), tokenizer_json=None)
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=image.getexif())
    ours = Preprocessor.load(tmp_path / "contract").prepare([buffer.getvalue()])
    theirs = processor.reference(folder, LIMITS)([buffer.getvalue()])
    assert agreement.compare(ours, theirs, agreement.tolerance(spec)).verdict == "pass"


def test_a_damaged_exif_block_counts_as_none_on_both_sides_of_the_comparison(tmp_path):
    buffer = io.BytesIO()
    GREY.save(buffer, "PNG")
    block = b"eXIf" + b"MM\0\x2a\xff\xff\xff\xff"
    data = buffer.getvalue()
    data = data[:33] + (8).to_bytes(4, "big") + block + zlib.crc32(block).to_bytes(4, "big") + data[33:]
    [pixels] = processor.reference(image_folder(tmp_path), LIMITS)([data])
    assert pixels.shape == (1, 16, 16)


def test_convnext_enlarges_then_crops_below_384_and_stretches_from_there(tmp_path):
    changes = {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.8, "resample": 3}
    small = processor.image_spec(image_folder(tmp_path / "s", size={"shortest_edge": 16}, **changes), LIMITS)
    assert (small.resize, small.shortest_edge, small.crop, small.resample) == ("shortest_edge", 20, (16, 16), "bicubic")
    large = processor.image_spec(image_folder(tmp_path / "l", size={"shortest_edge": 384}, **changes), LIMITS)
    assert (large.resize, large.height, large.width, large.crop) == ("stretch", 384, 384, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_processor_type": "MobileNetV1ImageProcessor", "size": {"shortest_edge": 20}, "do_center_crop": True}
        | {"crop_size": {"height": 16, "width": 16}},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 16}, "crop_pct": 0.8},
        {"do_normalize": False, "do_rescale": False},
        {"resample": 3, "image_mean": [0.2], "image_std": [0.7]},
    ],
    ids=["crop", "convnext", "raw levels", "bicubic"],
)
def test_a_contract_made_of_the_specification_computes_what_the_reference_does(tmp_path, changes):
    from headstart.contract.files import write
    from headstart.contract.spec import Contract
    from headstart.predictor import Preprocessor

    folder = image_folder(tmp_path / "backbone", **changes)
    spec, _ = processor.input_spec(folder, LIMITS)
    write(tmp_path / "contract", Contract("image", spec, ("a", "b")), tokenizer_json=None)
    raw = [tiny.picture(height, width) for height, width in ((16, 16), (50, 31), (9, 40), (64, 64))]
    ours = Preprocessor.load(tmp_path / "contract").prepare(raw)
    level = spec.rescale / min(spec.std)
    for mine, theirs in zip(ours, processor.reference(folder, LIMITS)(raw), strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() <= 1.01 * level  # Pillow rounds levels: one apart at most
        assert np.abs(mine - theirs).mean() <= 0.1 * level


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resample": 4}, "resample is"),
        ({"size": {"shortest_edge": 16}}, "images of different sizes come out"),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, "3 and 3 values for 1 channels"),
        (
            {"size": {"shortest_edge": 16, "longest_edge": 32}},
            "height and width, or shortest_edge alone, were expected",
        ),
        ({"do_pad": True}, "do_pad is on"),
    ],
)
def test_what_a_contract_cannot_say_is_refused_by_name(tmp_path, changes, sentence):
    with pytest.raises(BackboneError, match=sentence):
        processor.image_spec(image_folder(tmp_path, **changes), LIMITS)


def test_all_that_a_contract_cannot_say_is_told_at_once(tmp_path):
    with pytest.raises(BackboneError) as refused:
        processor.image_spec(image_folder(tmp_path, resample=4, size={"shortest_edge": 16}), LIMITS)
    assert "resample is" in str(refused.value)
    assert "different sizes" in str(refused.value)


def test_a_tokenizer_without_padding_is_refused(tmp_path):
    from tokenizers import Tokenizer
    from transformers import GPT2Config

    tiny.write_text(tmp_path)
    config = GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3)
    tiny.write(tmp_path, config)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(BackboneError, match="has no padding token"):
        processor.text_spec(tmp_path, LIMITS, "{}", longest=None)


def test_an_absent_tokenizer_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(BackboneError, match=r"no tokenizer.*Put the checkpoint's tokenizer\.json"):
        processor.load_tokenizer(tiny.write(tmp_path, tiny.bert()))

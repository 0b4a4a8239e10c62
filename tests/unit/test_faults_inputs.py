"""Injectors of raw inputs: the same seed gives the same bytes, each leaves its own mark, severity grows."""

import io

import numpy as np
import pytest
from PIL import Image

from headstart.contract import properties
from headstart.faults import images, samples, texts
from headstart.faults.table import FAULTS

IMAGE_FAULTS = [fault for fault in FAULTS.values() if fault.target == "image"]
TEXT_FAULTS = [fault for fault in FAULTS.values() if fault.target == "text"]
TEXT = (
    'Dear team, my card hasn\'t arrived - it has been 2 weeks! Could you "please" look into this & write back? Thanks.'
)


def png(levels):
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def photograph():
    """A picture with a sky, edges and fine structure: smooth noise, reddish, brighter above."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(12, 12, 3))
    smooth = np.asarray(
        Image.fromarray(np.uint8(np.clip(coarse * 40 + 128, 0, 255))).resize((96, 96), Image.Resampling.BICUBIC),
        dtype=np.float64,
    )
    light = np.linspace(40, -40, 96)[:, None, None]
    levels = smooth + light + np.array([25.0, 0.0, -25.0]) + random.normal(0, 4, (96, 96, 1))
    return png(np.uint8(np.clip(levels, 0, 255)))


def described(picture):
    image = np.asarray(Image.open(io.BytesIO(picture)))
    return properties.of_image(image if image.ndim == 3 else image[..., None], len(picture))


@pytest.mark.parametrize("fault", IMAGE_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("severity", [1, 5])
def test_an_image_fault_repeats_with_its_seed_and_keeps_a_picture(fault, severity, photograph):
    first, again = (fault.inject(photograph, severity, np.random.default_rng(7)) for _ in range(2))
    assert first == again != photograph
    assert Image.open(io.BytesIO(first)).size == (96, 96)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("fault", IMAGE_FAULTS, ids=lambda fault: fault.name)
def test_an_image_fault_takes_pictures_of_every_mode(fault, mode, photograph):
    out = io.BytesIO()
    Image.open(io.BytesIO(photograph)).convert(mode).save(out, "TIFF")
    assert Image.open(io.BytesIO(fault.inject(out.getvalue(), 3, np.random.default_rng(0)))).size == (96, 96)


@pytest.mark.parametrize(
    ("name", "severity", "mark", "direction"),
    [
        ("channels_swapped", 1, "red_minus_blue", -1),
        ("colourless", 1, "saturation", -1),
        ("inverted", 1, "top_minus_bottom", -1),
        ("scaled_twice", 1, "brightness", -1),
        ("shrunk_by_nearest", 3, "repeated_pixels", 1),
        ("thumbnailed", 3, "sharpness", -1),
        ("blurred", 2, "sharpness", -1),
        ("noisy", 2, "sharpness", 1),
        ("recompressed", 4, "blockiness", 1),
        ("darkened", 2, "brightness", -1),
        ("brightened", 2, "brightness", 1),
        ("flattened", 2, "contrast", -1),
    ],
)
def test_an_image_fault_moves_the_property_made_for_it(name, severity, mark, direction, photograph):
    before = described(photograph)[mark]
    after = described(FAULTS[name].inject(photograph, severity, np.random.default_rng(0)))[mark]
    assert direction * (after - before) > 0.15 * abs(before)


@pytest.mark.parametrize("fault", TEXT_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("severity", [1, 5])
def test_a_text_fault_repeats_with_its_seed_and_leaves_a_text(fault, severity):
    first, again = (fault.inject(TEXT, severity, np.random.default_rng(7)) for _ in range(2))
    assert first == again
    assert first.strip()
    assert first != TEXT or (fault.name, severity) == ("cut", 1)  # it has fewer than 40 words


@pytest.mark.parametrize("fault", TEXT_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("text", ["?", " . ", "日本語", "a", "\u200b"])
def test_a_text_fault_never_makes_an_empty_text(fault, text):
    assert fault.inject(text, 5, np.random.default_rng(0)) != ""


def test_what_text_faults_do_is_seen_by_eye():
    random = np.random.default_rng(0)
    assert texts.html_escaped("it's <5 & 'so'", 1, random) == "it&#x27;s &lt;5 &amp; &#x27;so&#x27;"
    assert texts.mojibake("don't", 1, random) == "donâ€™t"
    assert texts.cut("one two three four five six", 5, random) == "one two three"
    assert texts.spaces_removed("one two  three", 5, random) == "onetwothree"
    assert texts.punctuation_removed("Hello, world - it's 5!", 1, random) == "Hello world  its 5"


@pytest.mark.parametrize(
    ("name", "mark", "direction"),
    [
        ("lower_cased", "upper_share", -1),
        ("upper_cased", "upper_share", 1),
        ("punctuation_removed", "punctuation_share", -1),
        ("html_escaped", "markup_share", 1),
        ("mojibake", "mojibake_share", 1),
        ("spaces_removed", "longest_word", 1),
        ("cut", "words", -1),
    ],
)
def test_a_text_fault_moves_the_property_made_for_it(name, mark, direction):
    ids = np.array([1])
    before = properties.of_text(TEXT, ids, None)[mark]
    after = properties.of_text(FAULTS[name].inject(TEXT, 3, np.random.default_rng(0)), ids, None)[mark]
    assert direction * (after - before) > 0


def test_a_stream_has_the_shares_that_were_asked_for():
    labels = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    rows = samples.with_shares(labels, {"a": 0.1, "b": 0.9}, 4000, np.random.default_rng(0))
    drawn = np.asarray(labels)[rows]
    assert (drawn == "b").mean() == pytest.approx(0.9, abs=0.02)
    assert "c" not in drawn


def test_a_tripled_class_leaves_the_ratio_of_the_others():
    labels = ["a"] * 60 + ["b"] * 20 + ["c"] * 20
    rows = samples.one_class_tripled(labels, 20_000, np.random.default_rng(1))
    shares = {name: (np.asarray(labels)[rows] == name).mean() for name in "abc"}
    [tripled] = [name for name, before in (("a", 0.6), ("b", 0.2), ("c", 0.2)) if shares[name] > before * 1.3]
    others = [name for name in "abc" if name != tripled]
    before = {"a": 0.6, "b": 0.2, "c": 0.2}
    expected = before[others[0]] / before[others[1]]
    assert shares[others[0]] / shares[others[1]] == pytest.approx(expected, rel=0.1)
    assert shares[tripled] == pytest.approx(min(0.9, 3 * before[tripled]), abs=0.02)


def test_repeated_rows_come_as_often_as_was_asked():
    rows = samples.repeated(12, 100, np.random.default_rng(0), times=3)
    _, counts = np.unique(rows, return_counts=True)
    assert counts.tolist() == [3, 3, 3, 3]


def test_a_class_that_the_pool_lacks_is_refused():
    with pytest.raises(ValueError, match="no example of 'z'"):
        samples.with_shares(["a", "b"], {"a": 1.0, "z": 1.0}, 5, np.random.default_rng(0))


def test_the_middle_of_large_pictures_keeps_shapes_and_blocks_and_small_ones_stay_whole():
    rows = np.arange(480)[:, None, None] // 8 + np.zeros((480, 640, 3))
    wide, tall = png(rows.astype(np.uint8)), png(rows.swapaxes(0, 1).astype(np.uint8))
    first, second = (Image.open(io.BytesIO(each)) for each in images.middles([wide, tall], 160 * 120))
    assert (first.size, second.size) == ((160, 120), (120, 160))  # a sixteenth of the area, a quarter of each side
    assert len(set(np.asarray(first)[:, 0, 0][:8])) == 1  # a block of eight rows begins at the top
    (whole,) = images.middles([wide], 10**6)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(whole))), rows.astype(np.uint8))

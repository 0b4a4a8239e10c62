"""Faults of single pictures: planted ones are named; sound photos, and sets of one odd kind, are not."""

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.checks.image import Pictures, look
from headstart.data.checks.pictures import PictureFaults
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, encoded, findings, photo, real, real_rows

CHECKS = ("truncated_images", "sizes", "modes", "animated", "rotated", "constant_images")
PIXELS = 10_000_000
DARK = np.random.default_rng(0).integers(0, 16, (480, 480)).astype(np.uint8)
SOUND = [encoded(photo(seed), form) for seed, form in zip(range(60), ["PNG", "JPEG", "WEBP"] * 20, strict=True)]


def said(payloads, mode="RGB", size=32):
    inspector = Pictures([PictureFaults(mode, size, size, level=LEVEL)], max_pixels=PIXELS)
    return findings(inspector, payloads)


def animation():
    file = io.BytesIO()
    photo(1).save(file, "GIF", save_all=True, append_images=[photo(2)])
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photo(1), "JPEG", exif=exif)


def with_grey_field():
    levels = np.asarray(photo(3, 64)).copy()
    levels[40:] = 128
    return encoded(levels, "JPEG", quality=90)


PLANTED = [
    pytest.param("truncated_images", encoded(photo(1, 96), "JPEG")[:-200], "unsure", id="a JPEG cut off"),
    pytest.param("truncated_images", encoded(photo(1, 96))[:-200], "unsure", id="a PNG cut off"),
    pytest.param("truncated_images", with_grey_field(), "unsure", id="a grey field from an earlier cut"),
    pytest.param("sizes", encoded(photo(1, 8)), "unsure", id="tiny"),
    pytest.param("sizes", encoded(photo(1, 2000), "JPEG"), "unsure", id="huge"),
    pytest.param("sizes", encoded(photo(1).resize((400, 20))), "unsure", id="a banner"),
    pytest.param("modes", encoded(photo(1).convert("CMYK"), "JPEG"), "unsure", id="print colours"),
    pytest.param(
        "modes", encoded(Image.fromarray(np.arange(2304, dtype=np.uint16).reshape(48, 48))), "unsure", id="16"
    ),
    pytest.param("modes", encoded(Image.new("RGBA", (48, 48), (9, 9, 9, 99))), "unsure", id="see-through"),
    pytest.param("animated", animation(), "unsure", id="animated"),
    pytest.param("rotated", turned(), "pass", id="turned, which the contract mends"),
    pytest.param("constant_images", encoded(np.full((48, 48), 127)), "unsure", id="one grey"),
    pytest.param("constant_images", encoded(DARK), "unsure", id="a lens cap, with the sensor's noise"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_sound_pictures_of_usual_formats_are_left_alone(check):
    _, finding = said(SOUND)[check]
    assert (finding.verdict, finding.statistic) == ("pass", 0.0)


@pytest.mark.parametrize(("check", "payload", "verdict"), PLANTED)
def test_a_planted_fault_is_named_by_its_check(check, payload, verdict):
    _, finding = said([*SOUND, payload])[check]
    assert (finding.verdict, finding.statistic) == (verdict, 1.0)
    assert "source row 61 (train)" in told(finding)["reason"]


@pytest.mark.parametrize("payload", [None, b"", b"no image", "text", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_picture_is_left_to_the_check_of_payloads(payload):
    assert all(finding.verdict == "pass" for _, finding in said([*SOUND, payload]).values())


def test_a_picture_too_large_to_decode_is_told_by_its_header_alone():
    picture = look(encoded(photo(1, 64)), max_pixels=100)
    assert picture is not None
    assert (picture.width, picture.thumbnail, picture.cut) == (64, None, False)


def test_an_opaque_alpha_channel_is_no_loss():
    opaque = encoded(photo(1).convert("RGBA"))
    finding = said([opaque] * 30)["modes"][1]
    assert (finding.verdict, finding.evidence["modes"]) == ("pass", {"RGBA": 30})


def test_colours_that_the_contract_drops_are_said():
    assert "60 lose their colours" in told(said(SOUND, mode="L")["modes"][1])["reason"]


def test_a_set_of_small_pictures_is_sound_where_the_model_is_made_for_them():
    small = [encoded(photo(seed, 8)) for seed in range(40)]
    assert said(small, size=32)["sizes"][1].verdict == "pass"
    assert "made up by enlarging" in told(said(small, size=224)["sizes"][1])["reason"]


def test_a_turned_picture_is_seen_upright():
    levels = np.zeros((40, 40), np.uint8)
    levels[:, 20:] = 255  # light on the right
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: what lies right goes down
    picture = look(encoded(Image.fromarray(levels), "JPEG", exif=exif), PIXELS)
    assert picture is not None and picture.thumbnail is not None
    assert picture.thumbnail[24:].mean() > 200 > 50 > picture.thumbnail[:8].mean()


@real
@pytest.mark.parametrize("name", ["cifar10_jpeg", "pneumonia_mnist", "hymenoptera"])
def test_real_pictures_have_no_fault_where_the_model_fits_them(name):
    payloads, rows = real_rows(name)
    inspector = Pictures([PictureFaults("RGB", 64, 64, level=LEVEL)], max_pixels=PIXELS)
    assert {finding.verdict for _, finding in findings(inspector, payloads, rows).values()} == {"pass"}

"""Pictures: what is accepted, and the levels that come out."""

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from headstart.contract.image import decode
from headstart.errors import ContractError
from tests.unit.contract_examples import encoded, image_spec, levels, picture

RGB, GREY = image_spec("RGB"), image_spec("L")
PHOTO = levels(5, 7)
RED, WHITE = [255, 0, 0], [255, 255, 255]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG whose header claims a size that its data does not have."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_files_give_the_levels_that_went_in(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(picture(PHOTO), kind, **options), RGB), PHOTO)


def test_grey_pictures_have_one_channel():
    grey = levels(8, 8, 1)
    assert np.array_equal(decode(encoded(picture(grey)), GREY), grey)


def test_colour_becomes_grey_by_luma():
    # ITU-R 601: 0.299 of 255 is 76.2
    assert decode(encoded(Image.new("RGB", (1, 1), "red")), GREY).tolist() == [[[76]]]


def test_grey_becomes_colour_by_three_equal_channels():
    assert decode(encoded(Image.new("L", (1, 1), 9)), RGB).tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        # stored rows [1 2 3] [4 5 6]; what the EXIF standard says a viewer shows
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
        (99, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_pictures_are_turned_as_exif_says(orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8))
    assert decode(encoded(stored, exif=exif), GREY)[:, :, 0].tolist() == expected


def test_a_damaged_exif_block_counts_as_none():
    exif = chunk(b"eXIf", b"MM\0\x2a\xff\xff\xff\xff")
    whole = encoded(picture(PHOTO))
    assert np.array_equal(decode(whole[:33] + exif + whole[33:], RGB), PHOTO)


def test_transparency_is_laid_over_white():
    colours = [[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 51]]]  # 51 is a fifth: four fifths of white are 204
    image = Image.fromarray(np.array(colours, dtype=np.uint8))
    assert decode(encoded(image), RGB).tolist() == [[RED, WHITE, [204] * 3]]


def test_grey_with_transparency_is_laid_over_white():
    image = Image.fromarray(np.array([[[10, 255], [10, 0]]], dtype=np.uint8))
    assert image.mode == "LA"
    assert decode(encoded(image), GREY)[:, :, 0].tolist() == [[10, 255]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_palettes_transparent_colour_is_white(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    assert decode(encoded(image, transparency=transparency), RGB).tolist() == [[WHITE, RED]]


def test_a_palette_is_looked_up():
    image = Image.new("P", (1, 1))
    image.putpalette([1, 2, 3])
    assert decode(encoded(image), RGB).tolist() == [[[1, 2, 3]]]


def test_black_and_white_is_0_and_255():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert decode(encoded(image), GREY)[0, :, 0].tolist() == [0, 255]


def test_16_bit_grey_keeps_its_high_byte():
    """Pillow's own conversion clips at 255, so that nearly every 16-bit scan would come out white."""
    scan = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode(encoded(Image.fromarray(scan), kind), GREY)[0, :, 0].tolist() == [0, 0, 1, 0x12, 255]


def test_cmyk_is_ink_on_white():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red
    assert np.abs(decode(encoded(inks, "JPEG"), RGB).astype(int) - RED).max() <= 3


def test_a_phones_second_picture_is_ignored():
    pair = encoded(picture(PHOTO), "MPO", save_all=True, append_images=[picture(levels(5, 7, seed=1))])
    assert decode(pair, RGB).shape == PHOTO.shape


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused(kind):
    frames = encoded(picture(PHOTO), kind, save_all=True, append_images=[picture(levels(5, 7, seed=1))])
    with pytest.raises(ContractError, match=f"input 2 is a {kind} of 2 pictures; expected one"):
        decode(frames, RGB, index=2)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(None, "input 2 is null; expected an image file", id="null"),
        pytest.param("aGk=", "input 2 is of type str; expected an image file", id="base64 text"),
        pytest.param(3, "input 2 is of type int", id="number"),
        pytest.param(b"", "input 2 is empty: 0 bytes", id="empty"),
        pytest.param(
            b"hello", "input 2 is not an image file that can be read; its 5 bytes begin with b'hello'", id="text"
        ),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image file", id="a program"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image file", id="vector graphics"),
        pytest.param(encoded(picture(PHOTO))[:60], "input 2 is a damaged image file", id="cut PNG"),
        pytest.param(encoded(picture(levels(64, 64)), "JPEG")[:900], "input 2 is a damaged image file", id="cut JPEG"),
        pytest.param(encoded(picture(levels(64, 64)), "WEBP")[:900], "input 2 is", id="cut WEBP"),
        pytest.param(png(4, 4)[:20], "input 2 is", id="cut header"),
        pytest.param(png(0, 5), "input 2 is not an image file", id="no width"),
        pytest.param(png(1001, 1000), "input 2 has 1001 x 1000 pixels; at most 1000000", id="too many pixels"),
        pytest.param(png(12000, 12000), "input 2 has too many pixels: .*144000000", id="warned of by Pillow"),
        pytest.param(png(60000, 60000), "input 2 has too many pixels: .*3600000000", id="refused by Pillow"),
        pytest.param(b"P6 60000 60000 255\n", "input 2 has too many pixels", id="a bomb of 19 bytes"),
        pytest.param(
            png(4, 4, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10_000_000)))), "damaged image file", id="text bomb"
        ),
        pytest.param(bytes(1_000_001), "input 2 has 1000001 bytes; at most 1000000", id="too many bytes"),
        pytest.param(encoded(Image.new("F", (2, 2)), "TIFF"), r"pixels of mode F \(32 bits\)", id="floats"),
        pytest.param(encoded(Image.new("I", (2, 2)), "TIFF"), r"pixels of mode I \(32 bits\)", id="32 bits"),
    ],
)
def test_a_bad_picture_is_refused_with_its_place_and_a_sentence(value, sentence):
    with pytest.raises(ContractError, match=sentence) as refusal:
        decode(value, RGB, index=2)
    assert refusal.value.index == 2
    assert refusal.value.action


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_any_damage_is_either_refused_or_decoded():
    """2000 files with bytes changed, dropped or cut off; fuzzed for minutes once, with and without strict warnings."""
    source = random.Random(5)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(levels(12, 15))
    whole = [encoded(image, kind, exif=exif) for kind in ("PNG", "JPEG", "WEBP")]
    whole += [encoded(image, kind) for kind in ("BMP", "PPM")] + [encoded(image.convert("P"), "GIF")]
    whole += [encoded(image.convert(mode)) for mode in ("P", "1", "LA", "RGBA")]
    outcomes = set()
    for _ in range(2000):
        data = bytearray(source.choice(whole))
        for _ in range(source.choice([1, 2, 8])):
            data[source.randrange(len(data))] = source.randrange(256)
        del data[source.randrange(len(data)) if source.random() < 0.3 else len(data) :]
        try:
            outcomes.add(decode(bytes(data), RGB).dtype)
        except ContractError:
            outcomes.add(ContractError)
    assert outcomes == {np.dtype(np.uint8), ContractError}

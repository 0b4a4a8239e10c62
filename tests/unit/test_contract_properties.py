"""Numbers that describe an input."""

import numpy as np
import pytest

from headstart.contract import properties
from tests.unit.contract_examples import levels


def test_a_text_is_described_by_hand_counted_numbers():
    described = properties.of_text("good  naïve", np.array([2, 4, 1, 3]), 1)
    # 11 characters, one beyond ASCII; 4 tokens, one unknown
    assert described == {
        "characters": 11.0,
        "tokens": 4.0,
        "unknown_share": 0.25,
        "non_ascii_share": 1 / 11,
        "words": 2.0,
        "upper_share": 0.0,
        "punctuation_share": 0.0,
        "digit_share": 0.0,
        "space_share": 2 / 11,
        "longest_word": 5.0,
        "markup_share": 0.0,
        "mojibake_share": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Ab C, d!", "upper_share", 2 / 4),
        ("Ab C, d!", "punctuation_share", 2 / 8),
        ("at 12:30", "digit_share", 4 / 8),
        ("a &amp; <b>x</b>", "markup_share", 12 / 16),
        ("5 < 6 & 7 > 2", "markup_share", 0.0),
        ("caf\u00c3\u00a9", "mojibake_share", 2 / 5),  # é in UTF-8, read as Latin-1
        ("don\u00e2\u20ac\u2122t", "mojibake_share", 3 / 7),  # ’ in UTF-8, read as Windows-1252
        ("caf\u00e9 na\u00efve", "mojibake_share", 0.0),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "mojibake_share", 0.0),
    ],
)
def test_what_cleaning_steps_and_encodings_leave_behind_is_counted(text, name, value):
    assert properties.of_text(text, np.array([1]), None)[name] == pytest.approx(value)


def test_a_vocabulary_without_an_unknown_token_has_no_unknowns():
    assert properties.of_text("good", np.array([1, 1]), None)["unknown_share"] == 0.0


def test_half_black_half_white_is_half_bright_with_the_largest_contrast():
    picture = np.zeros((2, 500, 3), dtype=np.uint8)
    picture[0] = 255
    described = properties.of_image(picture, 1500)
    assert {name: described[name] for name in ("width", "height", "megapixels", "kilobytes")} == {
        "width": 500.0,
        "height": 2.0,
        "megapixels": 0.001,
        "kilobytes": 1.5,
    }
    assert described["brightness"] == pytest.approx(0.5)
    assert described["contrast"] == pytest.approx(0.5)
    # black lies below white; every pair up and down differs, none left and right
    assert described["top_minus_bottom"] == pytest.approx(1.0)
    assert described["repeated_pixels"] == pytest.approx(2 * 127 / (128 + 2 * 127))


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_are_numpys_mean_and_deviation(channels):
    picture = levels(13, 7, channels)
    described = properties.of_image(picture, 1)
    assert described["brightness"] == pytest.approx(picture.mean() / 255)
    assert described["contrast"] == pytest.approx(picture.std() / 255)


def test_one_colour_has_no_contrast():
    assert properties.of_image(np.full((3, 3, 1), 77, dtype=np.uint8), 1)["contrast"] == pytest.approx(0.0, abs=1e-9)


def test_the_names_are_those_of_the_values():
    assert tuple(properties.of_text("a", np.array([1]), 1)) == properties.names("text")
    assert tuple(properties.of_image(levels(2, 2), 1)) == properties.names("image")


def test_colours_are_told_by_hand():
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 255
    described = properties.of_image(red, 1)
    assert (described["saturation"], described["red_minus_blue"]) == (1.0, 1.0)
    assert properties.of_image(red[..., ::-1], 1)["red_minus_blue"] == -1.0


def test_a_chessboard_is_as_sharp_as_can_be():
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    # neighbours differ by 255, the deviation is 127.5
    assert properties.of_image(board, 1)["sharpness"] == pytest.approx(2.0)


def test_steps_at_every_eighth_column_alone_are_blocky():
    steps = np.repeat(np.arange(4) * 40, 8).astype(np.uint8)
    blocks = np.tile(steps, (32, 1))[..., None]
    # 40 across the edges of blocks, 0 within: log((40 + 0.1) / (0 + 0.1))
    assert properties.of_image(blocks, 1)["blockiness"] == pytest.approx(np.log(401))


def test_turning_a_picture_changes_the_sign_of_upright():
    picture = levels(40, 40)
    picture[::4] = 255  # stripes that lie
    lying = properties.of_image(picture, 1)["upright"]
    standing = properties.of_image(np.rot90(picture).copy(), 1)["upright"]
    assert lying > 0.2 and standing == pytest.approx(-lying)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 500, 3), (3000, 1, 3), (7, 9, 1)])
def test_pictures_of_any_shape_have_finite_properties(shape):
    described = properties.of_image(np.full(shape, 9, dtype=np.uint8), 1)
    assert np.isfinite(list(described.values())).all()

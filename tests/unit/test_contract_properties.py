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
    }


def test_a_vocabulary_without_an_unknown_token_has_no_unknowns():
    assert properties.of_text("good", np.array([1, 1]), None)["unknown_share"] == 0.0


def test_half_black_half_white_is_half_bright_with_the_largest_contrast():
    picture = np.zeros((2, 500, 3), dtype=np.uint8)
    picture[0] = 255
    assert properties.of_image(picture, 1500) == {
        "width": 500.0,
        "height": 2.0,
        "megapixels": 0.001,
        "kilobytes": 1.5,
        "brightness": pytest.approx(0.5),
        "contrast": pytest.approx(0.5),
    }


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

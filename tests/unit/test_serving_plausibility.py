"""Inputs unlike those a model was tested on: always said for empty pictures, rarely for clean ones."""

import base64
import json

import numpy as np
import pytest

from headstart.contract import image, properties
from headstart.profile import Profile
from headstart.serving.plausibility import Plausibility
from tests.fakes import IMAGE, png
from tests.unit.checked_rows import SETS

BANKING = SETS / "banking77"


def reference(**columns: list[float]) -> Profile:
    rows = len(next(iter(columns.values())))
    values = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
    return Profile(("a", "b"), rows, {}, {}, 1.0, [], [], np.zeros(rows), values)


def seen(raw: bytes) -> dict[str, float]:
    return properties.of_image(image.decode(raw, IMAGE.input), len(raw))  # type: ignore[arg-type]


PHOTOS = Plausibility.of(reference(brightness=[0.3, 0.4, 0.6], contrast=[0.1, 0.2, 0.3], width=[100.0, 120.0, 200.0]))
TEXTS = Plausibility.of(reference(characters=[20.0, 60.0, 100.0], non_ascii_share=[0.0, 0.0, 0.02]))


@pytest.mark.parametrize("level", [0, 1, 128, 255], ids=["black", "nearly black", "grey", "white"])
def test_a_picture_of_one_colour_is_always_odd(level: int) -> None:
    picture = png(level=level)
    for plausibility in (PHOTOS, Plausibility({})):
        assert "The picture is of one colour throughout." in plausibility.warnings(picture, seen(picture))


def test_a_picture_of_one_colour_is_usual_where_the_reference_has_such() -> None:
    blanks = Plausibility.of(reference(contrast=[0.0, 0.0, 0.2, 0.3], brightness=[1.0, 0.0, 0.5, 0.5]))
    assert blanks.warnings(b"", {"contrast": 0.0, "brightness": 0.5}) == ()


@pytest.mark.parametrize(
    ("found", "odd"),
    [
        # usual is 0.3 to 0.6; odd below 0.15, and above (1 + 0.6) / 2 = 0.8, which is nearer than twice 0.6
        pytest.param({"brightness": 0.16, "contrast": 0.2}, [], id="rather dark"),
        pytest.param({"brightness": 0.14, "contrast": 0.2}, ["The brightness is 0.14; 0.3 to 0.6"], id="too dark"),
        pytest.param({"brightness": 0.81, "contrast": 0.2}, ["The brightness is 0.81; 0.3 to 0.6"], id="too light"),
        # usual is 0.1 to 0.3; odd below 0.05, and above twice 0.3
        pytest.param({"brightness": 0.5, "contrast": 0.04}, ["The contrast is 0.04; 0.1 to 0.3"], id="washed out"),
        # usual is 100 to 200; odd below 50 and above 400
        pytest.param({"contrast": 0.2, "width": 401.0}, ["The width is 401; 100 to 200"], id="much larger"),
        pytest.param({"contrast": 0.2, "width": 400.0}, [], id="larger"),
    ],
)
def test_pictures_are_odd_beyond_half_the_least_and_twice_the_most(found: dict[str, float], odd: list[str]) -> None:
    assert list(PHOTOS.warnings(b"", found)) == [f"{sentence} is usual for this model." for sentence in odd]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("my card has still not arrived", [], id="a usual one"),
        pytest.param("?!... *** --- !!!   ...", ["The text has no letter, digit or symbol."], id="no letter"),
        pytest.param("aaaaaaaaaaaaaaaaaaaa", ["The text is one character, 'a', repeated."], id="one letter"),
        pytest.param("card", ["The number of characters is 4; 20 to 100 is usual for this model."], id="one word"),
    ],
)
def test_texts_are_odd_without_content_or_of_another_length(text: str, words: list[str]) -> None:
    found = {"characters": float(len(text)), "non_ascii_share": 0.0}
    assert list(TEXTS.warnings(text, found)) == words


def test_a_share_that_was_never_above_zero_may_rise_by_a_tenth() -> None:
    assert TEXTS.warnings("x y" * 10, {"non_ascii_share": 0.1}) == ()
    assert len(TEXTS.warnings("x y" * 10, {"non_ascii_share": 0.13})) == 1


def test_one_outlier_in_a_large_reference_does_not_make_everything_usual() -> None:
    usual = [0.3 + 0.3 * number / 999 for number in range(1000)]
    plausibility = Plausibility.of(reference(brightness=[0.0, *usual]))
    assert plausibility.ranges["brightness"].low > 0.29
    assert plausibility.warnings(b"", {"brightness": 0.02})


def test_outliers_that_are_common_in_the_reference_are_usual() -> None:
    usual = [0.5] * 990 + [0.01] * 10
    assert Plausibility.of(reference(brightness=usual)).warnings(b"", {"brightness": 0.01}) == ()


@pytest.mark.skipif(not BANKING.is_dir(), reason=f"{BANKING} is not here (HEADSTART_DATA)")
def test_clean_texts_are_flagged_in_less_than_one_of_a_hundred() -> None:
    def texts(split: str) -> list[str]:
        (path,) = BANKING.glob(f"{split}.jsonl")
        return [json.loads(line)["text"] for line in path.read_text().splitlines()]

    def described(text: str) -> dict[str, float]:
        return properties.of_text(text, np.zeros(4, dtype=np.int64), None)

    known, asked = ([described(text) for text in texts(split)] for split in ("train", "test"))
    plausibility = Plausibility.of(reference(**{name: [row[name] for row in known] for name in known[0]}))
    flagged = [bool(plausibility.warnings(text, row)) for text, row in zip(texts("test"), asked, strict=True)]
    assert np.mean(flagged) < 0.01


@pytest.mark.parametrize("text", ["\U0001f600", "\U0001f44d\U0001f3fd \U0001f44d\U0001f3fd!", "\u2764\ufe0f", "+1"])
def test_emoji_and_symbols_are_content(text: str) -> None:
    assert list(TEXTS.warnings(text, {})) == []


def test_punctuation_alone_is_not_odd_where_the_reference_has_such_texts() -> None:
    def of(punctuation: list[float]) -> Plausibility:
        return Plausibility.of(reference(punctuation_share=punctuation, space_share=[0.0] * len(punctuation)))

    assert list(of([0.1] * 290 + [1.0] * 10).warnings("?!", {})) == []
    assert list(of([0.1] * 300).warnings("?!", {})) == ["The text has no letter, digit or symbol."]


def test_a_picture_in_base64_that_is_sent_as_a_text_is_called_one() -> None:
    encoded = base64.b64encode(png()).decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        assert "The text is a picture (PNG) in base64; this model takes texts." in TEXTS.warnings(text, {})

"""A few numbers that describe one input, cheap enough to take of every request.

Monitors compare their distribution with the reference data's: a client that resizes, recolours or cuts its inputs
shows here before any label comes back. Each number is there for a fault that moves it:

    images  width height megapixels kilobytes        another source or export
            brightness contrast                      light, scaling, inversion
            saturation red_minus_blue                colour removed, red and blue swapped
            sharpness repeated_pixels                blur, noise; resizing with and without antialiasing
            blockiness                               strong JPEG compression
            upright top_minus_bottom                 turned pictures
    texts   characters words tokens                  cut texts
            unknown_share non_ascii_share            another language or vocabulary
            upper_share punctuation_share digit_share space_share longest_word   cleaning steps
            markup_share mojibake_share              HTML, another encoding
"""

import math
import re
import unicodedata
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEXT = (
    "characters", "tokens", "unknown_share", "non_ascii_share", "words", "upper_share", "punctuation_share",
    "digit_share", "space_share", "longest_word", "markup_share", "mojibake_share",
)  # fmt: skip
IMAGE = (
    "width", "height", "megapixels", "kilobytes", "brightness", "contrast", "saturation", "red_minus_blue",
    "sharpness", "repeated_pixels", "blockiness", "upright", "top_minus_bottom",
)  # fmt: skip
SIDE = 128  # of the middle of a picture that structure is measured on: half a millisecond
BLOCK = 8  # JPEG's, in pixels
MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&(?:[a-zA-Z]{2,8}|#[0-9]{2,5}|#x[0-9a-fA-F]{2,5});")
MOJIBAKE = re.compile(
    r"[\u00c2\u00c3][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]|\u00e2[\u20ac\u201a-\u2122][\u0080-\u2122]?|\ufffd"
)
"""UTF-8 of letters and typographic signs beyond ASCII, read as Windows' encoding; or what could not be read at all."""


def of_text(text: str, ids: NDArray[np.int64], unknown_id: int | None) -> dict[str, float]:
    """Properties of a text, by the names in `TEXT`.

    Shares are of all characters, but `unknown_share` of the tokens and `upper_share` of the letters.

    Args:
        text: as it arrived; not empty.
        ids: its token ids as the model sees them: special tokens included, cut to the contract's length.
        unknown_id: the id that stands for what the vocabulary lacks; None where nothing can be unknown.
    """
    unknown = 0 if unknown_id is None else int((ids == unknown_id).sum())
    characters, words = len(text), text.split()
    letters = sum(map(str.isalpha, text))
    spaces = characters - sum(map(len, words))
    signs = sum(not (each.isalnum() or each.isspace()) and _is_punctuation(each) for each in text)
    return {
        "characters": float(characters),
        "tokens": float(len(ids)),
        "unknown_share": unknown / max(1, len(ids)),
        "non_ascii_share": 0.0 if text.isascii() else sum(not each.isascii() for each in text) / characters,
        "words": float(len(words)),
        "upper_share": sum(map(str.isupper, text)) / max(1, letters),
        "punctuation_share": signs / max(1, characters),
        "digit_share": sum(map(str.isdigit, text)) / max(1, characters),
        "space_share": spaces / max(1, characters),
        "longest_word": float(max(map(len, words), default=0)),
        "markup_share": sum(map(len, MARKUP.findall(text))) / max(1, characters) if "<" in text or "&" in text else 0.0,
        "mojibake_share": 0.0 if text.isascii() else sum(map(len, MOJIBAKE.findall(text))) / characters,
    }


def of_image(image: NDArray[np.uint8], encoded_bytes: int) -> dict[str, float]:
    """Properties of a decoded picture, by the names in `IMAGE`.

    `brightness` is the mean level and `contrast` the standard deviation over all values of all channels, both as
    shares of 255: 0 and 0 for black, 0.5 and 0.5 for half black, half white. The others are taken from the middle of
    the picture, at most 128 pixels a side, also in shares of 255: `saturation` is the mean range of a pixel's channels;
    `sharpness` the root mean square difference of neighbours over the deviation there, 1.4 for noise and near 0 for
    slow changes; `repeated_pixels` the share of neighbours that are equal; `blockiness` how much larger differences are
    across the edges of JPEG's blocks (logarithm); `upright` how much larger they are up and down than left and right
    (logarithm); `top_minus_bottom` how much brighter the upper half is.

    Args:
        image: `(height, width, channels)`, after orientation and conversion to the contract's mode.
        encoded_bytes: the size of the file.
    """
    height, width, channels = image.shape
    counts = _histogram(image)
    levels = np.arange(256) / 255
    brightness = float(counts @ levels) / (height * width * channels)
    variance = float(counts @ (levels - brightness) ** 2) / (height * width * channels)
    return {
        "width": float(width),
        "height": float(height),
        "megapixels": height * width / 1e6,
        "kilobytes": encoded_bytes / 1e3,
        "brightness": brightness,
        "contrast": math.sqrt(variance),
        **_structure(_middle(image)),
    }


def names(modality: str) -> tuple[str, ...]:
    """Which properties inputs of a modality have."""
    by_modality: Mapping[str, tuple[str, ...]] = {"text": TEXT, "image": IMAGE}
    return by_modality[modality]


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How often each of 256 levels occurs; counted by Pillow, which needs no copy in a wider type."""
    height, width, channels = image.shape
    flat = Image.fromarray(np.ascontiguousarray(image).reshape(height, width * channels))
    return np.array(flat.histogram(), dtype=np.float64)


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most `SIDE` pixels a side from the middle, beginning where a block of JPEG begins."""
    top, left = (max(0, (side - SIDE) // 2) // BLOCK * BLOCK for side in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]


def _structure(image: NDArray[np.uint8]) -> dict[str, float]:
    """Colour, and how neighbouring pixels differ; see `of_image`."""
    height, _, channels = image.shape
    if channels == 1:
        grey, saturation, red_minus_blue = image[..., 0].astype(np.int16), 0.0, 0.0
    else:
        first, middle, last = (image[..., channel].astype(np.int16) for channel in range(3))
        grey = (first + 2 * middle + last) >> 2
        largest, least = np.maximum(np.maximum(first, middle), last), np.minimum(np.minimum(first, middle), last)
        saturation = float((largest - least).mean()) / 255
        red_minus_blue = float(first.mean() - last.mean()) / 255
    down, across = np.abs(np.diff(grey, axis=0)), np.abs(np.diff(grey, axis=1))
    pairs = max(1, down.size + across.size)
    up_energy, side_energy = _mean_square(down), _mean_square(across)
    deviation = float(grey.std())
    roughness = math.sqrt((up_energy * down.size + side_energy * across.size) / pairs)
    half = height // 2
    columns = across.mean(axis=0) if height else np.zeros(0)
    edges = np.arange(len(columns)) % BLOCK == BLOCK - 1
    blocky = math.log((columns[edges].mean() + 0.1) / (columns[~edges].mean() + 0.1)) if edges.any() else 0.0
    return {
        "saturation": saturation,
        "red_minus_blue": red_minus_blue,
        "sharpness": roughness / deviation if deviation else 0.0,
        "repeated_pixels": float((down == 0).sum() + (across == 0).sum()) / pairs,
        "blockiness": blocky,
        "upright": 0.5 * math.log((up_energy + 0.1) / (side_energy + 0.1)),
        "top_minus_bottom": float(grey[:half].mean() - grey[height - half :].mean()) / 255 if half else 0.0,
    }


def _mean_square(differences: NDArray[np.int16]) -> float:
    flat = differences.ravel().astype(np.float32)
    return float(flat @ flat) / len(flat) if len(flat) else 0.0


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")

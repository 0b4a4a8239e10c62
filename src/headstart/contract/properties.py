"""A few numbers that describe one input, cheap enough to take of every request.

Monitors compare their distribution with the reference data's: a client that resizes, recolours or cuts its inputs
shows here before any label comes back.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEXT = ("characters", "tokens", "unknown_share", "non_ascii_share", "words")
IMAGE = ("width", "height", "megapixels", "kilobytes", "brightness", "contrast")


def of_text(text: str, ids: NDArray[np.int64], unknown_id: int | None) -> dict[str, float]:
    """Properties of a text, by the names in `TEXT`.

    Args:
        text: as it arrived; not empty.
        ids: its token ids as the model sees them: special tokens included, cut to the contract's length.
        unknown_id: the id that stands for what the vocabulary lacks; None where nothing can be unknown.
    """
    unknown = 0 if unknown_id is None else int((ids == unknown_id).sum())
    characters = len(text)
    return {
        "characters": float(characters),
        "tokens": float(len(ids)),
        "unknown_share": unknown / max(1, len(ids)),
        "non_ascii_share": sum(not character.isascii() for character in text) / max(1, characters),
        "words": float(len(text.split())),
    }


def of_image(image: NDArray[np.uint8], encoded_bytes: int) -> dict[str, float]:
    """Properties of a decoded picture, by the names in `IMAGE`.

    `brightness` is the mean level and `contrast` the standard deviation over all values of all channels, both as
    shares of 255: 0 and 0 for black, 0.5 and 0.5 for half black, half white.

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

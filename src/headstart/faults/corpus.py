"""Inputs that are hard to read or to prepare, made by formula: the same bytes on every run.

Whatever prepares inputs is asked about them before anything is deployed. Some of them no contract accepts: those must
be refused, not guessed at.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

LONG = 100_000  # characters
WIDE = (8000, 500)  # pixels


def pictures() -> dict[str, bytes]:
    """Encoded pictures by name."""
    scene = Image.fromarray(_scene(72, 100))
    alpha = np.tile(np.linspace(0, 255, 100), (72, 1)).astype(np.uint8)
    translucent = Image.fromarray(np.dstack([_scene(72, 100), alpha]))
    whole = _encoded(scene, "JPEG")
    return {
        "rgb": whole,
        "cmyk": _encoded(scene.convert("CMYK"), "JPEG"),
        "palette": _encoded(scene.quantize(32)),
        "alpha": _encoded(translucent),
        "grey": _encoded(scene.convert("L")),
        "grey_alpha": _encoded(translucent.convert("LA")),
        "16_bit": _encoded(Image.fromarray(_scene(72, 100)[..., 0].astype(np.uint16) * 257)),
        "1_bit": _encoded(scene.convert("1", dither=Image.Dither.NONE)),
        **{f"exif_{turn}": _encoded(scene, "JPEG", exif=_exif(turn)) for turn in (3, 5, 6)},
        "one_pixel": _encoded(scene.resize((1, 1))),
        "small": _encoded(scene.resize((9, 7))),
        "tall": _encoded(scene.resize((40, 400))),
        "wide": _encoded(scene.resize(WIDE), "JPEG"),
        "cut_off": whole[: len(whole) // 2],
        "empty": b"",
        "no_picture": b"%PDF-1.7 and so on",
    }


def texts(max_characters: int) -> dict[str, str]:
    """Texts by name.

    Args:
        max_characters: the most that the contract accepts: one text is just as long.
    """
    words = "The quick brown fox, it said, jumped over 13 lazy dogs (again). "
    return {
        "plain": words.strip(),
        "emoji": "Great 👍🏽 trip 👨‍👩‍👧‍👦 to 🇨🇭 and back 🚀🚀",
        "right_to_left": "שלום עולם, مرحبا بالعالم 123 \u200fabc\u200e",
        "combining": "cafe\u0301 nai\u0308ve Z\u0351\u036b\u0343a\u0328\u0301lgo",
        "composed": "café naïve Å ﬁne ① Ⅷ",
        "scripts": "Привет 世界 こんにちは 안녕하세요 Γειά नमस्ते สวัสดี",
        "capitals": "ALL IN CAPITALS, ÄÖÜ ẞ İSTANBUL",
        "spaces": "  tabs\tand\r\nlines \u00a0 and\u3000wide   spaces  ",
        "markup": "<b>bold</b> &amp; https://example.org/a?b=c#d [CLS] [SEP] <s> </s>",
        "one_character": "a",
        "one_word": "o" * 400,
        "longest": ("a " + words * (1 + max_characters // len(words)))[:max_characters],
        "long": (words * (1 + LONG // len(words)))[:LONG],
        "empty": "",
        "invisible": " \t\n\u200b ",
        "binary": "a\0b",
        "half_a_pair": "a\ud83d",
    }


def _scene(height: int, width: int) -> NDArray[np.uint8]:
    """Waves, a slope and hard edges that differ by channel and by direction."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = np.stack([np.sin(columns / (2 + band)) * np.cos(rows / (5 - band)) for band in range(3)], axis=-1)
    slope = np.stack([columns / width, rows / height, 1 - columns / width], axis=-1)
    edges = ((columns // 9 + rows // 7) % 2)[..., None] * np.array([60.0, 20.0, 40.0])
    levels: NDArray[np.uint8] = np.clip(90 + 50 * waves + 70 * slope + edges, 0, 255).astype(np.uint8)
    return levels


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif

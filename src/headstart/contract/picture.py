"""Which kind of picture some bytes are, by how they begin: to tell pictures that were sent to a model of texts."""

import base64
import binascii

BEGINNINGS = {
    b"\x89PNG\r\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
LEAST = 64  # characters of base64: no picture is smaller


def kind(data: bytes) -> str | None:
    """`PNG`, `JPEG`, ...; None where it begins like none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in BEGINNINGS.items() if data.startswith(start)), None)


def kind_in_base64(text: str) -> str | None:
    """The same of a text that holds a picture in base64, with or without `data:...;base64,` before it."""
    if len(text) < LEAST:
        return None
    start = text.partition(";base64,")[2] if text.startswith("data:image/") else text
    try:
        return kind(base64.b64decode(start[:16].strip(), validate=True))
    except (binascii.Error, ValueError):
        return None

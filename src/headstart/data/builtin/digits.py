"""Built-in image set `digits`: scikit-learn's 1,797 scans of handwritten digits as PNG, as a user's data would be.

Each scan is 8 × 8 pixels, mode L, ink bright on black, value = round(v / 16 · 255); labels are `0` to `9`.
Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
"""

import io
from importlib import metadata
from typing import Any

import pyarrow as pa

from headstart.data.rows import batch


def rows() -> pa.RecordBatch:
    """Every scan in scikit-learn's order; ids are `digit-0000` onwards."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    numbers = range(len(digits.target))
    columns: dict[str, list[Any]] = {
        "id": [f"digit-{number:04d}" for number in numbers],
        "label": [str(label) for label in digits.target],
        "image": [encode(scan) for scan in digits.images],
        "row": [number + 1 for number in numbers],
    }
    return batch(columns, "image")


def encode(scan: Any) -> bytes:
    """PNG, mode L, of an array of values from 0 to 16, shape `(height, width)`."""
    import numpy as np
    from PIL import Image

    pixels = np.round(np.asarray(scan) / 16 * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def versions() -> dict[str, str]:
    """What the bytes depend on: the libraries that hold the scans and that encode them."""
    return {name: metadata.version(name) for name in ("scikit-learn", "pillow")}

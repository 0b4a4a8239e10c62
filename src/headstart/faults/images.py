"""Faults of encoded pictures: what clients do to them before sending, and what cameras and light do.

Every injector takes the bytes of a picture, a severity from 1 (barely) to 5 (gross) and a random generator, and
returns the bytes of another picture, PNG unless the fault is a recompression. Nothing but the generator is random.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

Levels = NDArray[np.float64]
"""`(height, width, channels)`, 0 to 255."""


def channels_swapped(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Red and blue change places, as where OpenCV's BGR is taken for RGB; has no degrees."""
    return _changed(picture, lambda levels: levels[..., ::-1])


def inverted(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Black becomes white and white black; has no degrees."""
    return _changed(picture, lambda levels: 255.0 - levels)


def scaled_twice(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Levels were divided once too often: 0 to 255 became 0 to 1, and was rounded to whole levels; has no degrees."""
    return _changed(picture, lambda levels: levels / 255.0)


def turned(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Turned by 90 degrees, as where EXIF's orientation is dropped; has no degrees of severity."""
    return _changed(picture, lambda levels: np.rot90(levels))


def colourless(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Sent in grey, still with three channels; has no degrees."""
    weights = np.array([0.299, 0.587, 0.114])

    def grey(levels: Levels) -> Levels:
        return levels if levels.shape[2] == 1 else np.repeat((levels @ weights)[..., None], 3, axis=2)

    return _changed(picture, grey)


def shrunk_by_nearest(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Made smaller and larger again without smoothing, as by a resize that is not antialiased."""
    return _resized(picture, (1.25, 1.5, 2.0, 3.0, 4.0)[severity - 1], Image.Resampling.NEAREST)


def thumbnailed(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Made smaller and larger again smoothly, as by a service that stores thumbnails."""
    return _resized(picture, (1.25, 1.5, 2.0, 3.0, 4.0)[severity - 1], Image.Resampling.BILINEAR)


def recompressed(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Sent through JPEG at a low quality."""
    image = _opened(picture)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=(50, 35, 20, 12, 6)[severity - 1])
    return _png(_opened(out.getvalue()))


def darkened(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Less light."""
    return _changed(picture, lambda levels: levels * (0.85, 0.7, 0.55, 0.4, 0.25)[severity - 1])


def brightened(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """More light."""
    return _changed(picture, lambda levels: levels + (20.0, 40.0, 60.0, 85.0, 110.0)[severity - 1])


def flattened(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Less contrast, around the picture's own mean."""
    kept = (0.8, 0.65, 0.5, 0.35, 0.2)[severity - 1]
    return _changed(picture, lambda levels: levels.mean() + kept * (levels - levels.mean()))


def blurred(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """Out of focus; the radius grows with the picture, so that a severity means the same at every size."""
    image = _opened(picture)
    radius = (0.006, 0.012, 0.02, 0.03, 0.045)[severity - 1] * max(image.size)
    return _png(image.filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture: bytes, severity: int, generator: np.random.Generator) -> bytes:
    """A sensor's noise: independent and normal at every pixel."""
    deviation = (8.0, 14.0, 22.0, 34.0, 50.0)[severity - 1]
    return _changed(picture, lambda levels: levels + generator.normal(0.0, deviation, levels.shape))


def middles(pictures: Sequence[bytes], pixels: int) -> list[bytes]:
    """The middle of each picture as a PNG, upright; of large pictures the same fraction of every width and height.

    So they still differ in size and shape as they did, and JPEG's blocks still begin where they began.

    Args:
        pictures: encoded.
        pixels: of a result, on average, at most; smaller pictures stay whole.
    """
    sizes = [Image.open(io.BytesIO(picture)).size for picture in pictures]  # of the header; nothing is decoded yet
    mean = sum(width * height for width, height in sizes) / max(1, len(sizes))
    fraction = min(1.0, (pixels / max(1.0, mean)) ** 0.5)
    return [_png(_middle(ImageOps.exif_transpose(_opened(picture)), fraction)) for picture in pictures]


def _middle(image: Image.Image, fraction: float) -> Image.Image:
    if fraction == 1.0:
        return image
    width, height = (max(1, int(side * fraction)) for side in image.size)
    left, top = (image.width - width) // 2 // 8 * 8, (image.height - height) // 2 // 8 * 8
    return image.crop((left, top, left + width, top + height))


def _changed(picture: bytes, change: Callable[[Levels], Levels]) -> bytes:
    image = _opened(picture)
    levels = np.asarray(image, dtype=np.float64)
    levels = levels if levels.ndim == 3 else levels[..., None]
    changed = np.clip(np.rint(change(levels)), 0, 255).astype(np.uint8)
    return _png(Image.fromarray(changed[..., 0] if changed.shape[2] == 1 else changed))


def _resized(picture: bytes, factor: float, resample: Image.Resampling) -> bytes:
    image = _opened(picture)
    width, height = image.size
    small = image.resize((max(1, round(width / factor)), max(1, round(height / factor))), resample)
    return _png(small.resize((width, height), resample))


def _opened(picture: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(picture))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()

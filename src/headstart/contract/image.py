"""Encoded pictures become uint8 arrays: decoded by Pillow under the contract's limits, or refused with a sentence.

Decided on purpose, for training and serving alike:

    orientation     EXIF's is applied; a damaged EXIF block counts as none
    colours         converted to the contract's mode; colour profiles are not applied
    transparency    laid over white, as browsers show it; what lies under transparent pixels is arbitrary
    16-bit grey     its high byte, as Pillow does for 16-bit colour
    32-bit, float   refused, their range is not stated
    animation       refused, it is not one picture; a phone's second picture in one JPEG (MPO) is ignored

The picture's size is read from its header and held against the contract before anything is decoded, so memory stays
within about 12 bytes a pixel of `max_pixels`, 20 where there is transparency.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from headstart.contract.spec import ImageSpec
from headstart.errors import ContractError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read; Pillow knows more, some of them interpreters in disguise."""

DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError,
    ZeroDivisionError, AssertionError, NotImplementedError, RuntimeError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError, Warning,
)  # fmt: skip
"""What Pillow's readers raise on damaged files; warnings only where the interpreter turns them into errors."""

TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
"""What undoes each EXIF orientation."""


def decode(data: object, spec: ImageSpec, *, index: int = 0) -> NDArray[np.uint8]:
    """The picture as levels 0 to 255, `(height, width, channels)`.

    Args:
        data: the bytes of an image file.
        spec: what is accepted, and the colour mode.
        index: the input's place in its batch, for the error.

    Raises:
        ContractError: if `data` is not bytes, empty, too large, no picture of a known format, damaged, animated, or
            of pixels that have no stated range.
    """
    if not isinstance(data, bytes):
        raise ContractError(
            f"input {index} is {'null' if data is None else f'of type {type(data).__name__}'}; expected an image file.",
            index=index,
            action="Send the bytes of a PNG or JPEG file, as base64 where they travel in JSON.",
        )
    if not data:
        raise ContractError(f"input {index} is empty: 0 bytes.", index=index, action="Leave empty files out.")
    if len(data) > spec.max_bytes:
        raise ContractError(
            f"input {index} has {len(data)} bytes; at most {spec.max_bytes} are accepted.",
            index=index,
            action="Send a smaller or more compressed picture.",
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _accept(image, spec, index)
            image.load()
            return _levels(_converted(_upright(image), spec, index))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ContractError(
            f"input {index} has too many pixels: {error}",
            index=index,
            action=f"Send a picture of at most {spec.max_pixels} pixels.",
        ) from error
    except UnidentifiedImageError:
        raise ContractError(
            f"input {index} is not an image file that can be read; its {len(data)} bytes begin with {data[:8]!r}.",
            index=index,
            action=f"Send one of {', '.join(FORMATS)}.",
        ) from None
    except DAMAGED as error:
        raise ContractError(
            f"input {index} is a damaged image file: {error or type(error).__name__}.",
            index=index,
            action="Send the whole file as it was saved.",
        ) from error


def _accept(image: Image.Image, spec: ImageSpec, index: int) -> None:
    """Refuse by the header alone what must not be decoded."""
    width, height = image.size
    if width * height > spec.max_pixels:
        raise ContractError(
            f"input {index} has {width} x {height} pixels; at most {spec.max_pixels} are accepted.",
            index=index,
            action="Send a smaller picture.",
        )
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ContractError(
            f"input {index} is a {image.format} of {getattr(image, 'n_frames', 'several')} pictures; expected one.",
            index=index,
            action="Send the frame you mean as a picture of its own.",
        )
    if image.mode in ("I", "F"):
        raise ContractError(
            f"input {index} has pixels of mode {image.mode} (32 bits) of no stated range; expected 8 or 16 bits.",
            index=index,
            action="Scale them to 0..255 and send an 8-bit picture.",
        )


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says it is to be seen."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGED:
        return image
    for turn in TURNS.get(orientation, ()) if isinstance(orientation, int) else ():
        image = image.transpose(turn)
    return image


def _converted(image: Image.Image, spec: ImageSpec, index: int) -> Image.Image:
    """The picture in the contract's colour mode."""
    if image.mode.startswith("I;16"):
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        image = Image.fromarray(high)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == spec.mode else image.convert(spec.mode)


def _levels(image: Image.Image) -> NDArray[np.uint8]:
    levels = np.asarray(image, dtype=np.uint8)
    return levels if levels.ndim == 3 else levels[:, :, np.newaxis]

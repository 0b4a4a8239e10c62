"""What is wrong with pictures: cut off, tiny or huge, of odd modes, animated, turned, empty. Each is decoded once.

`Pictures` is the inspector: it looks at each file once, header first, and shows what it saw to those that asked. What
can't be decoded is shown as far as it could be read; another check names it.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from headstart.contract.image import DAMAGED, FORMATS, TURNS
from headstart.data.examples import Examples, Reasons
from headstart.findings import Finding

SIDE = 32  # pixels of a thumbnail's side: what perceptual hashes are made from
ENOUGH = 2 * SIDE  # JPEG decoders may reduce a picture while decoding, to no less than this
SEE_THROUGH = ("LA", "PA", "La", "RGBA", "RGBa")
FILL = (127, 129)  # what a decoder fills the missing part of a JPEG with
FILLED = 4  # rows of a thumbnail, at the least


@dataclass(frozen=True)
class Picture:
    """What one look at an encoded picture tells.

    Attributes:
        bytes: the file's size.
        width: as stored, before EXIF's orientation is applied.
        height: likewise.
        mode: Pillow's, as stored.
        animated: more than one picture, a phone's second one (MPO) left out.
        orientation: EXIF's, 1 where there is none.
        cut: the file ends too early, or its lower part is the grey that decoders fill in for what is missing.
        transparent: a pixel lets something through.
        contrast: darkest to brightest grey level, 0 to 255; None where it can't be decoded.
        thumbnail: `(32, 32)` grey levels, upright, over white; None where it can't be decoded.
    """

    bytes: int
    width: int
    height: int
    mode: str
    animated: bool
    orientation: int
    cut: bool
    transparent: bool
    contrast: int | None
    thumbnail: NDArray[np.uint8] | None


class PictureInspector(Protocol):
    """A check that is shown pictures already looked at."""

    def observe(self, place: int, picture: Picture | None) -> None:
        """Take in the picture of a row, in order; None where its header can't be read."""

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        """As `checks.Inspector` has it."""


class Pictures:
    """The one inspector that decodes; findings are those of `inspectors`, in their order."""

    def __init__(self, inspectors: Sequence[PictureInspector], *, max_pixels: int) -> None:
        """Args:
        inspectors: who is shown each picture.
        max_pixels: larger ones are not decoded; the contract refuses them.
        """
        self.inspectors, self.max_pixels = inspectors, max_pixels

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about damaged EXIF blocks and odd palettes
            for place, payload in enumerate(payloads, first):
                picture = look(payload, self.max_pixels) if isinstance(payload, bytes) else None
                for inspector in self.inspectors:
                    inspector.observe(place, picture)

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        return [entry for inspector in self.inspectors for entry in inspector.conclude(examples)]


def look(data: bytes, max_pixels: int) -> Picture | None:
    """What a file shows; None where not even its header can be read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            mode = image.mode
            animated = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
            turn = _orientation(image)
            grey, transparent, cut = (
                _decoded(image, data, turn) if width * height <= max_pixels else (None, False, False)
            )
    except DAMAGED:
        return None
    if grey is None:
        return Picture(len(data), width, height, mode, animated, turn, cut, transparent, None, None)
    dark, bright = grey.getextrema()
    small = grey if grey.size == (SIDE, SIDE) else grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    thumbnail = np.asarray(small, np.uint8)
    for step in TURNS.get(turn, ()):
        thumbnail = np.asarray(Image.fromarray(thumbnail).transpose(step))
    contrast = int(bright) - int(dark)  # type: ignore[arg-type]
    cut = cut or (image.format == "JPEG" and _filled(np.asarray(small)))
    return Picture(len(data), width, height, mode, animated, turn, cut, transparent, contrast, thumbnail)


def _decoded(image: Image.Image, data: bytes, turn: int) -> tuple[Image.Image | None, bool, bool]:
    """The picture in grey over white, whether it lets anything through, and whether the file ends too early."""
    if image.format == "JPEG":
        image.draft("L", (ENOUGH, ENOUGH))
    try:
        image.load()
    except DAMAGED as error:
        return None, False, "truncated" in str(error) or "Truncated" in str(error)
    cut = image.format == "JPEG" and b"\xff\xd9" not in data[-4096:]
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)), False, cut
    if image.mode in ("I", "F"):
        return None, False, cut
    if image.mode in SEE_THROUGH or "transparency" in image.info:
        layer = image.convert("RGBA")
        alpha = layer.getchannel("A")
        paper = Image.new("L", layer.size, 255)
        paper.paste(layer.convert("L"), mask=alpha)
        return paper, alpha.getextrema()[0] != 255, cut
    return image.convert("L"), False, cut


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 where there is none that makes sense."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGED:
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _filled(thumbnail: NDArray[np.uint8]) -> bool:
    """Whether the lower rows are the filler of a decoder, and the upper ones a picture."""
    plain = np.logical_and(thumbnail >= FILL[0], thumbnail <= FILL[1]).all(axis=1).astype(np.bool_).reshape(-1)
    rows = int(np.argmin(plain[::-1])) if not plain.all() else SIDE
    return FILLED <= rows < SIDE and int(np.ptp(thumbnail[: SIDE - rows])) > 32

"""What single pictures are: checks `truncated_images`, `sizes`, `modes`, `animated`, `rotated`, `constant_images`."""

from array import array
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks import outliers
from headstart.data.checks.image import Picture
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding, Verdict

READ, CUT, ANIMATED, TURNED, PLAIN, CLEAR = 1, 2, 4, 8, 16, 32
PLAIN_CONTRAST = 8  # grey levels from darkest to brightest: compression noise, and nothing else
NOISE_CONTRAST = 32  # likewise of a sensor's noise, which is gone from the thumbnail
TINY = 16  # pixels a side
FAR_BELOW = 4  # times smaller than the contract's input: most of what the model sees is made up by the resize
LONG = 3.0  # longer than this against the other side, and unlike the rest
LOSSY = frozenset({"CMYK", "LAB", "YCbCr", "HSV", "I;16", "I;16B", "I;16L", "I", "F"})  # lose something on the way
GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")


class PictureFaults:
    """All of them, from 10 bytes a row. Only `sizes` rests on a distribution: it names a picture of a sound set in a
    share of `level` of such sets (`outliers.bounds`)."""

    def __init__(self, mode: Literal["L", "RGB"], height: int, width: int, *, level: float) -> None:
        """Args:
        mode: the contract's colour mode.
        height: of the contract's tensor.
        width: likewise.
        level: of `sizes`.
        """
        self.mode, self.height, self.width, self.level = mode, height, width, level
        self._flags = bytearray()
        self._modes = bytearray()
        self._widths, self._heights = array("I"), array("I")
        self._mode_names: list[str] = [""]

    def observe(self, place: int, picture: Picture | None) -> None:
        if picture is None:
            self._flags.append(0)
            self._modes.append(0)
            self._widths.append(0)
            self._heights.append(0)
            return
        plain = _is_plain(picture)
        self._flags.append(
            READ
            + CUT * picture.cut
            + ANIMATED * picture.animated
            + TURNED * (picture.orientation != 1)
            + PLAIN * plain
            + CLEAR * picture.transparent
        )
        if picture.mode not in self._mode_names:
            self._mode_names.append(picture.mode)
        self._modes.append(self._mode_names.index(picture.mode))
        self._widths.append(picture.width)
        self._heights.append(picture.height)

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        at = examples.at[self._has(READ)[examples.at]]
        return [
            self._present(examples, at, CUT, "truncated_images"),
            ({}, self._sizes(examples, at)),
            ({}, self._mode_finding(examples, at)),
            self._present(examples, at, ANIMATED, "animated"),
            ({}, self._rotated(examples, at)),
            self._present(examples, at, PLAIN, "constant_images"),
        ]

    def _has(self, bit: int) -> NDArray[np.bool_]:
        return (np.frombuffer(self._flags, np.uint8) & bit) > 0

    def _present(self, examples: Examples, at: Places, bit: int, check: str) -> tuple[Reasons, Finding]:
        places = at[self._has(bit)[at]]
        verdict: Verdict = "unsure" if len(places) else "pass"
        finding = examples.finding(check, verdict, places, looked_at=len(at), contrast=PLAIN_CONTRAST)
        return {int(place): {} for place in places}, finding

    def _sizes(self, examples: Examples, at: Places) -> Finding:
        widths = np.frombuffer(self._widths, np.uint32)[at].astype(np.float64)
        heights = np.frombuffer(self._heights, np.uint32)[at].astype(np.float64)
        if not len(at):
            return examples.finding("sizes", "pass", at, looked_at=0)
        sides, pixels = np.minimum(widths, heights), widths * heights
        level = self.level / 2  # two distributions are looked at
        low, high = outliers.bounds(pixels, level)
        flat, wide = outliers.bounds(widths / heights, level)
        typical = float(np.median(sides))
        tiny = (pixels < low) | ((sides < TINY) & (2 * sides < typical))
        huge = pixels > high
        aspects = widths / heights
        long = ((aspects < flat) | (aspects > wide)) & (np.maximum(aspects, 1 / aspects) > LONG)
        places = at[tiny | huge | long]
        stretched = typical * FAR_BELOW < min(self.height, self.width)
        notes = {int(place): f"{self._widths[place]} x {self._heights[place]}" for place in places}
        return examples.finding(
            "sizes",
            "unsure" if len(places) or stretched else "pass",
            places,
            notes,
            looked_at=len(at),
            width=float(np.median(widths)),
            height=float(np.median(heights)),
            tiny=int(tiny.sum()),
            huge=int(huge.sum()),
            long=int(long.sum()),
            stretched=bool(stretched),
            model=[self.width, self.height],
        )

    def _mode_finding(self, examples: Examples, at: Places) -> Finding:
        modes = np.frombuffer(self._modes, np.uint8)[at]
        names = [self._mode_names[code] for code in modes]
        counts = Counter(names).most_common()
        clear = self._has(CLEAR)[at]
        lossy = np.array([name in LOSSY for name in names], np.bool_)
        places = at[lossy | clear]
        return examples.finding(
            "modes",
            "unsure" if len(places) else "pass",
            places,
            modes=dict(counts),
            looked_at=len(at),
            to=self.mode,
            see_through=int(clear.sum()),
            coloured=sum(count for name, count in counts if name not in (*GREY, "P", "PA")),
        )

    def _rotated(self, examples: Examples, at: Places) -> Finding:
        places = at[self._has(TURNED)[at]]
        return examples.finding("rotated", "pass", places, looked_at=len(at))


def _is_plain(picture: Picture) -> bool:
    """Whether a picture is of one colour, noise aside: a lens cap, a blank page, a file that was never written."""
    if picture.contrast is None or picture.thumbnail is None or picture.contrast > NOISE_CONTRAST:
        return False
    return picture.contrast <= PLAIN_CONTRAST or int(np.ptp(picture.thumbnail)) <= PLAIN_CONTRAST

"""What single pictures are: checks `truncated_images`, `sizes`, `modes`, `animated`, `rotated`, `constant_images`."""

from array import array
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks import outliers
from headstart.data.checks.image import Picture
from headstart.data.checks.words import of, some
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding

READ, CUT, ANIMATED, TURNED, PLAIN, CLEAR = 1, 2, 4, 8, 16, 32
PLAIN_CONTRAST = 8  # grey levels from darkest to brightest: compression noise, and nothing else
NOISE_CONTRAST = 32  # likewise of a sensor's noise, which is gone from the thumbnail
TINY = 16  # pixels a side
FAR_BELOW = 4  # times smaller than the contract's input: most of what the model sees is made up by the resize
LONG = 3.0  # longer than this against the other side, and unlike the rest
LOSSY = {
    "CMYK": "print colours, converted without their colour profile",
    "LAB": "converted without their colour profile",
    "YCbCr": "converted",
    "HSV": "converted",
    "I;16": "16 bits, of which the high 8 are kept",
    "I;16B": "16 bits, of which the high 8 are kept",
    "I;16L": "16 bits, of which the high 8 are kept",
    "I": "32 bits of no stated range, refused",
    "F": "32 bits of no stated range, refused",
}
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
            self._present(
                examples,
                at,
                CUT,
                "truncated_images",
                "are cut off: the file ends too early, or a grey field fills its lower part",
                "Copy these files again from where they came.",
            ),
            ({}, self._sizes(examples, at)),
            ({}, self._mode_finding(examples, at)),
            self._present(
                examples,
                at,
                ANIMATED,
                "animated",
                "hold several pictures, which the contract refuses",
                "Save the frame you mean as a picture of its own.",
            ),
            ({}, self._rotated(examples, at)),
            self._present(
                examples,
                at,
                PLAIN,
                "constant_images",
                f"show nothing: no two grey levels more than {PLAIN_CONTRAST} apart but for noise",
                "Take them out, unless an empty picture is what a label means.",
            ),
        ]

    def _has(self, bit: int) -> NDArray[np.bool_]:
        return (np.frombuffer(self._flags, np.uint8) & bit) > 0

    def _present(
        self, examples: Examples, at: Places, bit: int, check: str, what: str, action: str
    ) -> tuple[Reasons, Finding]:
        places = at[self._has(bit)[at]]
        if not len(places):
            return {}, examples.finding(check, "pass", places, f"None of {len(at):,} images {what}.")
        reason = f"{of(len(places), len(at), 'image')} {what}: {some(examples, places)}."
        short = {CUT: "the image is cut off", ANIMATED: "the image is animated", PLAIN: "the image shows nothing"}
        return {int(place): short[bit] for place in places}, examples.finding(check, "unsure", places, reason, action)

    def _sizes(self, examples: Examples, at: Places) -> Finding:
        widths = np.frombuffer(self._widths, np.uint32)[at].astype(np.float64)
        heights = np.frombuffer(self._heights, np.uint32)[at].astype(np.float64)
        if not len(at):
            return examples.finding("sizes", "pass", at, "No image could be read.")
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
        usual = f"{np.median(widths):.0f} x {np.median(heights):.0f} pixels in the middle of {len(at):,} images"
        notes = {int(place): f"{self._widths[place]} x {self._heights[place]}" for place in places}
        told = [
            f"{count:,} are {what}"
            for count, what in (
                (int(tiny.sum()), "tiny"),
                (int(huge.sum()), "huge"),
                (int(long.sum()), "far longer one way than the other"),
            )
            if count
        ]
        reason = f"With {usual}, {', '.join(told) or 'none is tiny, huge or long against the rest'}"
        reason += f": {some(examples, places, notes)}." if told else "."
        actions = ["Look whether these are whole pictures or icons, banners and scans."] if told else []
        if stretched:
            reason += f" The model looks at {self.width} x {self.height}: most of what it sees is made up by enlarging."
            actions.append("Choose a backbone for smaller pictures, or get the pictures at their full size.")
        return examples.finding("sizes", "unsure" if actions else "pass", places, reason, " ".join(actions))

    def _mode_finding(self, examples: Examples, at: Places) -> Finding:
        modes = np.frombuffer(self._modes, np.uint8)[at]
        names = [self._mode_names[code] for code in modes]
        counts = Counter(names).most_common()
        clear = self._has(CLEAR)[at]
        lossy = np.array([name in LOSSY for name in names], np.bool_)
        places = at[lossy | clear]
        told = ", ".join(f"{name} {count:,}" for name, count in counts)
        coloured = sum(count for name, count in counts if name not in (*GREY, "P", "PA"))
        reason = f"Of {len(at):,} images by mode ({told}), all become {self.mode}"
        losses = [f"{count:,} {name}: {LOSSY[name]}" for name, count in counts if name in LOSSY]
        losses += [f"{int(clear.sum()):,} see-through: laid over white"] if clear.any() else []
        losses += [f"{coloured:,} lose their colours"] if self.mode == "L" and coloured else []
        reason += f"; {'; '.join(losses)}" if losses else ""
        reason += f": {some(examples, places)}." if len(places) else "."
        return examples.finding(
            "modes",
            "unsure" if len(places) else "pass",
            places,
            reason,
            "Convert them at the source if that is not what they should look like; requests are treated alike."
            if len(places)
            else "",
            modes=dict(counts),
        )

    def _rotated(self, examples: Examples, at: Places) -> Finding:
        places = at[self._has(TURNED)[at]]
        if not len(places):
            return examples.finding("rotated", "pass", places, f"None of {len(at):,} images is stored turned.")
        reason = (
            f"{of(len(places), len(at), 'image')} are stored turned or mirrored, with a note in EXIF; the contract "
        )
        return examples.finding(
            "rotated", "pass", places, reason + f"turns them upright, in requests too: {some(examples, places)}."
        )


def _is_plain(picture: Picture) -> bool:
    """Whether a picture is of one colour, noise aside: a lens cap, a blank page, a file that was never written."""
    if picture.contrast is None or picture.thumbnail is None or picture.contrast > NOISE_CONTRAST:
        return False
    return picture.contrast <= PLAIN_CONTRAST or int(np.ptp(picture.thumbnail)) <= PLAIN_CONTRAST

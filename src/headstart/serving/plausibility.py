"""Inputs unlike any that the model was tested on are flagged at the door: a network answers a black picture, too.

What is usual comes from the profile, so from clean inputs that the model never learned from. A flag is a sentence
beside the answer; it refuses nothing. Ranges are wide on purpose: a flag that most inputs carry is read by nobody.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.contract import picture
from headstart.profile import Profile

Scale = Literal["share", "size"]
CHECKED: Mapping[str, Scale] = {
    "brightness": "share",
    "contrast": "share",
    "width": "size",
    "height": "size",
    "characters": "size",
    "words": "size",
    "unknown_share": "share",
    "non_ascii_share": "share",
}
NAMES = {
    "characters": "number of characters",
    "words": "number of words",
    "unknown_share": "share of unknown tokens",
    "non_ascii_share": "share of non-ASCII characters",
}
TRIMMED = (0.005, 0.001, 0.0)  # off each end of the reference, the first that flags few enough of it
REFERENCE_FLAGGED = 0.002  # the most: so that far fewer than 1% of clean inputs are flagged
FLAT = 1 / 255  # a standard deviation of one level: compression leaves that much in a picture of one colour
WHOLE = 1 - 1e-6  # share of a text that is all punctuation and spaces
STEP = 0.1  # how far above a share of about zero is still usual
SAME = 4  # so many letters, all the same one, are no text


@dataclass(frozen=True)
class Range:
    """What is usual of one property.

    Attributes:
        low: the smallest usual value in the reference, its outliers left out.
        high: the largest.
        below: smaller values are flagged.
        above: larger values are flagged.
    """

    low: float
    high: float
    below: float
    above: float


class Plausibility:
    """Says what is odd about an input."""

    def __init__(
        self, ranges: Mapping[str, Range], *, flat_is_odd: bool = True, punctuation_is_odd: bool = True
    ) -> None:
        self.ranges = dict(ranges)
        self._flat_is_odd = flat_is_odd
        self._punctuation_is_odd = punctuation_is_odd

    @classmethod
    def of(cls, profile: Profile) -> "Plausibility":
        """The ranges of a model's reference inputs.

        A property whose values in the reference are usual up to half the smallest and twice the largest: a share ends
        half-way to 1 at the latest.
        """
        columns = {
            name: values[np.isfinite(values)]
            for name, values in profile.properties.items()
            if name in CHECKED and np.isfinite(values).any()
        }
        ranges: dict[str, Range] = {}
        for trim in TRIMMED:
            ranges = {name: _range(values, CHECKED[name], trim) for name, values in columns.items()}
            if _share_flagged(columns, ranges) <= REFERENCE_FLAGGED:
                break
        flat = columns.get("contrast", np.zeros(0)) < FLAT
        nothing = np.zeros(0)
        signs = profile.properties.get("punctuation_share", nothing) + profile.properties.get("space_share", nothing)
        return cls(ranges, flat_is_odd=_rare(flat), punctuation_is_odd=_rare(signs[np.isfinite(signs)] > WHOLE))

    def warnings(self, raw: str | bytes, properties: Mapping[str, float]) -> tuple[str, ...]:
        """A sentence for each thing that is odd about an input; none for most."""
        found = []
        if isinstance(raw, str):
            if (odd := _odd_text(raw, punctuation_is_odd=self._punctuation_is_odd)) is not None:
                found.append(odd)
        elif self._flat_is_odd and properties.get("contrast", 1.0) < FLAT:
            found.append("The picture is of one colour throughout.")
        for name, usual in self.ranges.items():
            value = properties.get(name)
            if value is not None and not usual.below <= value <= usual.above:
                found.append(
                    f"The {NAMES.get(name, name)} is {value:.3g}; {usual.low:.3g} to {usual.high:.3g} is usual for "
                    "this model."
                )
        return tuple(found)


def _range(values: NDArray[np.float64], scale: Scale, trim: float) -> Range:
    low, high = (float(each) for each in np.quantile(values, [trim, 1 - trim], method="inverted_cdf"))
    above = 2 * high if scale == "size" else min(high + max(high, STEP), (1 + high) / 2)
    return Range(low, high, low / 2, above)


def _share_flagged(columns: Mapping[str, NDArray[np.float64]], ranges: Mapping[str, Range]) -> float:
    """The largest share of the reference that one property could flag, summed over the properties."""
    outside = [
        np.mean((values < ranges[name].below) | (values > ranges[name].above)) for name, values in columns.items()
    ]
    return float(sum(outside))


def _rare(found: NDArray[np.bool_]) -> bool:
    """Whether so little of the reference is like this that it can be called odd."""
    return not found.size or float(found.mean()) <= REFERENCE_FLAGGED


def _odd_text(text: str, *, punctuation_is_odd: bool) -> str | None:
    """What is odd about a text whatever the model was tested on. Emoji and other symbols are content."""
    if (kind := picture.kind_in_base64(text)) is not None:
        return f"The text is a picture ({kind}) in base64; this model takes texts."
    first = next((character for character in text if not _says_nothing(character)), None)
    if first is None:
        return "The text has no letter, digit or symbol." if punctuation_is_odd else None
    if first.isalnum() and len(text) >= SAME and text.strip() == first * len(text.strip()):
        return f"The text is one character, {first!r}, repeated."
    return None


def _says_nothing(character: str) -> bool:
    """Whether it is punctuation, space, or invisible."""
    category = unicodedata.category(character)
    return category[0] in "PZ" or category in {"Cc", "Cf"}

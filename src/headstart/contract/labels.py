"""One spelling for each label: what looks the same to a person is the same class, wherever a label comes in."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0001\U000e0100-\U000e01ef]"
    "|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]"
)
"""Unicode's Default_Ignorable_Code_Point without joiners and emoji tags, and control characters but for white space."""

_JOINERS = re.compile("[\u200c\u200d]+")
_JOINED_SCRIPTS = 0x0600  # Arabic, Indic scripts and emoji, from here on, are spelled with joiners; Latin is not

_NEAR = 0.8  # of difflib's ratio: one letter in five


@lru_cache(maxsize=1 << 16)
def normal(label: str) -> str:
    """The label in Unicode's composed form (NFC), without invisible characters, with single spaces between its words.

    Case stays: whether `Bug` and `bug` are one class is for a person to say. The result may be empty.
    """
    if not label.isascii() or not label.isprintable():
        label = _JOINERS.sub(_joiner, _IGNORABLE.sub("", label))
        label = unicodedata.normalize("NFC", label)
    return " ".join(label.split())


def nearest(label: str, classes: Iterable[str]) -> str | None:
    """The class that a label is written almost like, whatever its case; None if there is none."""
    folded = {known.casefold(): known for known in classes}
    found = get_close_matches(label.casefold(), folded, n=1, cutoff=_NEAR)
    return folded[found[0]] if found else None


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: white space and invisible characters at most."""
    return all(letter.isspace() or _IGNORABLE.match(letter) or _JOINERS.match(letter) for letter in text)


def _joiner(found: re.Match[str]) -> str:
    """A joiner stays, once, where it joins something."""
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    joins = before.strip() and after.strip() and min(ord(before), ord(after)) >= _JOINED_SCRIPTS
    return found[0][-1] if joins else ""

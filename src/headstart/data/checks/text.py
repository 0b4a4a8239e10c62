"""What is wrong inside a text: decoded wrongly, invisible characters, markup, absurd length, another script.

One pass, six bytes a row. A text that is plain ASCII can't be mojibake, and most of the rest is settled by one search.
"""

import html
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ftfy
import numpy as np
from ftfy import badness

from headstart.data.checks import outliers
from headstart.data.checks.words import Notes
from headstart.data.examples import Examples, Reasons
from headstart.findings import Finding, Verdict

MOJIBAKE, CONTROL, MARKUP = 1, 2, 4
INVISIBLE = {
    "control characters": "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f",
    "zero-width characters": "\u200b\u2060\ufeff",
    "direction overrides": "\u202d\u202e",
    "replacement characters": "\ufffd",
}
"""Joiners, direction marks and soft hyphens are left out: Persian, Hindi, Hebrew and emoji are written with them."""

ANY_INVISIBLE = re.compile(f"[{''.join(INVISIBLE.values())}]")
ANY_MARKUP = re.compile(
    r"</?(?:a|abbr|b|blockquote|body|br|button|center|code|div|em|font|form|h[1-6]|head|hr|html|i|iframe|img|input|li|"
    r"link|meta|ol|option|p|pre|script|section|select|small|span|strong|style|sub|sup|table|tbody|td|textarea|th|thead|"
    r"title|tr|tt|u|ul)(?:\s+[a-z-]+\s*=[^<>]{0,2000})?\s*/?>|<!--|<!doctype\s|&(?:[a-z]{2,8}|\#\d{2,6}|\#x[\da-f]{2,5});",
    re.IGNORECASE,
)
RARE_SCRIPT = 0.05  # a script of more texts than this belongs to the set
LETTERS, JUDGED = 8, 64  # a text's script is that of most of its first 64 letters, of at least 8
LONGEST, LIKE, SEEN = 16, 4, 3  # characters: of a wrong place, that show its end, and that are shown behind it
SAME_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "CJK", "HALFWIDTH": "CJK"}


class TextFaults:
    """The checks `mojibake`, `control_characters`, `markup`, `lengths` and `scripts`.

    The first three name what stands there, so on sound texts they find nothing at all; `lengths` calls a text of a
    sound set absurd in a share of `level` of such sets (`outliers`: far beyond the rest, or apart from it).
    """

    def __init__(self, level: float) -> None:
        self.level = level
        self._faults = bytearray()
        self._scripts = bytearray()
        self._lengths = array("I")
        self._script_names = ["", "LATIN"]
        self._notes: dict[int, Notes] = {MOJIBAKE: Notes(), CONTROL: Notes(), MARKUP: Notes()}

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        for place, payload in enumerate(payloads, first):
            text = payload if isinstance(payload, str) else ""
            self._faults.append(self._look(place, text) if text else 0)
            self._scripts.append(self._script(text))
            self._lengths.append(len(text.strip()))

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        return [
            self._present(examples, MOJIBAKE, "mojibake"),
            self._present(examples, CONTROL, "control_characters"),
            self._present(examples, MARKUP, "markup"),
            ({}, self._length_finding(examples)),
            ({}, self._script_finding(examples)),
        ]

    def _look(self, place: int, text: str) -> int:
        """Which faults a text has, as bits."""
        faults, read = 0, text
        if not text.isascii() and badness.is_bad(text):
            mended = ftfy.fix_encoding(text)
            if badness.badness(mended) < badness.badness(text):
                faults, read = MOJIBAKE, mended
                self._notes[MOJIBAKE].add(place, _difference(text, mended))
        if (found := ANY_INVISIBLE.search(read)) is not None:  # what the right encoding mends is no fault of its own
            faults |= CONTROL
            self._notes[CONTROL].add(place, f"U+{ord(found[0]):04X}")
        if ("<" in text or "&" in text) and (found := _markup(text)) is not None:
            faults |= MARKUP
            self._notes[MARKUP].add(place, repr(found[0][:20]))
        return faults

    def _script(self, text: str) -> int:
        """The number of a text's script, 0 where it has none."""
        if text.isascii():
            return 1 if text else 0
        counts: Counter[str] = Counter()
        letters = 0
        for character in text:
            if character.isalpha():
                counts[_script_of(character)] += 1
                letters += 1
                if letters == JUDGED:
                    break
        if letters < LETTERS:
            return 0
        name, most = counts.most_common(1)[0]
        if 2 * most <= letters:
            return 0
        if name not in self._script_names:
            if len(self._script_names) == 256:
                return 0
            self._script_names.append(name)
        return self._script_names.index(name)

    def _present(self, examples: Examples, bit: int, check: str) -> tuple[Reasons, Finding]:
        """The finding of a fault that a text has or has not."""
        at = examples.at
        places = at[(np.frombuffer(self._faults, np.uint8)[at] & bit) > 0]
        reasons: Reasons = {int(place): {} for place in places}
        verdict: Verdict = "unsure" if len(places) else "pass"
        return reasons, examples.finding(check, verdict, places, self._notes[bit], looked_at=len(at))

    def _length_finding(self, examples: Examples) -> Finding:
        at = examples.at
        lengths = np.frombuffer(self._lengths, np.uint32)[at]
        filled = lengths > 0
        at, lengths = at[filled], lengths[filled]
        pairs = outliers.bounds(lengths, self.level / 2), outliers.gap(lengths, self.level / 2)
        low, high = max(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
        places = at[(lengths < low) | (lengths > high)]
        notes = {int(place): f"{int(self._lengths[place]):,} characters" for place in places}
        return examples.finding(
            "lengths",
            "unsure" if len(places) else "pass",
            places,
            notes,
            looked_at=len(at),
            median=int(np.median(lengths)) if len(at) else 0,
            short=int((lengths < low).sum()),
            long=int((lengths > high).sum()),
            shorter_than=low if np.isfinite(low) else None,
            longer_than=high if np.isfinite(high) else None,
        )

    def _script_finding(self, examples: Examples) -> Finding:
        at = examples.at
        counts = np.bincount(np.frombuffer(self._scripts, np.uint8)[at], minlength=len(self._script_names))
        total = int(counts[1:].sum())
        shares = {name: int(counts[code]) / total for code, name in enumerate(self._script_names) if code and total}
        shares = dict(sorted(((name, share) for name, share in shares.items() if share), key=lambda item: -item[1]))
        rare = [self._script_names.index(name) for name, share in shares.items() if share < RARE_SCRIPT]
        places = at[np.isin(np.frombuffer(self._scripts, np.uint8)[at], rare)]
        notes = {int(place): self._script_names[self._scripts[place]].capitalize() for place in places[:10]}
        verdict: Verdict = "unsure" if len(places) else "pass"
        return examples.finding("scripts", verdict, places, notes, shares=shares, looked_at=total)


def _markup(text: str) -> re.Match[str] | None:
    """The first tag or entity; `&copy` alone, or `AT&T;`, is none."""
    for found in ANY_MARKUP.finditer(text):
        if found[0][0] != "&" or html.unescape(found[0]) != found[0]:
            return found
    return None


def _difference(text: str, mended: str) -> str:
    """Where a text and its mended version part, and the same three characters behind it in both."""
    start = next((at for at, pair in enumerate(zip(text, mended, strict=False)) if pair[0] != pair[1]), 0)
    for wrong in range(1, LONGEST):
        for right in range(wrong + 1):
            behind, also = start + wrong, start + right
            if text[behind : behind + LIKE] == mended[also : also + LIKE]:
                return f"{text[start : behind + SEEN]!r} for {mended[start : also + SEEN]!r}"
    return f"{text[start : start + LONGEST]!r} for {mended[start : start + LONGEST]!r}"


@lru_cache(maxsize=65536)
def _script_of(character: str) -> str:
    """The first word of a letter's Unicode name; the scripts that Japanese mixes count as one."""
    name = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    return SAME_SCRIPT.get(name, name)

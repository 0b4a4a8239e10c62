"""Faults of texts: what clients do to them before sending, and what other writers do.

Every injector takes a text, a severity from 1 (barely) to 5 (gross) and a random generator, and returns another text,
never an empty one. Nothing but the generator is random.
"""

import html
import re

import numpy as np

NEIGHBOURS = {
    "a": "sqz", "b": "vgn", "c": "xvd", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i": "uok",
    "j": "hku", "k": "jli", "l": "kop", "m": "nj", "n": "bmh", "o": "ipl", "p": "ol", "q": "wa", "r": "etf",
    "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs", "y": "tuh", "z": "xa",
}  # fmt: skip
"""Keys beside each key of an English keyboard."""


def lower_cased(text: str, severity: int, generator: np.random.Generator) -> str:
    """Without capitals; has no degrees."""
    return text.lower()


def upper_cased(text: str, severity: int, generator: np.random.Generator) -> str:
    """In capitals; has no degrees."""
    return text.upper()


def punctuation_removed(text: str, severity: int, generator: np.random.Generator) -> str:
    """Letters, digits and spaces alone, as after a cleaning step that training did not have; has no degrees."""
    return re.sub(r"[^\w\s]", "", text).strip() or text


def html_escaped(text: str, severity: int, generator: np.random.Generator) -> str:
    """As a web page holds it: entities, and from severity 2 on tags around it."""
    escaped = html.escape(text, quote=True)
    if severity == 1:
        return escaped
    words = escaped.split(" ")
    every = (0, 12, 8, 5, 3)[severity - 1]
    marked = [word if (place + 1) % every else f"<b>{word}</b>&nbsp;" for place, word in enumerate(words)]
    return f"<p>{' '.join(marked)}</p>"


def mojibake(text: str, severity: int, generator: np.random.Generator) -> str:
    """UTF-8 that was read as Windows' encoding, over and over from severity 2 on.

    Typographic quotes are put in first, as office programs do: plain ASCII survives every encoding.
    """
    damaged = text.replace("'", "’").replace('"', "“").replace(" - ", " – ")
    for _ in range((1, 2, 2, 3, 3)[severity - 1]):
        damaged = damaged.encode("utf-8").decode("cp1252", "replace")
    return damaged


def spaces_removed(text: str, severity: int, generator: np.random.Generator) -> str:
    """Words run together: a share of the spaces is gone, at severity 5 every one."""
    gone = (0.2, 0.4, 0.6, 0.8, 1.0)[severity - 1]
    return re.sub(r"\s+", lambda _: "" if generator.random() < gone else " ", text.strip()) or text


def cut(text: str, severity: int, generator: np.random.Generator) -> str:
    """The first words alone, as where a form or a column is too narrow."""
    return " ".join(text.split()[: (40, 20, 10, 5, 3)[severity - 1]]) or text


def mistyped(text: str, severity: int, generator: np.random.Generator) -> str:
    """A share of the letters is the key beside it."""
    share = (0.02, 0.05, 0.1, 0.15, 0.25)[severity - 1]

    def hit(letter: str) -> str:
        keys = NEIGHBOURS.get(letter.lower(), "")
        if not keys or generator.random() >= share:
            return letter
        key = keys[int(generator.integers(len(keys)))]
        return key.upper() if letter.isupper() else key

    return "".join(hit(letter) for letter in text)


def misread(text: str, severity: int, generator: np.random.Generator) -> str:
    """As a scanner's text recognition reads it: like letters for one another, spaces lost."""
    share = (0.05, 0.1, 0.2, 0.35, 0.5)[severity - 1]
    alike = {"l": "1", "i": "l", "o": "0", "s": "5", "e": "c", "m": "rn", "b": "6", "g": "9", "t": "f", " ": ""}

    def seen(letter: str) -> str:
        other = alike.get(letter)
        return letter if other is None or generator.random() >= (share / 4 if letter == " " else share) else other

    return "".join(seen(letter) for letter in text) or text

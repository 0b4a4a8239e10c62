"""Unique ids for millions of rows: a 64-bit hash a row in memory, text only for those that clash.

A row keeps the source's own id where it stands on that row alone. Others get, in the order of the source, the id with
its split in front, or the start of the content's key; where such a name is taken, a count behind it.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.identity import content_key
from headstart.determinism import digest

KEY_DIGITS = 16
NAMED = 10
_HEX = frozenset("0123456789abcdef")

# place in the source, the id given or made from the content, the split
Clash = tuple[int, str, str | None]


@dataclass(frozen=True)
class Clashes:
    """Rows whose ids have to be told apart.

    Attributes:
        places: in the order of the source, from 0.
        renamed: their ids.
        repeated: how many given ids stand on more than one row.
        named: the first ten of those by name.
    """

    places: NDArray[np.int64]
    renamed: list[str]
    repeated: int
    named: list[str]


class Register:
    """Collects the ids of all rows, then names those that clash."""

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.uint64]] = []
        self._given: list[NDArray[np.bool_]] = []

    def add(self, ids: Sequence[str | None], inputs: Sequence[str | bytes | None]) -> list[str]:
        """The next rows; their ids, made from the content where the source has none, not told apart yet."""
        names = [name or content_key(content)[:KEY_DIGITS] for name, content in zip(ids, inputs, strict=True)]
        hashes = [_hash(name) if own else int(name, 16) for own, name in zip(ids, names, strict=True)]
        self._hashes.append(np.array(hashes, np.uint64))
        self._given.append(np.fromiter(map(bool, ids), np.bool_, len(names)))
        return names

    def clashes(self, rows: Callable[[NDArray[np.bool_]], Iterator[Clash]]) -> Clashes:
        """What has to be renamed.

        Args:
            rows: gives, for a mask over all rows, those rows; in any order.
        """
        hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes])
        given = np.concatenate([np.empty(0, np.bool_), *self._given])
        own, counts = np.unique(hashes[given], return_counts=True)
        repeated = own[counts > 1]
        single = own[counts == 1]
        made, counts = np.unique(hashes[~given], return_counts=True)
        clashing = np.where(given, _among(hashes, repeated), _among(hashes, made[counts > 1]) | _among(hashes, own))
        if not clashing.any():
            return Clashes(np.empty(0, np.int64), [], 0, [])
        found = sorted(rows(clashing))
        taken: set[str] = set()
        seen: Counter[str] = Counter()
        named: list[str] = []
        renamed = []
        for place, name, split in found:
            if given[place]:
                _remember(named, name)
                name = f"{split}/{name}" if split else name
            seen[name] += 1
            while _is_taken(candidate := name if seen[name] == 1 else f"{name}#{seen[name]}", taken, single):
                seen[name] += 1
            if "#" in candidate:  # without, nothing but a first `name` is called so
                taken.add(candidate)
            renamed.append(candidate)
        return Clashes(np.flatnonzero(clashing), renamed, len(repeated), named)


def _is_taken(name: str, taken: set[str], single: NDArray[np.uint64]) -> bool:
    """Whether a name was given out before, or is the source's own for one row."""
    if name in taken:
        return True
    value = np.uint64(_hash(name))
    place = int(np.searchsorted(single, value))
    return place < len(single) and bool(single[place] == value)


def _among(values: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.isin(values, known) if len(known) else np.zeros(len(values), np.bool_)


def _hash(name: str) -> int:
    """64 bits of a name; a content key is its own."""
    return int(name if len(name) == KEY_DIGITS and _HEX.issuperset(name) else digest(name)[:KEY_DIGITS], 16)


def _remember(named: list[str], name: str) -> None:
    """Keep the first ten by name."""
    if name not in named and (len(named) < NAMED or name < named[-1]):
        insort(named, name)
        del named[NAMED:]

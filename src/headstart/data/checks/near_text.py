"""Texts that are nearly equal: MinHash finds candidates (datasketch), the Jaccard index of their shingles decides.

shingles    of lower-case words without punctuation: every 3 words in texts of at least `WORDS`, else every
            4 characters; a text is compared with texts shingled alike
kept        32-bit hashes of shingles, sorted; of more than 1,024 the smallest 1,024, whose share in common
            estimates the index within 0.03 (Broder 1997)
candidates  64 permutations in bands, so many that a pair just at the bar is missed once in a hundred times
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from headstart.data.checks import near
from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples, Reasons
from headstart.findings import Finding

WORDS = 40
CHARACTERS = 20_000  # of a text that are looked at: what the contract accepts
KEPT = 1024
PERMUTATIONS = 64
MISSED = 0.01
CROWD = 32  # a row with as many candidates is no candidate itself: they speak for it, and a template costs no more
TEST = SPLITS.index("test")
Shingles = NDArray[np.uint32]
WORD = re.compile(r"\w+")
FACTORS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint64)


class NearTexts:
    """The checks `near_leak` and `near_duplicates` for texts; holds at most 4 KB for each row chosen."""

    def __init__(self, chosen: NDArray[np.bool_], similarity: float, seed: int) -> None:
        """Args:
        chosen: which rows to compare, by place.
        similarity: Jaccard index from which on two texts are nearly equal.
        seed: of the permutations.
        """
        self.chosen, self.similarity, self.seed = chosen, similarity, seed
        self._shingles: dict[int, tuple[bool, Shingles]] = {}
        self._words: dict[str, int] = {}

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        for offset in np.flatnonzero(self.chosen[first : first + len(payloads)]).tolist():
            if isinstance(payloads[offset], str):
                by_words, shingles = self._shingled(payloads[offset])
                if len(shingles):
                    self._shingles[first + offset] = by_words, shingles

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        looked = np.zeros(len(examples), np.bool_)
        looked[list(self._shingles)] = True
        places = near.ordered(examples, looked).tolist()
        twins = self._twins(examples, places)
        return near.findings(
            examples, twins, looked_at=len(places), drawn=self.chosen, noun="text", similarity=self.similarity
        )

    def _shingled(self, text: str) -> tuple[bool, Shingles]:
        """Whether a text is taken by words, and the hashes of its shingles."""
        words = WORD.findall(unicodedata.normalize("NFKC", text[:CHARACTERS]).casefold())
        by_words = len(words) >= WORDS
        if by_words:
            units = np.array([self._hash(word) for word in words], np.uint64)
            width = 3
        else:
            units = np.frombuffer(" ".join(words).encode("utf-32-le"), np.uint32).astype(np.uint64)
            width = 4
        if not len(units):
            return by_words, np.zeros(0, np.uint32)
        width = min(width, len(units))
        mixed = np.zeros(len(units) - width + 1, np.uint64)
        for at in range(width):
            mixed = (mixed ^ units[at : len(units) - width + 1 + at]) * FACTORS[at]
            mixed ^= mixed >> np.uint64(29)
        return by_words, np.unique((mixed >> np.uint64(8)).astype(np.uint32))[:KEPT]

    def _hash(self, word: str) -> int:
        found = self._words.get(word)
        if found is None:
            found = self._words[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return found

    def _twins(self, examples: Examples, places: Sequence[int]) -> Iterator[near.Twin]:
        """Each row's first twin in each split and every one in test, rows in their order."""
        for by_words in (False, True):
            alike = [place for place in places if self._shingles[place][0] is by_words]
            bands, rows = banded(self.similarity)
            index = MinHashLSH(num_perm=PERMUTATIONS, params=(bands, rows))
            sketches = MinHash.generator(
                (self._shingles[place][1].tolist() for place in alike),
                num_perm=PERMUTATIONS,
                seed=self.seed % 2**32,
                hashfunc=int,
            )
            for place, sketch in zip(alike, sketches, strict=True):
                found: set[int] = set()
                candidates = index.query(sketch)
                for other in sorted(candidates, key=self._order(examples)):
                    split = int(examples.splits[other])
                    known = split in found and (split != TEST or examples.splits[place] == TEST)
                    if known or examples.contents[other] == examples.contents[place]:
                        continue
                    likeness = jaccard(self._shingles[place][1], self._shingles[other][1])
                    if likeness >= self.similarity:
                        found.add(split)
                        yield near.Twin(place, other, likeness)
                if len(candidates) < CROWD:
                    index.insert(place, sketch, check_duplication=False)

    @staticmethod
    def _order(examples: Examples) -> Callable[[int], tuple[int, int]]:
        """Test before validation before train, then by place."""
        return lambda place: (-int(examples.splits[place]), place)


def banded(similarity: float) -> tuple[int, int]:
    """Bands and rows a band: as many rows as leave a pair just at the bar missed with chance `MISSED` at most."""
    for rows in range(PERMUTATIONS // 2, 0, -1):
        bands = PERMUTATIONS // rows
        if (1 - similarity**rows) ** bands <= MISSED:
            return bands, rows
    return PERMUTATIONS, 1


def jaccard(first: Shingles, second: Shingles) -> float:
    """Shingles in common by shingles in all; of the smallest ones only where there are more than were kept."""
    common = np.intersect1d(first, second, assume_unique=True)
    if max(len(first), len(second)) < KEPT:
        return len(common) / (len(first) + len(second) - len(common))
    union = np.union1d(first, second)[:KEPT]
    return float(np.searchsorted(common, union[-1], side="right") / len(union))

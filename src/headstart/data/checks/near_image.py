"""Pictures that are nearly equal, also mirrored: a perceptual hash finds candidates, their thumbnails decide.

hash         64 bits of the lowest frequencies (imagehash.phash); saving anew, scaling and brightening change few
candidates   pairs that differ in k bits at most agree whole in one of k + 1 bands of bits: only those are compared
decision     the correlation of both thumbnails, without which X-rays and digits of one kind would pass for copies
left out     pictures whose thumbnail is flat: their hash is noise
"""

from collections.abc import Iterator

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.checks import near
from headstart.data.checks.image import SIDE, Picture
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding

BITS = 64
FLAT = 4.0  # standard deviation of a thumbnail's grey levels below which its hash is noise
LEAST = 16  # pixels a side
ALIKE = 0.97  # correlation of two thumbnails: 93% of copies saved anew at quality 50 pass, no two X-rays of 5,838 do
CROWD, TRIED = 2048, 4  # of many in one band, the first so many a split are compared, and so many fits a row decided
BLOCK = 512  # rows of a crowded band compared at once
Hashes = NDArray[np.uint64]


class NearImages:
    """The checks `near_leak` and `near_duplicates` for images; holds about 1 KB for each row chosen."""

    def __init__(self, chosen: NDArray[np.bool_], similarity: float) -> None:
        """Args:
        chosen: which rows to compare, by place.
        similarity: share of equal bits from which on two pictures may be nearly equal.
        """
        self.chosen, self.similarity = chosen, similarity
        self._places: list[int] = []
        self._hashes: list[tuple[int, int]] = []
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._left_out = 0

    def observe(self, place: int, picture: Picture | None) -> None:
        if picture is None or picture.thumbnail is None or not self.chosen[place]:
            return
        if min(picture.width, picture.height) < LEAST or picture.thumbnail.std() < FLAT:
            self._left_out += 1
            return
        self._places.append(place)
        self._hashes.append((perceptual(picture.thumbnail), perceptual(picture.thumbnail[:, ::-1])))
        self._thumbnails.append(picture.thumbnail)

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        looked = np.zeros(len(examples), np.bool_)
        looked[self._places] = True
        places = near.ordered(examples, looked)
        apart = int((1 - self.similarity) * BITS + 1e-9)
        return near.findings(
            examples,
            self._twins(examples, places, apart),
            looked_at=len(places),
            drawn=self.chosen,
            noun="image",
            bar=f"at most {apart} of {BITS} bits of their perceptual hashes differ, and their thumbnails agree",
            left_out=self._left_out,
        )

    def _twins(self, examples: Examples, places: Places, apart: int) -> Iterator[near.Twin]:
        """Each row's first twin in each split, plain ones before mirrored ones."""
        at = np.full(len(examples), -1)
        at[self._places] = np.arange(len(self._places))
        rows = at[places]
        hashes = np.array(self._hashes, np.uint64).reshape(-1, 2)[rows]
        pictures = _standard(np.array(self._thumbnails, np.uint8).reshape(-1, SIDE, SIDE)[rows])
        for how, others in (("", hashes[:, 0]), ("mirrored", hashes[:, 1])):
            first: dict[tuple[int, int], tuple[int, float]] = {}
            for later, earlier in _candidates(hashes[:, 0], others, examples.splits[places], apart):
                turned = pictures[later][:, :, ::-1] if how else pictures[later]
                alike = np.einsum("ijk,ijk->i", turned, pictures[earlier])
                for row, other, likeness in zip(later, earlier, alike, strict=True):
                    if likeness < ALIKE or examples.contents[places[row]] == examples.contents[places[other]]:
                        continue
                    key = (int(row), int(examples.splits[places[other]]))
                    if key not in first or other < first[key][0]:
                        first[key] = int(other), float(likeness)
            for (row, _), (other, likeness) in sorted(first.items()):
                yield near.Twin(int(places[row]), int(places[other]), likeness, how)


def perceptual(thumbnail: NDArray[np.uint8]) -> int:
    """The perceptual hash as a number of 64 bits."""
    bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(thumbnail))).hash
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


def _standard(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails of mean 0 and length 1, so that a product of two is their correlation."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-9)
    return values


def _candidates(
    hashes: Hashes, others: Hashes, splits: NDArray[np.int8], apart: int
) -> Iterator[tuple[Places, Places]]:
    """Pairs `(later row, earlier row)` whose hash and other hash differ in `apart` bits at most; some come twice."""
    edges = np.linspace(0, BITS, apart + 2).astype(int)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        mask = np.uint64(((1 << (stop - start)) - 1) << start)
        keys = np.concatenate([hashes & mask, others & mask])
        order = np.argsort(keys, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            left = members[members < len(hashes)]
            right = members[members >= len(hashes)] - len(hashes)
            if len(members) == 2 and members[1] - members[0] == len(hashes):
                continue  # a row, and itself
            for split in np.unique(splits[right]).tolist():
                column = right[splits[right] == split][:CROWD]
                for start_row in range(0, len(left), BLOCK):
                    rows = left[start_row : start_row + BLOCK]
                    fits = np.bitwise_count(hashes[rows][:, None] ^ others[column][None, :]) <= apart
                    fits &= rows[:, None] > column[None, :]
                    fits &= np.cumsum(fits, axis=1, dtype=np.int32) <= TRIED
                    later, earlier = np.nonzero(fits)
                    if len(later):
                        yield rows[later], column[earlier]

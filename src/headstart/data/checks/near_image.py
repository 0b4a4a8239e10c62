"""Pictures that are nearly equal, also turned or mirrored: perceptual hashes find candidates, thumbnails decide.

hash         64 bits of the lowest frequencies, those of imagehash.phash; saving anew, scaling, brightening change few
turned       of a picture turned or mirrored those frequencies are the same but for order and sign: one transform gives
             the hashes of all eight, where imagehash would make eight (8 microseconds a picture, not 8 times 100)
candidates   pairs that differ in k bits at most agree whole in one of k + 1 bands of bits: only those are compared
decision     the correlation of both thumbnails, without which X-rays and digits of one kind would pass for copies
left out     pictures whose thumbnail is flat: their hash is noise
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from headstart.data.checks import near
from headstart.data.checks.image import SIDE, Picture
from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding

EDGE, BITS = 8, 64  # of the hash: frequencies a side, and all
TURNS = {
    "": (False, False, False),
    "mirrored": (False, False, True),
    "upside down": (False, True, True),
    "mirrored upside down": (False, True, False),
    "turned left": (True, True, False),
    "turned right": (True, False, True),
    "mirrored and turned left": (True, False, False),
    "mirrored and turned right": (True, True, True),
}
"""How a picture becomes another: transposed, then rows in reverse, then columns in reverse; plain copies first."""
FLAT = 4.0  # standard deviation of a thumbnail's grey levels below which its hash is noise
LEAST = 16  # pixels a side
ALIKE = 0.97  # correlation of two thumbnails: 93% of copies saved anew at quality 50 pass, no two X-rays of 5,838 do
CHUNK = 4096  # pictures transformed at once
CROWD, TRIED = 2048, 4  # of many in one band, the first so many a split are compared, and so many fits a row decided
BLOCK = 512  # rows of a crowded band compared at once
TEST = SPLITS.index("test")
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
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._left_out = 0

    def observe(self, place: int, picture: Picture | None) -> None:
        if picture is None or picture.thumbnail is None or not self.chosen[place]:
            return
        if min(picture.width, picture.height) < LEAST or picture.thumbnail.std() < FLAT:
            self._left_out += 1
            return
        self._places.append(place)
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
            bits=[apart, BITS],
            left_out=self._left_out,
        )

    def _twins(self, examples: Examples, places: Places, apart: int) -> Iterator[near.Twin]:
        """Each row's first twin in each split and those in test, plain ones before turned ones."""
        if len(places) < 2:
            return
        at = np.full(len(examples), -1)
        at[self._places] = np.arange(len(self._places))
        thumbnails = np.array(self._thumbnails, np.uint8).reshape(-1, SIDE, SIDE)[at[places]]
        hashes = perceptual(thumbnails)
        pictures = _standard(thumbnails)
        for how, others in hashes.items():
            first: dict[tuple[int, int, int], tuple[int, float]] = {}
            for later, earlier in _candidates(hashes[""], others, examples.splits[places], apart):
                alike = np.einsum("ijk,ijk->i", pictures[later], turned(pictures[earlier], how))
                for row, other, likeness in zip(later, earlier, alike, strict=True):
                    if likeness < ALIKE or examples.contents[places[row]] == examples.contents[places[other]]:
                        continue
                    mine, split = int(examples.splits[places[row]]), int(examples.splits[places[other]])
                    key = (int(row), split, int(other) if mine != split == TEST else 0)
                    if key not in first or other < first[key][0]:
                        first[key] = int(other), float(likeness)
            for (row, *_), (other, likeness) in sorted(first.items()):
                yield near.Twin(int(places[row]), int(places[other]), likeness, how)


def turned(pictures: NDArray[Any], how: str) -> NDArray[Any]:
    """Pictures `(pictures, side, side)` turned or mirrored, as `TURNS` names it."""
    transposed, rows, columns = TURNS[how]
    pictures = pictures.swapaxes(1, 2) if transposed else pictures
    return pictures[:, :: -1 if rows else 1, :: -1 if columns else 1]


def perceptual(thumbnails: NDArray[np.uint8]) -> dict[str, Hashes]:
    """The perceptual hashes, numbers of 64 bits, of each thumbnail as it is and as each of `TURNS` makes it.

    A bit says whether one of the 8 by 8 lowest frequencies is above their median. Reversed rows change the sign of
    every other frequency along them, transposed pictures have transposed frequencies.
    Source: imagehash.phash, after "Looks Like It", hackerfactor.com, 2011.

    Args:
        thumbnails: `(pictures, 32, 32)`, grey levels.
    """
    chunks = [thumbnails[start : start + CHUNK] for start in range(0, max(1, len(thumbnails)), CHUNK)]
    low = np.concatenate([fft.dctn(chunk.astype(np.float64), axes=(1, 2))[:, :EDGE, :EDGE] for chunk in chunks])
    signs = (-1.0) ** np.arange(EDGE)
    found = {}
    for how, (transposed, rows, columns) in TURNS.items():
        waves = low.swapaxes(1, 2) if transposed else low
        waves = waves * (signs[:, None] if rows else 1.0) * (signs if columns else 1.0)
        bits = waves > np.median(waves, axis=(1, 2), keepdims=True)
        found[how] = np.packbits(bits.reshape(-1, BITS), axis=1).view(">u8").ravel().astype(np.uint64)
    return found


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

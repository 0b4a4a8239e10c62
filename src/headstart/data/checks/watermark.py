"""Labels that something beside the point gives away in pictures: file size, shape, or a mark on one class alone.

    length_shortcut    file size, width, height or proportions alone tell the label (as in `shortcuts`)
    watermark          a place that has nearly one grey level in many pictures of a class, and hardly ever elsewhere

A mark is suspected on one half of the training rows looked at and confirmed on the other, at `level` divided by the
classes. What is asked for besides keeps natural causes out: a black background is one for all digits, so it is no
mark of the digit 1; and marks are sought in the outer quarter of the picture, as the hole of a 0 is always in the
middle. See-through marks, and ones whose place changes, are not found.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from headstart.data.checks.image import SIDE, Picture
from headstart.data.checks.shortcuts import Labels, alone, by_number, enough, halves, too_few
from headstart.data.examples import Examples, Reasons
from headstart.findings import Finding

MEASURES = ("size", "width", "height", "shape")
BINS = 17  # of 16 grey levels each; a second row of bins starts half a bin earlier
MARKED, ELSEWHERE = 0.15, 0.1  # share of a class with the mark at least; of the others at most, as a part of that
AT_A_POINT = 0.25  # the same for a single point of it, where chance does more
EVENLY, WHOLE = 0.7, 0.9  # a mark's points are about equally common, and nine of ten stand there together
PIXELS = 6  # of a thumbnail: the smallest mark that is named
OUTER = np.ones((SIDE, SIDE), np.bool_)
OUTER[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = False
FRAME = 0.95  # share of all pictures in which the outermost pixels have one level
ROWS = 20_000
LEAST = 16  # pixels a side: below it a pen's stroke fills a corner, and tells digits apart as a mark would


class Mark(NamedTuple):
    """A place and grey level that give a label away."""

    label: int
    inside: float
    outside: float
    p_value: float
    region: NDArray[np.bool_]


class ImageShortcuts:
    """The checks `length_shortcut` and `watermark` of the rows chosen; about 1 KB each."""

    def __init__(self, chosen: NDArray[np.bool_], *, level: float, seed: int) -> None:
        """Args:
        chosen: which rows to look at, by place.
        level: of each check.
        seed: of the halves.
        """
        self.chosen, self.level, self.seed = chosen, level, seed
        self._places: list[int] = []
        self._measures: list[tuple[int, int, int, float]] = []
        self._thumbnails: list[NDArray[np.uint8]] = []

    def observe(self, place: int, picture: Picture | None) -> None:
        if picture is None or picture.thumbnail is None or not self.chosen[place]:
            return
        self._places.append(place)
        self._measures.append((picture.bytes, picture.width, picture.height, picture.width / picture.height))
        self._thumbnails.append(picture.thumbnail)

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        train = np.zeros(len(examples), np.bool_)
        train[examples.split("train")] = True
        rows = np.flatnonzero(train[self._places]) if self._places else np.zeros(0, np.int64)
        labels = examples.labels[np.array(self._places, np.int64)[rows]]
        if not enough(labels):
            return [({}, too_few(examples, name, len(rows))) for name in ("length_shortcut", "watermark")]
        numbers = np.array(self._measures, np.float64)[rows]
        skills = {
            name: alone(numbers[:, at], labels, level=self.level / len(MEASURES), seed=self.seed)
            for at, name in enumerate(MEASURES)
        }
        some = rows[np.random.default_rng(self.seed).permutation(len(rows))[:ROWS]]
        some = some[np.minimum(*np.array(self._measures)[some, 1:3].T) >= LEAST]
        labels = examples.labels[np.array(self._places, np.int64)[some]]
        pictures = np.array([self._thumbnails[row] for row in some.tolist()])
        return [
            ({}, by_number(examples, "length_shortcut", skills, len(rows))),
            (
                {},
                self._mark_finding(examples, pictures, labels)
                if enough(labels)
                else too_few(examples, "watermark", len(labels)),
            ),
        ]

    def _mark_finding(self, examples: Examples, pictures: NDArray[np.uint8], labels: Labels) -> Finding:
        marks = marked(pictures, labels, level=self.level, half=halves(len(labels), self.seed))
        marks.sort(key=lambda mark: mark.p_value)
        return Finding(
            "watermark",
            "unsure" if marks else "pass",
            float(len(marks)),
            0.0,
            evidence={
                "marks": [
                    {
                        "label": examples.classes[mark.label],
                        "share": mark.inside,
                        "elsewhere": mark.outside,
                        "p_value": mark.p_value,
                        "where": where(mark.region),
                        "points": int(mark.region.sum()),
                        "rows": np.flatnonzero(mark.region.any(axis=1))[[0, -1]].tolist(),
                        "columns": np.flatnonzero(mark.region.any(axis=0))[[0, -1]].tolist(),
                    }
                    for mark in marks[:10]
                ],
                "looked_at": len(labels),
                "thumbnail": SIDE * SIDE,
                "rim": frame(pictures),
            },
        )


def marked(pictures: NDArray[np.uint8], labels: Labels, *, level: float, half: NDArray[np.bool_]) -> list[Mark]:
    """Each class's mark, if it has one: places that stand out in the first half, found together in the second."""
    flat = pictures.reshape(len(pictures), -1).astype(np.uint16)
    found: dict[int, Mark] = {}
    for shift in (0, 8):
        bins = ((flat + shift) >> 4).astype(np.uint8)
        counts = _counts(bins[half], labels[half])
        tests = 2 * len(np.unique(labels))
        for label in np.unique(labels[half]).tolist():
            region, expected = _suspected(counts, label, np.bincount(labels[half], minlength=len(counts)))
            if region.sum() < PIXELS:
                continue
            has = (bins[~half][:, region] == expected[region]).mean(axis=1) >= WHOLE
            mine = labels[~half] == label
            inside, outside = int(has[mine].sum()), int(has[~mine].sum())
            size, others = int(mine.sum()), int((~mine).sum())
            if inside < MARKED * size or outside * size > ELSEWHERE * inside * others or min(size, others) == 0:
                continue
            p_value = float(stats.hypergeom.sf(inside - 1, size + others, size, inside + outside))
            if p_value * tests <= level and (label not in found or p_value < found[label].p_value):
                place = region.reshape(SIDE, SIDE)
                found[label] = Mark(label, inside / size, outside / others, p_value, place)
    return list(found.values())


def frame(pictures: NDArray[np.uint8]) -> int | None:
    """The one grey level of the outermost pixels of nearly all pictures; None where there is none."""
    inner = np.zeros((SIDE, SIDE), np.bool_)
    inner[1:-1, 1:-1] = True
    rim = pictures[:, ~inner].astype(np.int16)
    level = int(np.median(rim))
    return level if (np.abs(rim - level).max(axis=1) <= 8).mean() >= FRAME else None


def where(region: NDArray[np.bool_]) -> str:
    """`bottom right`, `whole rim` and so on."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    across = columns[-1] - columns[0] > SIDE // 2
    down = rows[-1] - rows[0] > SIDE // 2
    if across and down:
        return "rim" if not region[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].any() else "whole image"
    vertical = "" if down else ("top", "middle", "bottom")[min(2, int(rows.mean()) * 3 // SIDE)]
    horizontal = "" if across else ("left", "middle", "right")[min(2, int(columns.mean()) * 3 // SIDE)]
    return " ".join(dict.fromkeys(part for part in (vertical, horizontal) if part))


def _suspected(
    counts: NDArray[np.int64], label: int, sizes: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Points where one bin is common in a class and rare elsewhere, all about equally so; and the bins."""
    size, others = max(1, int(sizes[label])), max(1, int(sizes.sum() - sizes[label]))
    inside = counts[label] / size  # (pixels, bins)
    outside = (counts.sum(axis=0) - counts[label]) / others
    gain = np.where((inside >= MARKED) & (outside <= AT_A_POINT * inside), inside - outside, 0.0)
    bins = gain.argmax(axis=1)
    best = np.where(OUTER.ravel(), gain.max(axis=1), 0.0)
    return (best > 0) & (best >= EVENLY * best.max()), bins


def _counts(bins: NDArray[np.uint8], labels: Labels) -> NDArray[np.int64]:
    """How many pictures of each class have a pixel in a bin: `(classes, pixels, bins)`."""
    classes, pixels = int(labels.max(initial=0)) + 1, bins.shape[1]
    counts = np.zeros((classes, pixels * BINS), np.int64)
    base = np.arange(pixels, dtype=np.int64) * BINS
    for start in range(0, len(bins), 1000):
        keys = base + bins[start : start + 1000]
        for label in np.unique(labels[start : start + 1000]):
            rows = keys[labels[start : start + 1000] == label]
            counts[label] += np.bincount(rows.ravel(), minlength=pixels * BINS)
    return counts.reshape(classes, pixels, BINS)

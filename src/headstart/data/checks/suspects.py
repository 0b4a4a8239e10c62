"""Likely label errors, by confident learning on probabilities that were predicted out of fold.

cleanlab does the same and more, under a licence (AGPL-3) that a serving company can seldom take; the method is short.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """A row whose label another class fits better.

    Attributes:
        row: its place among the rows judged.
        suggested: index of the class that fits.
        given: probability of the label it has, out of fold.
        other: probability of the class suggested.
    """

    row: int
    suggested: int
    given: float
    other: float


def find(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Suspect]:
    """The rows off the diagonal of the confident joint, the likeliest errors first.

    A class's threshold is the mean probability that rows labelled with it give it. A row is counted for the most
    probable of the classes whose threshold it reaches; where that is not its own label, it is suspected. Classes that
    are hard have low thresholds and rows that are merely hard are left alone.
    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068, "confident joint" (C_confusion), ranked by margin.

    Args:
        probabilities: `(rows, classes)`, each row predicted by a model that has not seen it.
        labels: `(rows,)`, class indices as given.
    """
    rows, classes = probabilities.shape
    own = probabilities[np.arange(rows), labels]
    sums = np.bincount(labels, weights=own, minlength=classes)
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = reached.argmax(axis=1)
    off = np.flatnonzero((reached.max(axis=1) >= 0) & (best != labels))
    found = [Suspect(int(row), int(best[row]), float(own[row]), float(probabilities[row, best[row]])) for row in off]
    return sorted(found, key=lambda suspect: (suspect.given - suspect.other, suspect.row))

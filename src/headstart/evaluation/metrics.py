"""What a set of predictions is worth: point values. `scores` puts intervals around them.

Throughout, `probabilities` is `(examples, classes)`, `targets` and `predicted` are class indices `(examples,)`.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

BINS = 15  # of confidence; Guo et al. 2017
SUM_TOLERANCE = 1e-3
SMALLEST = 1e-15  # a probability of 0 for the true class costs 34.5 nats, not infinitely many


class ClassScore(TypedDict):
    """One class against the rest; 0 where a ratio has nothing below the line."""

    precision: float
    recall: float
    f1: float
    support: int


class Bin(TypedDict):
    """Examples whose confidence lies in (low, high]; confidence and accuracy are None in an empty bin."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


def accuracy(predicted: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """Share of examples whose class was named.

    Raises:
        DataError: if there is no example.
    """
    _some(len(targets))
    return float((predicted == targets).mean())


def macro_f1(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> float:
    """F1 averaged over classes, each weighing the same however rare.

    Classes that neither occur nor are predicted do not count: there is nothing to say of them.

    Raises:
        DataError: if there is no example.
    """
    _some(len(targets))
    return float(macro_f1_each(predicted[None], targets[None], classes)[0])


def macro_f1_each(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Macro-F1 of each row of `(samples, examples)`: the statistic that the bootstrap resamples.

    An answer of `classes` or above is outside the classes: a miss, but no class of its own.
    """
    samples, width = len(targets), classes + 1
    rows = np.arange(samples)[:, None] * width
    named = np.minimum(predicted, classes)

    def tally(flat: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(flat.ravel(), minlength=samples * width).reshape(samples, width)[:, :classes]

    hits = tally((rows + targets)[named == targets])
    either = tally(rows + targets) + tally(rows + named)  # 2 true positives + false positives + false negatives
    present = np.maximum((either > 0).sum(axis=1), 1)
    result: NDArray[np.float64] = (2 * hits / np.maximum(either, 1)).sum(axis=1) / present
    return result


def surprise(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """`-log p(true class)` of each example in nats, `(examples,)`; probabilities below 1e-15 count as that.

    Its mean, the negative log-likelihood, rewards being right and knowing how sure to be.

    Raises:
        DataError: if there is no example, or a row does not sum to 1 within 1e-3.
    """
    check(probabilities)
    true = probabilities[np.arange(len(targets)), targets]
    result: NDArray[np.float64] = -np.log(np.maximum(true, SMALLEST))
    return result


def expected_calibration_error(probabilities: NDArray[np.float64], targets: NDArray[np.int64], bins: int) -> float:
    """Mean gap between confidence and accuracy, weighted by how many examples share a bin.

    Bins are equally wide and closed on the right; empty bins weigh nothing. Noise alone makes it positive: with few
    examples even a perfectly calibrated model shows some.
    Source: Guo et al. 2017, arXiv:1706.04599.

    Returns:
        A value in [0, 1]; 0 is perfectly calibrated.

    Raises:
        DataError: if there is no example, or a row does not sum to 1 within 1e-3.
    """
    place, gap = calibration_gaps(probabilities, targets, bins)
    return float(calibration_error_each(place[None], gap[None], bins)[0])


def calibration_gaps(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each example's bin and its confidence minus whether it was right, both `(examples,)`."""
    check(probabilities)
    confidence = probabilities.max(axis=1)
    return _bin(confidence, bins), confidence - (probabilities.argmax(axis=1) == targets)


def calibration_error_each(place: NDArray[np.int64], gap: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Calibration error of each row of `(samples, examples)`: the statistic that the bootstrap resamples."""
    samples, examples = gap.shape
    cells = (np.arange(samples)[:, None] * bins + place).ravel()
    sums = np.bincount(cells, weights=gap.ravel(), minlength=samples * bins).reshape(samples, bins)
    result: NDArray[np.float64] = np.abs(sums).sum(axis=1) / examples
    return result


def confusion(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often row's class was called column's: `(classes, classes)`, rows true."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def per_class(table: NDArray[np.int64]) -> list[ClassScore]:
    """Precision, recall, F1 and number of test examples of each class, from the confusion matrix."""
    hits, named, support = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    return [
        ClassScore(
            precision=float(hit / max(name, 1)),
            recall=float(hit / max(true, 1)),
            f1=float(2 * hit / max(name + true, 1)),
            support=int(true),
        )
        for hit, name, true in zip(hits, named, support, strict=True)
    ]


def reliability(probabilities: NDArray[np.float64], targets: NDArray[np.int64], bins: int) -> list[Bin]:
    """Mean confidence beside accuracy, bin by bin: what a reliability diagram draws.

    Raises:
        DataError: if there is no example, or a row does not sum to 1 within 1e-3.
    """
    check(probabilities)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    place = _bin(confidence, bins)
    result = []
    for number in range(bins):
        here = place == number
        some = bool(here.any())
        result.append(
            Bin(
                low=number / bins,
                high=(number + 1) / bins,
                n=int(here.sum()),
                confidence=float(confidence[here].mean()) if some else None,
                accuracy=float(right[here].mean()) if some else None,
            )
        )
    return result


def check(probabilities: NDArray[np.float64]) -> None:
    """Refuse what isn't probabilities.

    Raises:
        DataError: if there is no row, or one does not sum to 1 within 1e-3.
    """
    _some(len(probabilities))
    sums = probabilities.sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= SUM_TOLERANCE) | (probabilities < 0).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"row {row} of probabilities sums to {sums[row]:.4f} and its smallest value is "
            f"{probabilities[row].min():.4f}; are these logits?",
            action="Apply the calibration first.",
        )


def _bin(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    place = np.searchsorted(np.arange(1, bins + 1) / bins, confidence, side="left")
    return np.minimum(place, bins - 1).astype(np.int64)


def _some(examples: int) -> None:
    if examples == 0:
        raise DataError("there is no example to measure.", action="Give the test split examples: prepare.split.test.")

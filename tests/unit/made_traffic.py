"""Made-up traffic of a classifier of ten digits: what it answers, how sure it is, what its inputs look like.

Nine in ten answers are right. Confidence is high where they are; `width` never changes, `kilobytes` has few values
and depends a little on the digit, `brightness` is continuous and depends on it too.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from headstart.monitoring.windows import Window
from headstart.params.operation import Monitor
from headstart.profile import Profile

CLASSES = tuple("0123456789")
EVEN = np.full(10, 0.1)
TRIPLED = np.array([0.3, *[0.7 / 9] * 9])
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURS_A_YEAR = 365.25 * 24


@dataclass(frozen=True)
class Traffic:
    """Answers in order, one row each."""

    truth: list[str]
    predicted: list[str]
    confidence: NDArray[np.float64]
    properties: dict[str, NDArray[np.float64]]


def traffic(rng: np.random.Generator, rows: int, shares=EVEN, *, wrong: float = 0.1, darker: float = 0.0) -> Traffic:
    """Draw `rows` answers; `wrong` is the share of mistakes, `darker` is taken off every picture's brightness."""
    truth = rng.choice(10, rows, p=shares)
    mistaken = rng.random(rows) < wrong
    predicted = np.where(mistaken, (truth + rng.integers(1, 10, rows)) % 10, truth)
    return Traffic(
        truth=[CLASSES[digit] for digit in truth],
        predicted=[CLASSES[digit] for digit in predicted],
        confidence=np.where(mistaken, rng.beta(3, 3, rows), rng.beta(12, 1, rows)),
        properties={
            "width": np.full(rows, 8.0),
            "kilobytes": 0.1 + 0.01 * rng.integers(0, 8, rows) + 0.01 * (truth > 4),
            "brightness": rng.normal(0.3, 0.04, rows) + 0.005 * truth - darker,
        },
    )


def profile_of(seen: Traffic) -> Profile:
    """The profile that these answers to reference data give."""
    counts, labels = Counter(seen.predicted), Counter(seen.truth)
    right = sum(guess == label for guess, label in zip(seen.predicted, seen.truth, strict=True))
    return Profile(
        classes=CLASSES,
        n=len(seen.predicted),
        predicted_counts={name: counts[name] for name in CLASSES},
        label_counts={name: labels[name] for name in CLASSES},
        accuracy=right / len(seen.predicted),
        labels=seen.truth,
        predicted=seen.predicted,
        confidence=seen.confidence,
        properties=seen.properties,
    )


def window_of(seen: Traffic, *, labelled: int = 0) -> Window:
    """A window of these answers; labels came for the first `labelled`."""
    truth = [label if row < labelled else None for row, label in enumerate(seen.truth)]
    return Window(NOON - timedelta(hours=1), NOON, None, seen.predicted, seen.confidence, seen.properties, truth)


def monitor(*, a_window: float | None = None) -> Monitor:
    """Our defaults; `a_window` asks for another budget, as the share of clean windows that may alarm."""
    return Monitor(
        window_minutes=60,
        rows=100,
        false_alarms_a_year=4.0 if a_window is None else a_window * HOURS_A_YEAR,
        labels=30,
        accuracy_drop=0.05,
    )

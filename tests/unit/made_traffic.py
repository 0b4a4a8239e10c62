"""Made-up traffic of a classifier of ten digits: what it answers, how sure it is, what its inputs look like.

Evidence for each digit is normal, 3.5 higher for the true one; the probabilities are the right posterior for ten
digits that come equally often, and nineteen in twenty answers are right. `width` never changes, `kilobytes` has few
values and depends a little on the digit, `brightness` is continuous and depends on it too. In the space of features
each digit has an axis of its own: its pictures are normal, with deviation 1, around a point 4 along it, so that two
digits are 5.7 apart.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from headstart.monitoring.windows import Window
from headstart.params.operation import Monitor
from headstart.profile import Features, Profile

CLASSES = tuple("0123456789")
EVEN = np.full(10, 0.1)
TRIPLED = np.array([0.3, *[0.7 / 9] * 9])
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURS_A_YEAR = 365.25 * 24
EVIDENCE = 3.5
WIDTH = 16  # features; the last six axes belong to no digit
APART = 4.0


@dataclass(frozen=True)
class Traffic:
    """Answers in order, one row each."""

    truth: list[str]
    predicted: list[str]
    confidence: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    properties: dict[str, NDArray[np.float64]]
    features: NDArray[np.float16]


def traffic(
    rng: np.random.Generator,
    rows: int,
    shares=EVEN,
    *,
    evidence: float = EVIDENCE,
    darker: float = 0.0,
    foreign: float = 0.0,
    looks_like: int = 0,
    sure: float = 0.5,
    away: float = 2 * APART,
) -> Traffic:
    """Draw `rows` answers.

    Args:
        rng: of everything.
        rows: how many.
        shares: of the digits.
        evidence: less of it: more mistakes and less confidence.
        darker: taken off every picture's brightness.
        foreign: share of pictures that show no digit, last; their truth is "x".
        looks_like: the digit that these resemble.
        sure: their evidence, as a share of a digit's.
        away: how far they lie from that digit in the space of features, on an axis that belongs to none.
    """
    truth = rng.choice(10, rows, p=shares)
    strange = np.arange(rows) >= rows - round(rows * foreign)
    seen = np.where(strange, looks_like, truth)
    heights = rng.normal(size=(rows, 10))
    heights[np.arange(rows), seen] += np.where(strange, sure * evidence, evidence)
    scores = EVIDENCE * heights
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    features = rng.normal(size=(rows, WIDTH))
    features[np.arange(rows), seen] += APART
    features[strange, -1] += away
    return Traffic(
        truth=["x" if odd else CLASSES[digit] for odd, digit in zip(strange, truth, strict=True)],
        predicted=[CLASSES[digit] for digit in probabilities.argmax(axis=1)],
        confidence=probabilities.max(axis=1),
        probabilities=probabilities,
        properties={
            "width": np.full(rows, 8.0),
            "kilobytes": 0.1 + 0.01 * rng.integers(0, 8, rows) + 0.01 * (truth > 4),
            "brightness": rng.normal(0.3, 0.04, rows) + 0.005 * truth - darker,
        },
        features=features.astype(np.float16),
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
        probabilities=seen.probabilities.astype(np.float32),
        features=Features(np.arange(len(seen.truth)), seen.features),
    )


def window_of(seen: Traffic, *, labelled: int = 0, **changes) -> Window:
    """A window of these answers of version 2, all to distinct inputs; labels came for the first `labelled`."""
    values = {
        "start": NOON - timedelta(hours=1),
        "end": NOON,
        "version": 2,
        "predicted": seen.predicted,
        "confidence": seen.confidence,
        "properties": seen.properties,
        "truth": [label if row < labelled else None for row, label in enumerate(seen.truth)],
        "probabilities": seen.probabilities,
        "answers": len(seen.predicted),
        "most_repeated": 1,
        "bundles": {},
        "features": Features(np.arange(len(seen.truth)), seen.features),
    }
    return Window(**{**values, **changes})


def monitor(*, a_window: float | None = None) -> Monitor:
    """Our defaults; `a_window` asks for another budget, as the share of clean windows that may alarm."""
    return Monitor(
        window_minutes=60,
        rows=100,
        false_alarms_a_year=4.0 if a_window is None else a_window * HOURS_A_YEAR,
        labels=30,
        accuracy_drop=0.05,
        refused_share=0.1,
        repeated_share=0.2,
    )

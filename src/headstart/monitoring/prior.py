"""Class shares that a version was made for, where they are not its test split's, and what they mean for its monitor.

The profile in a bundle is of the whole test split, in which classes come in other shares than the ones the version was
made for. Windows are compared with those of its rows in which classes come in the right ones (`reference`). Estimates
of shares need every class's rows, also of classes that hardly come any more, and probabilities that know nothing of the
new shares: those without the correction (`uncorrected`). So a window at the old shares alarms, and the old shares are
what is estimated. Of more than `profile.MANY` classes a profile keeps the largest probabilities only: a correction
can't be taken back there, and shares are not estimated.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.errors import BundleError
from headstart.monitoring import label_shift
from headstart.monitoring.label_shift import Estimate
from headstart.monitoring.windows import Window
from headstart.profile import MANY, Profile
from headstart.statistics import class_shares

EVALUATION = "evaluation.json"
TRUNCATED = (
    f"the version has a corrected prior, and of more than {MANY} classes only the largest probabilities of an answer "
    "are kept: they can't show what the model answers without it."
)


@dataclass(frozen=True)
class Prior:
    """What a version was made for.

    Attributes:
        shares: by class.
        correction: what was added to each class's log-odds for it.
        inputs: how many the shares were estimated from; None where they are a person's.
    """

    shares: Mapping[str, float]
    correction: Mapping[str, float]
    inputs: int | None = None


def read(bundle: Path) -> Prior | None:
    """The prior of a sealed version; None where it was made for the shares of its test split, or does not say.

    Raises:
        BundleError: if its evaluation cannot be read.
    """
    path = bundle / EVALUATION
    try:
        said = artifacts.read_json(path).get("shares") if path.is_file() else None
        return Prior(said["values"], said["correction"], (said.get("source") or {}).get("inputs")) if said else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read: {error!r}.", action="Build the model again.") from error


def reference(profile: Profile, prior: Prior | None) -> Profile:
    """The part of a profile in which classes come in the prior's shares; all of it without one.

    Shares that were estimated are as unsure as their inputs are few. Predicted classes are counted as of so many rows
    at most, so that a test of a window against them allows for it.
    """
    if prior is None:
        return profile
    rows = class_shares.choose(profile.labels, prior.shares)
    labels, predicted = ([column[row] for row in rows] for column in (profile.labels, profile.predicted))
    seen, true = Counter(predicted), Counter(labels)
    sure = 1.0 if prior.inputs is None else min(1.0, prior.inputs / len(rows))
    return replace(
        profile,
        n=len(rows),
        predicted_counts={name: round(sure * seen[name]) for name in profile.classes},
        label_counts={name: true[name] for name in profile.classes},
        accuracy=sum(guess == label for guess, label in zip(predicted, labels, strict=True)) / len(rows),
        labels=labels,
        predicted=predicted,
        confidence=profile.confidence[rows],
        properties={name: values[rows] for name, values in profile.properties.items()},
        probabilities=None if profile.probabilities is None else profile.probabilities[rows],
        features=None,  # of other rows; shares are explained by `uncorrected`, which keeps them
        confusion=None,
    )


def uncorrected(profile: Profile, window: Window, prior: Prior | None) -> tuple[Profile, Window]:
    """Reference and window as the same network answers without the correction; as they are where there is none.

    Without probabilities where the correction can't be taken back.
    """
    if prior is None or profile.probabilities is None or window.probabilities is None:
        return profile, window
    if window.probabilities.shape[1] != len(profile.classes):
        return profile, window
    if len(profile.classes) > MANY:
        return replace(profile, probabilities=None), replace(window, probabilities=None)
    moved = np.array([prior.correction[name] for name in profile.classes])
    before, after = (_without(moved, side.astype(np.float64)) for side in (profile.probabilities, window.probabilities))
    return (
        replace(
            profile,
            probabilities=before.astype(np.float32),
            predicted=[profile.classes[place] for place in before.argmax(axis=1)],
            confidence=before.max(axis=1),
        ),
        replace(
            window,
            probabilities=after,
            predicted=[profile.classes[place] for place in after.argmax(axis=1)],
            confidence=after.max(axis=1),
        ),
    )


def estimate(profile: Profile, window: Window, prior: Prior | None) -> Estimate:
    """The classes' shares in a window, beside those that the version was made for.

    Args:
        profile: from `uncorrected`.
        window: from `uncorrected`; at least one answer.
        prior: of the version.
    """
    if prior is not None and len(profile.classes) > MANY:
        return Estimate(None, TRUNCATED)
    found = label_shift.estimate(profile, window)
    if prior is None or found.shares is None:
        return found
    shares = {name: {**share, "reference": prior.shares[name]} for name, share in found.shares.items()}
    return replace(found, shares=shares)


def _without(moved: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities whose log-odds had not been moved; each row sums to 1."""
    plain = probabilities * np.exp(-moved)
    return np.asarray(plain / plain.sum(axis=1, keepdims=True), dtype=np.float64)

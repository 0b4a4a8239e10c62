"""Remedies that headstart carries out by itself: what each writes, and what it should do for the recorded window.

A remedy writes a cure, a tracked input of a stage (`data.cures`); what is made with it goes through the gates as any
other candidate. `CURES` names these remedies; all others are for people, or start a training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.batchnorm import recalibration as statistics
from headstart.batchnorm.instrumented import GRAPH
from headstart.data import cures
from headstart.errors import DataError, UsageError
from headstart.evaluation.calibration import RAREST
from headstart.monitoring import label_shift, recalibration, windows
from headstart.monitoring import prior as priors
from headstart.monitoring.prior import Prior
from headstart.monitoring.watch import Reference
from headstart.monitoring.windows import Sample, Window
from headstart.params.operation import Monitor
from headstart.profile import Profile
from headstart.statistics import paired
from headstart.statistics.interval import Interval, wilson
from headstart.statistics.label_shift import RESAMPLED, expectation_maximisation, shrunk

RESAMPLES = 200
LEVEL = 0.95
SEED = 0
SURE = 500
"""Inputs from which on class shares are corrected unattended. At 100 the estimate's own error made all of 24 later
windows with the same shares alarm, at 500 none."""


@dataclass(frozen=True)
class Recorded:
    """What the last look saw of the version with most answers.

    Attributes:
        window: its answers.
        profile: its reference, all of the test split.
        prior: the class shares it was made for, where they are not its test split's.
        params: the section `monitor`.
        bundle: of that version.
        images: raw inputs to estimate statistics from: those of the window that the journal kept, or a person's own.
    """

    window: Window
    profile: Profile
    prior: Prior | None
    params: Monitor
    bundle: Path = Path()
    images: Sequence[Any] = ()


@dataclass(frozen=True)
class Proposal:
    """A cure that was not written yet.

    Attributes:
        effect: what it should do for the recorded window, plain JSON values.
        write: writes it into the folder of a model's cures.
    """

    effect: dict[str, Any]
    write: Callable[[Path], None]


def recorded(
    journal: Path,
    latest: Mapping[str, Any],
    references: Callable[[int], Reference],
    params: Monitor,
    *,
    bundle: Callable[[int], Path],
    images: Sequence[Any] | None = None,
) -> Recorded:
    """The window of a look, read again from the journal.

    Args:
        journal: the model's.
        latest: the look's document.
        references: what is known of a version, by its number.
        params: the section `monitor`.
        bundle: of a version, by its number.
        images: raw inputs of a person's own; those that the journal kept where not given.

    Raises:
        UsageError: if the journal has no answer of that window any more, or they do not say which version gave them.
        HeadstartError: if the version's files cannot be read.
    """
    seen = latest["window"]
    end = datetime.fromisoformat(seen["end"])
    traffic = windows.select(journal, asked=end, minutes=seen.get("minutes", params.window_minutes))
    main = max(traffic.windows, key=lambda window: window.answers, default=None)
    if main is None or main.version is None:
        raise UsageError(
            f"the journal has no answer of a known version in the window that ended at {seen['end']}.",
            action="Look again while there is traffic: headstart monitor NAME.",
        )
    reference = references(main.version)
    kept = windows.sample(journal, main).raw if images is None else images
    return Recorded(main, reference.profile(), reference.prior(), params, bundle(main.version), kept)


def correct_prior(seen: Recorded) -> Proposal:
    """The classifier's prior set to the class shares of the window, as far as they are sure to have changed.

    Raises:
        DataError: if the window is too small, or its shares cannot be estimated.
    """
    window, params = seen.window, seen.params
    if window.rows < params.rows:
        raise DataError(
            f"{window.rows} {window.noun} came from version {window.version} in the recorded window; class shares are "
            f"estimated from {params.rows} on (monitor.rows).",
            action="Wait for more traffic, or lengthen monitor.window_minutes, and look again: headstart monitor NAME.",
        )
    plain = priors.uncorrected(seen.profile, window, seen.prior)
    estimate = priors.estimate(*plain, seen.prior)
    if estimate.shares is None:
        raise DataError(
            f"the class shares of the recorded window cannot be estimated: {estimate.reason}",
            action="A corrected prior would be a guess. Label some of the recent inputs: send labels to /feedback.",
        )
    columns = [[share[key] for share in estimate.shares.values()] for key in ("value", "low", "high", "reference")]
    careful = shrunk(*(np.array(column) for column in columns), level=label_shift.LEVEL)
    shares = dict(zip(estimate.shares, (careful / careful.sum()).tolist(), strict=True))
    source = {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "version": window.version,
        "inputs": window.rows,
    }
    return Proposal(
        {
            "inputs": window.rows,
            "shares": dict(estimate.shares),
            "prior": shares,
            **_effect(seen.profile, window, plain, shares),
        },
        lambda folder: cures.write_prior(folder, shares, source=source),
    )


def recalibrate_batchnorm(seen: Recorded) -> Proposal:
    """The network's BatchNorm statistics, estimated anew from recent images.

    The effect holds how many images there were, the divergence of each layer's new statistics from the stored ones
    (`moved`, nats), and mean confidence on the images: on the reference (`expected`), now and with the new statistics,
    each half of the images answered under statistics of the other half.

    Raises:
        DataError: if the network has no BatchNorm, or there are too few images.
    """
    if not (seen.bundle / GRAPH).is_file():
        raise DataError(
            "the network has no BatchNorm: there are no statistics to estimate anew.",
            action="Choose another remedy; `headstart remedy NAME` says which the last look named.",
        )
    if not seen.images:
        raise DataError(
            "the journal kept no raw image of the recorded window, and BatchNorm statistics are estimated from images.",
            action="Set journal.raw: sampled in params.yaml and serve again, or name images: headstart remedy NAME "
            "recalibrate_batchnorm --data FOLDER.",
        )
    found = statistics.cure(seen.bundle, list(seen.images))
    tried = recalibration.effect(seen.bundle, seen.profile, Sample(list(seen.images), [None] * len(seen.images)))
    confidence = None
    if tried is not None:
        confidence = {"expected": tried.expected, "now": tried.confidence, "recalibrated": tried.recalibrated}
    window = {"start": seen.window.start.isoformat(), "end": seen.window.end.isoformat()}
    source = {**found.source, **window, "version": seen.window.version}
    return Proposal(
        {"images": found.source["images"], "moved": dict(found.source["moved"]), "confidence": confidence},
        lambda folder: cures.write_batchnorm(folder, found.tensors, network=found.network, source=source),
    )


def doubt(effect: Mapping[str, Any]) -> str:
    """Why a cure should wait for a person to decide, as a sentence; empty where its effect is surely good.

    Args:
        effect: of a proposal.
    """
    if "accuracy" not in effect:
        said = effect["confidence"]
        if said is None:
            return "its effect on the images of the window cannot be told."
        now, then = said["now"], said["recalibrated"]
        return "" if then > now else f"mean confidence would not rise: {now:.3f}, recalibrated {then:.3f}."
    if effect["inputs"] < SURE:
        return f"the window has {effect['inputs']} inputs, and shares are sure enough from {SURE} on."
    expected, labelled = effect["accuracy"]["difference"], effect["labelled"]
    if expected["low"] <= 0:
        return f"accuracy would change by {_between(expected)}, which is not surely a gain."
    if labelled is not None and labelled["difference"]["value"] < 0:
        return f"on the window's labels accuracy would change by {_between(labelled['difference'])}."
    return ""


CURES: Mapping[str, Callable[[Recorded], Proposal]] = {
    "correct_prior": correct_prior,
    "recalibrate_batchnorm": recalibrate_batchnorm,
}


def _between(difference: Mapping[str, float]) -> str:
    return f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"


def _effect(
    profile: Profile, window: Window, plain: tuple[Profile, Window], shares: Mapping[str, float]
) -> dict[str, Any]:
    """Accuracy now and with these shares.

    `accuracy` is that of the labelled reference, its classes weighted as they come in the window: under label shift,
    what the window's inputs are answered with. Its intervals come from resampling the reference and the window, whose
    shares are then estimated anew. `labelled` counts the window's own labels, where some came. `changed` is the share
    of the window's inputs that get another label.
    """
    classes = profile.classes
    assert plain[0].probabilities is not None and plain[1].probabilities is not None
    before, after = plain[0].probabilities.astype(np.float64), plain[1].probabilities
    place = {name: number for number, name in enumerate(classes)}
    truth = np.array([place[label] for label in profile.labels])
    moved = np.log(np.maximum([shares[name] for name in classes], RAREST))
    moved -= np.log(np.maximum(before.mean(axis=0), RAREST))
    right = np.stack(
        [
            np.array([place[label] for label in profile.predicted]) == truth,
            (np.log(np.maximum(before, np.finfo(float).tiny)) + moved).argmax(axis=1) == truth,
        ]
    ).astype(np.float64)  # (now and then, rows)
    answers = (np.log(np.maximum(after, np.finfo(float).tiny)) + moved).argmax(axis=1)
    corrected = np.array(classes, dtype=object)[answers]
    now, then, difference = _accuracies(before, after, truth, right, np.array([shares[name] for name in classes]))
    labelled = [row for row, label in enumerate(window.truth) if label is not None]
    return {
        "accuracy": {"now": now.document(), "corrected": then.document(), "difference": difference.document()},
        "changed": float((corrected != np.asarray(window.predicted, dtype=object)).mean()),
        "labelled": _labelled(window, corrected, labelled) if labelled else None,
    }


def _accuracies(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    truth: NDArray[np.int64],
    right: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> tuple[Interval, Interval, Interval]:
    """Accuracy now, accuracy then, and the difference; each class counts with its share."""
    classes, rows, size = len(shares), len(truth), len(after)
    random = np.random.default_rng(SEED)

    def weighted(counts: NDArray[np.float64], of_class: NDArray[np.float64]) -> NDArray[np.float64]:
        totals = np.bincount(truth, weights=counts, minlength=classes)
        weight = np.where(totals > 0, of_class, 0.0)
        weight = (weight / weight.sum() / np.maximum(totals, 1.0))[truth] * counts
        return np.asarray(right @ weight, dtype=np.float64)

    value = weighted(np.ones(rows), shares)
    near = 0.9 * shares + 0.1 / classes  # no share of 0, which would stay
    drawn = np.zeros((RESAMPLES, 2))
    for number in range(RESAMPLES):
        counts = random.multinomial(rows, np.full(rows, 1 / rows)).astype(np.float64)
        seen = random.multinomial(size, np.full(size, 1 / size)).astype(np.float64)
        found = expectation_maximisation(
            after, counts @ before / counts.sum(), weights=seen, start=near, converged=RESAMPLED
        )
        drawn[number] = weighted(counts, found)
    series = np.c_[drawn, drawn[:, 1] - drawn[:, 0]]
    low, high = np.quantile(series, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    values = [float(value[0]), float(value[1]), float(value[1] - value[0])]
    now, then, difference = (
        Interval(middle, min(middle, float(below)), max(middle, float(above)), rows)
        for middle, below, above in zip(values, low, high, strict=True)
    )
    return now, then, difference


def _labelled(window: Window, corrected: NDArray[np.object_], rows: list[int]) -> dict[str, Any]:
    """Accuracy on the window's labelled inputs, now and then."""
    truth = np.array([window.truth[row] for row in rows], dtype=object)
    now, then = np.array([window.predicted[row] for row in rows], dtype=object) == truth, corrected[rows] == truth
    return {
        "now": wilson(int(now.sum()), len(rows), LEVEL).document(),
        "corrected": wilson(int(then.sum()), len(rows), LEVEL).document(),
        "difference": paired.difference(then, now, LEVEL).interval.document(),
    }

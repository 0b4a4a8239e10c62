"""Would re-estimated BatchNorm statistics bring a window's predictions back? Tried on its sample of raw images.

Images are answered under statistics of others, so that no image is part of its own: one half under those of the other
where there are many, a quarter under those of the rest where there are few, since few give rough statistics. Where half
or more of what the predictions lost comes back, and labels, where they came, do not say otherwise, the drift of the
layers' inputs is the cause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headstart import layer_statistics
from headstart.batchnorm import recalibration
from headstart.batchnorm.instrumented import Instrumented
from headstart.bundle import CALIBRATION, Calibration
from headstart.contract import documents
from headstart.contract.inputs import Item
from headstart.errors import ContractError
from headstart.faults.table import Fault
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import Statistics
from headstart.monitoring.windows import Sample
from headstart.predictor import Preprocessor
from headstart.profile import Profile
from headstart.statistics import two_sample
from headstart.statistics.gaussian import Moments
from headstart.statistics.paired import mcnemar

FEWEST = 2 * recalibration.LEAST  # images, in two halves
SEVERITIES = (1, 2, 3, 4, 5)
FOLDS, MANY = 4, 200  # parts of fewer images than these; of more, halves are as good and take half the time
MOST = 600  # images: 12 passes of a network of 224 by 224 pixels take a minute
SEED = 0
DOUBT = 0.01  # of the paired tests that confidence or accuracy changed
RESTORED = 0.5  # share of the lost confidence
LABELS = 30  # fewer say little
REPLAYED = 150  # labelled images that a fault is planted in


@dataclass(frozen=True)
class Effect:
    """What re-estimated statistics change on a window.

    Attributes:
        images: that were answered under both.
        confidence: mean probability of the answer under the stored statistics.
        recalibrated: likewise under re-estimated ones.
        expected: likewise on the reference.
        p_lost: of "confidence is not lower than on the reference".
        p_raised: of "confidence did not rise", paired.
        classes: how far the shares of the predicted classes are from the reference's under the stored statistics: half
            the sum of the differences, in [0, 1].
        classes_recalibrated: likewise under re-estimated ones.
        p_classes: of "these shares are the reference's", under the stored statistics.
        p_classes_recalibrated: likewise under re-estimated ones.
        labelled: images with a label.
        gained: of these, right under re-estimated statistics alone.
        lost: of these, right under the stored statistics alone.
    """

    images: int
    confidence: float
    recalibrated: float
    expected: float
    p_lost: float
    p_raised: float
    classes: float
    classes_recalibrated: float
    p_classes: float
    p_classes_recalibrated: float
    labelled: int
    gained: int
    lost: int

    @property
    def restores(self) -> bool:
        """Whether predictions come back: half or more of what was lost.

        Where the predicted classes have other shares, these count: a network that gives most images one class is often
        sure of it. Confidence must then not fall; else it must rise, and the shares must stay.
        """
        if self.harms or not self.moved:
            return False
        if self.classes_lost:
            return self.classes_share >= RESTORED and self.p_raised < 1 - DOUBT
        rises = self.confidence_share >= RESTORED and self.p_raised <= DOUBT
        return rises and self.p_classes_recalibrated > DOUBT

    @property
    def harms(self) -> bool:
        """Whether labels say that more answers turn wrong than right."""
        return self.labelled >= LABELS and self.lost > self.gained and mcnemar(self.lost, self.gained) <= DOUBT

    @property
    def moved(self) -> bool:
        """Whether predictions are others than on the reference."""
        return self.confidence_lost or self.classes_lost

    @property
    def confidence_lost(self) -> bool:
        return self.p_lost <= DOUBT

    @property
    def classes_lost(self) -> bool:
        return self.p_classes <= DOUBT

    @property
    def confidence_share(self) -> float:
        """How much of the lost confidence comes back, in [0, 1]."""
        missing = self.expected - self.confidence
        return min(1.0, max(0.0, (self.recalibrated - self.confidence) / missing)) if missing > 0 else 0.0

    @property
    def classes_share(self) -> float:
        """How much of the distance of the classes' shares is made good, in [0, 1]."""
        return max(0.0, 1.0 - self.classes_recalibrated / self.classes) if self.classes > 0 else 0.0

    @property
    def share(self) -> float:
        """How much of what was lost comes back: of the classes' shares where these are others, else of confidence."""
        return self.classes_share if self.classes_lost else self.confidence_share


@dataclass(frozen=True)
class Replay:
    """What a fault does to labelled images of the reference, and re-estimated statistics against it.

    Attributes:
        images: that it was planted in.
        severity: of the fault, 1 to 5: at which the layers' inputs are most like those of the window.
        clean: accuracy without the fault.
        broken: with it.
        cured: with it, under statistics re-estimated from these images.
        p_lost: of "it costs no accuracy", paired.
        p_regained: of "these statistics bring nothing back", paired.
    """

    images: int
    severity: int
    clean: float
    broken: float
    cured: float
    p_lost: float
    p_regained: float

    @property
    def lost(self) -> bool:
        """Whether the fault surely costs accuracy."""
        return self.broken < self.clean and self.p_lost <= DOUBT

    @property
    def share(self) -> float:
        """How much of what was lost comes back, in [0, 1]; 0 where nothing was lost."""
        missing = self.clean - self.broken
        return min(1.0, max(0.0, (self.cured - self.broken) / missing)) if missing > 0 else 0.0

    @property
    def restores(self) -> bool:
        """Whether something was lost, and half or more of it comes back."""
        return self.lost and self.share >= RESTORED and self.p_regained <= DOUBT


def effect(bundle: Path, profile: Profile, sample: Sample) -> Effect | None:
    """The effect on a window's sample; None where the network has no BatchNorm, or there are too few images.

    Args:
        bundle: of the version that answered.
        profile: likewise.
        sample: raw images of the window.

    Raises:
        BundleError: if a file of the bundle is unreadable.
    """
    if (served := _Served.open(bundle, profile)) is None:
        return None
    items, labels = list[Item](), list[str | None]()
    for raw, label in zip(sample.raw[:MOST], sample.truth[:MOST], strict=True):
        try:
            items += served.preprocessor.prepare([raw])
        except ContractError:
            continue
        labels.append(label)
    if len(items) < FEWEST:
        return None
    before = served.probabilities(items)
    after = np.empty_like(before)
    order = np.random.default_rng(SEED).permutation(len(items))
    folds = np.array_split(order, FOLDS if len(items) < MANY else 2)
    for other in folds:
        found = served.reestimated([items[row] for row in np.setdiff1d(order, other)])
        after[other] = served.probabilities([items[row] for row in other], found)
    return compared(before, after, labels, served.classes, profile)


def replay(
    bundle: Path, profile: Profile, images: Sequence[bytes], labels: Sequence[str], fault: Fault, measured: LayerMoments
) -> Replay | None:
    """Plant a fault in labelled images, for a window that looks like it and of which no images were kept.

    Properties of inputs tell the fault, but not well how strong it is (dark pictures have no darker background): the
    layers' inputs do.

    Args:
        bundle: of the version that answered.
        profile: likewise.
        images: of the reference, raw; `replayed` says which of them are used.
        labels: their classes.
        fault: of images.
        measured: the layers' inputs in the window.

    Returns:
        None where the network has no BatchNorm, there are too few images, or the contract refuses the fault at every
        severity.

    Raises:
        BundleError: if a file of the bundle is unreadable.
    """
    served = _Served.open(bundle, profile)
    places = replayed(len(images))
    if served is None or len(places) < FEWEST:
        return None
    sound, truth = [images[place] for place in places], np.array([labels[place] for place in places], dtype=object)
    live = Moments(np.full_like(measured.totals, measured.inputs), measured.totals, measured.squares)

    def planted(severity: int) -> tuple[float, list[Item]] | None:
        """How far the layers' inputs are from those of the window, and the images; None if the contract refuses one."""
        generator = np.random.default_rng(SEED)
        try:
            items = served.preprocessor.prepare([fault.inject(raw, severity, generator) for raw in sound])
        except ContractError:
            return None
        seen = layer_statistics.summed(served.network.run(items).moments)
        return float(layer_statistics.divergences(served.network.layers, seen, live).mean()), items

    tried = {severity: made for severity in SEVERITIES if (made := planted(severity)) is not None}
    if not tried:  # damaged beyond what the contract takes: such inputs are refused, not answered
        return None
    severity = min(tried, key=lambda each: tried[each][0])
    damaged = tried[severity][1]
    found = served.reestimated(damaged)
    answers = (
        served.probabilities(served.preprocessor.prepare(sound)),
        served.probabilities(damaged),
        served.probabilities(damaged, found),
    )
    clean, broken, cured = (np.array(served.labels(each), dtype=object) == truth for each in answers)
    return Replay(
        images=len(places),
        severity=severity,
        clean=float(clean.mean()),
        broken=float(broken.mean()),
        cured=float(cured.mean()),
        p_lost=mcnemar(int((clean & ~broken).sum()), int((broken & ~clean).sum())),
        p_regained=mcnemar(int((cured & ~broken).sum()), int((broken & ~cured).sum())),
    )


def replayed(images: int) -> NDArray[np.int64]:
    """Places of the labelled images that a fault is planted in, of so many: a drill sends none of them."""
    return np.random.default_rng(SEED).permutation(images)[:REPLAYED]


def answered(bundle: Path, profile: Profile, images: Sequence[bytes], inputs: Sequence[bytes]) -> list[str]:
    """The labels that a version would give to inputs under statistics re-estimated from images.

    Args:
        bundle: of the version; its network has BatchNorm.
        profile: likewise.
        images: raw, as the remedy would take them.
        inputs: raw.

    Raises:
        DataError: if there are too few images.
        ContractError: if the contract refuses an input.
    """
    served = _Served.open(bundle, profile)
    assert served is not None
    counts = profile.predicted_counts
    shares = {name: count / sum(counts.values()) for name, count in counts.items()}
    found = recalibration.recalibrate(served.network, served.reference, images, shares=shares)
    return served.labels(served.probabilities(served.preprocessor.prepare(inputs), found.statistics))


def compared(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    labels: Sequence[str | None],
    classes: Sequence[str],
    profile: Profile,
) -> Effect:
    """Probabilities `(images, classes)` under the stored and under re-estimated statistics, held against each other."""
    here, there = before.max(axis=1), after.max(axis=1)
    known = np.asarray(profile.confidence, dtype=np.float64)
    reference = np.array([profile.predicted_counts[name] for name in classes], dtype=np.int64)
    counts, recounted = (np.bincount(each.argmax(axis=1), minlength=len(classes)) for each in (before, after))
    places = {name: place for place, name in enumerate(classes)}
    truth = np.array([-1 if label is None else places.get(label, -2) for label in labels])
    labelled = truth != -1
    right, now = (each.argmax(axis=1) == truth for each in (before, after))
    return Effect(
        images=len(before),
        confidence=float(here.mean()),
        recalibrated=float(there.mean()),
        expected=float(known.mean()),
        p_lost=_p_value(known.mean() - here.mean(), known.var() / len(known) + here.var() / len(here)),
        p_raised=_p_value((there - here).mean(), (there - here).var() / len(here)),
        classes=_distance(counts, reference),
        classes_recalibrated=_distance(recounted, reference),
        p_classes=two_sample.contingency(reference, counts, SEED).p_value,
        p_classes_recalibrated=two_sample.contingency(reference, recounted, SEED).p_value,
        labelled=int(labelled.sum()),
        gained=int((now & ~right & labelled).sum()),
        lost=int((right & ~now & labelled).sum()),
    )


@dataclass(frozen=True)
class _Served:
    """A version's network, run under the stored or other BatchNorm statistics.

    Attributes:
        network: with its BatchNorms.
        reference: moments of their inputs on the reference.
        calibration: of the version.
        targets: shares of the predicted classes on the reference.
    """

    network: Instrumented
    reference: Moments
    calibration: Calibration
    targets: NDArray[np.float64]

    @classmethod
    def open(cls, bundle: Path, profile: Profile) -> "_Served | None":
        """None where the network has no BatchNorm."""
        known = layer_statistics.read(bundle)
        network = Instrumented.load(bundle, Preprocessor.load(bundle))
        if known is None or network is None:
            return None
        calibration = Calibration.from_document(documents.read(bundle / CALIBRATION))
        classes = network.preprocessor.contract.labels
        counts = np.array([profile.predicted_counts[name] for name in classes], dtype=np.float64)
        return cls(network, known.whole, calibration, counts / counts.sum())

    @property
    def preprocessor(self) -> Preprocessor:
        return self.network.preprocessor

    @property
    def classes(self) -> Sequence[str]:
        return self.preprocessor.contract.labels

    def reestimated(self, items: Sequence[Item]) -> Statistics:
        """Statistics of prepared images."""
        return recalibration.reestimate(self.network, items, self.reference, targets=self.targets).statistics

    def probabilities(self, items: Sequence[Item], statistics: Statistics | None = None) -> NDArray[np.float64]:
        """Of each class, `(images, classes)`, under the stored statistics where no others are given."""
        return self.calibration.apply(self.network.run(items, statistics).logits)

    def labels(self, probabilities: NDArray[np.float64]) -> list[str]:
        """The most probable class of each."""
        return [self.classes[place] for place in probabilities.argmax(axis=1)]


def _distance(counts: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Half the sum of the differences between two rows of shares."""
    return float(np.abs(counts / counts.sum() - reference / reference.sum()).sum() / 2)


def _p_value(difference: float, variance: float) -> float:
    """One-sided, of "the mean is not above 0"; of samples of 32 and more, whose means are normal."""
    if variance <= 0:
        return 0.0 if difference > 0 else 1.0
    return 1.0 - NormalDist().cdf(float(difference) / float(variance) ** 0.5)

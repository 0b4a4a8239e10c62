"""Do other shares of the classes explain all that a window shows? A name is a claim, so doubt speaks against it.

Under label shift a window is the reference with its classes reweighted. The weights are estimated from the window's
probabilities (EM: Saerens et al. 2002, doi:10.1162/089976602753284446), and two questions follow, both answered by
drawing windows from the reference (Efron's bootstrap, the reference's own sampling error included):

1. Are entropy and input properties distributed as in the reweighted reference?
2. Would the window look as it does if some of its inputs belonged to no class at all? A shift can only be named
   where the answer is no: small windows of an unsure model cannot tell, and then it is not named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.statistics import label_shift

DRAWS = 400
MOST_ROWS = 2_000  # of either side that are looked at; evenly spread
STEPS = 50  # of EM
CONVERGED = 1e-5
FOREIGN = 0.05  # share of inputs of no known class that must be ruled out before a label shift is named; see below
LEAST_WRONG = 10  # reference rows that stand for foreign inputs, at least
TELLING = 0.88  # AUROC with which entropy tells the reference's wrong answers from its right ones, at least
SEED = 0
RESAMPLES = 100  # 0.2 to 0.4 seconds for 5,000 answers of 77 classes
LEVEL = 0.95  # of each class's interval
DISAGREEMENT = 0.02  # of the two estimators of a share, beyond their intervals: more is not label shift alone
SHOWN = 10  # classes


@dataclass(frozen=True)
class Explanation:
    """How well other shares of the classes explain a window.

    Attributes:
        shares: the estimated share of each class.
        p_value: of "the window is the reference with these shares"; small where something else has changed.
        p_foreign: of "a share `FOREIGN` of the inputs belongs to no class"; small where that is ruled out.
    """

    shares: dict[str, float]
    p_value: float
    p_foreign: float


@dataclass(frozen=True)
class Estimate:
    """Shares of the classes in a window, then and now.

    Attributes:
        shares: {class: {`reference`, `value`, `low`, `high`}}; None where they can't be told.
        reason: why there are none, a sentence; None where there are some.
    """

    shares: Mapping[str, Mapping[str, float]] | None
    reason: str | None


@dataclass(frozen=True)
class _Side:
    """Rows of the reference or of a window: probabilities, their entropy, and what else is compared, coded by rank."""

    probabilities: NDArray[np.float64]
    entropy: NDArray[np.float64]
    codes: NDArray[np.int64]  # (numbers, rows); -1 where a value is missing

    def take(self, rows: NDArray[np.int64]) -> "_Side":
        return _Side(self.probabilities[rows], self.entropy[rows], self.codes[:, rows])


def estimate(profile: Profile, window: Window) -> Estimate:
    """The classes' shares in a window, if two estimators that rest on different things agree about them.

    They mean what they say under label shift only; that nothing else has changed is what `explain` asks.

    Args:
        profile: the reference.
        window: at least one answer.
    """
    if profile.probabilities is None or window.probabilities is None:
        side = "the reference" if profile.probabilities is None else "the window"
        return Estimate(None, f"{side} holds no probabilities.")
    if window.probabilities.shape[1] != len(profile.classes):
        return Estimate(
            None, f"the window's answers are of {window.probabilities.shape[1]} classes, not of {len(profile.classes)}."
        )
    place = {name: number for number, name in enumerate(profile.classes)}
    labels = np.array([place[label] for label in profile.labels])
    if missing := sorted(set(profile.classes) - set(profile.labels)):
        return Estimate(None, f"the reference has no example of class {missing[0]!r}.")
    found = label_shift.estimate(
        profile.probabilities.astype(np.float64),
        labels,
        window.probabilities,
        resamples=RESAMPLES,
        level=LEVEL,
        seed=SEED,
    )
    if found.disagreement is None:
        return Estimate(None, "the model mistakes some classes for one another too often to tell their shares apart.")
    if found.disagreement > DISAGREEMENT:
        return Estimate(
            None,
            f"two estimators differ by {found.disagreement:.1%} beyond their intervals: more than the shares of the "
            "classes has changed.",
        )
    columns = zip(profile.classes, found.values, found.low, found.high, strict=True)
    return Estimate(
        {
            name: {
                "reference": profile.label_counts[name] / profile.n,
                "value": float(value),
                "low": float(low),
                "high": float(high),
            }
            for name, value, low, high in columns
        },
        None,
    )


def moved(shares: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """The classes whose shares moved most, at most `SHOWN`; first those that moved farthest."""
    ordered = sorted(shares.items(), key=lambda entry: -abs(entry[1]["value"] - entry[1]["reference"]))
    return ordered[:SHOWN]


def explain(profile: Profile, window: Window) -> Explanation | None:
    """Hold a window against the reference with its classes reweighted.

    None where one side lacks probabilities, and where the model is hardly less sure when it is wrong (`TELLING`): then
    its confidence says nothing about inputs of no known class.

    Inputs of no known class are taken to be as unsure as those that the model got wrong on the reference. Measured on
    real sets they are half to once as unsure, hence a `FOREIGN` below the shares that matter.
    """
    if profile.probabilities is None or window.probabilities is None:
        return None
    if window.probabilities.shape[1] != len(profile.classes):
        return None
    at, of_window = _spread(len(profile.labels)), _spread(window.rows)
    place = {name: number for number, name in enumerate(profile.classes)}
    labels = np.array([place[profile.labels[row]] for row in at])
    predicted = np.array([place[profile.predicted[row]] for row in at])
    numbers = [(profile.confidence[at], window.confidence[of_window])]
    numbers += [
        (profile.properties[name][at], window.properties[name][of_window])
        for name in sorted(profile.properties)
        if name in window.properties
    ]
    coded = [_coded(before, after) for before, after in numbers]
    reference = _side(profile.probabilities[at], [before for before, _ in coded])
    live = _side(window.probabilities[of_window], [after for _, after in coded])
    wrong = np.flatnonzero(predicted != labels)
    if _auroc(reference.entropy, predicted != labels) < TELLING:
        return None
    if len(wrong) < LEAST_WRONG:
        wrong = np.argsort(-reference.entropy, kind="stable")[:LEAST_WRONG]

    gap, distances, weights, shares = _compare(reference, labels, live)
    random = np.random.default_rng(SEED)
    rows, size = len(labels), len(live.entropy)

    def draw(foreign: float) -> tuple[float, NDArray[np.float64]]:
        strangers = random.binomial(size, foreign)
        chosen = np.r_[random.choice(rows, size - strangers, p=weights), random.choice(wrong, strangers)]
        again = random.integers(0, rows, rows)
        drawn = _compare(reference.take(again), labels[again], reference.take(chosen))
        return drawn[0], drawn[1]

    clean = [draw(0.0) for _ in range(DRAWS)]
    mixed = np.array([draw(FOREIGN)[0] for _ in range(DRAWS)])
    gaps, farther = np.array([entry[0] for entry in clean]), np.array([entry[1] for entry in clean])
    p_values = [2 * _reached(gaps, gap), 2 * _reached(-gaps, -gap)]
    p_values += [_reached(farther[:, number], distance) for number, distance in enumerate(distances)]
    return Explanation(
        shares={name: float(shares[number]) for number, name in enumerate(profile.classes)},
        p_value=min(1.0, (len(distances) + 1) * min(p_values)),
        p_foreign=_reached(-mixed, -gap),
    )


def _compare(
    reference: _Side, labels: NDArray[np.int64], window: _Side
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A window against the reweighted reference.

    Returns:
        How much higher the window's mean entropy is, the Kolmogorov-Smirnov distance of each number, the weights of
        the reference rows (they sum to 1), and the shares of the classes.
    """
    classes = reference.probabilities.shape[1]
    prior = reference.probabilities.mean(axis=0) + 1e-12
    shares = _shares(window.probabilities, prior / prior.sum())
    counts = np.bincount(labels, minlength=classes)
    weights = (shares / np.maximum(counts, 1))[labels]
    weights /= weights.sum()
    gap = float(window.entropy.mean() - weights @ reference.entropy)
    distances = [_distance(before, weights, after) for before, after in zip(reference.codes, window.codes, strict=True)]
    return gap, np.array(distances), weights, shares


def _shares(probabilities: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shares of the classes in a window, by EM from the reference's."""
    shares = prior
    for _ in range(STEPS):
        posterior = probabilities * (shares / prior)
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares, before = posterior.mean(axis=0), shares
        if np.abs(shares - before).max() < CONVERGED:
            break
    return shares


def _distance(before: NDArray[np.int64], weights: NDArray[np.float64], after: NDArray[np.int64]) -> float:
    """The largest distance of two distribution functions over the same codes; 0 where a side was not measured."""
    measured, present = before >= 0, after >= 0
    if not measured.any() or not present.any():
        return 0.0
    length = int(max(before.max(), after.max())) + 1
    first = np.bincount(before[measured], weights=weights[measured], minlength=length)
    second = np.bincount(after[present], minlength=length)
    total = first.sum()
    if total <= 0:
        return 1.0
    return float(np.abs(np.cumsum(first) / total - np.cumsum(second) / present.sum()).max())


def _auroc(scores: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """How often a wrong answer has the higher score than a right one; 1 where there are none to compare."""
    from scipy.stats import rankdata

    mistakes, others = int(wrong.sum()), int((~wrong).sum())
    if not mistakes or not others:
        return 1.0
    ranks = rankdata(scores)
    return float((ranks[wrong].sum() - mistakes * (mistakes + 1) / 2) / (mistakes * others))


def _reached(draws: NDArray[np.float64], observed: float) -> float:
    """How often a draw is at least as large as what was observed."""
    return float((1 + (draws >= observed - 1e-12).sum()) / (1 + len(draws)))


def _side(probabilities: NDArray[np.floating], codes: list[NDArray[np.int64]]) -> _Side:
    floats = np.clip(probabilities.astype(np.float64), 1e-12, None)
    floats /= floats.sum(axis=1, keepdims=True)
    return _Side(floats, -(floats * np.log(floats)).sum(axis=1), np.array(codes))


def _coded(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two samples as places among all values that occur; -1 for what is not finite."""
    pooled = np.concatenate([before, after])
    finite = np.isfinite(pooled)
    codes = np.full(len(pooled), -1, dtype=np.int64)
    codes[finite] = np.unique(pooled[finite], return_inverse=True)[1]
    return codes[: len(before)], codes[len(before) :]


def _spread(rows: int) -> NDArray[np.int64]:
    """At most `MOST_ROWS` places in `rows`, evenly spread."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_ROWS)).astype(np.int64))

"""Do other shares of the classes explain all that a window shows? A name is a claim, so doubt speaks against it.

Under label shift a window is the reference with its classes reweighted, and each class still looks as it did. The
weights are estimated from the window's probabilities by expectation maximisation, and two questions follow, both
answered by drawing windows from the reference (Efron's bootstrap, the reference's own sampling error included):

1. Are features, entropy, confidence and input properties distributed as in the reweighted reference?
2. Would the features look as they do if a share of the inputs belonged to a class that the model does not know?
   The classes of the reference, each in turn, stand in for it: as if it had been left out. A shift is only named
   where the answer is no: small windows cannot tell, and then it is not named.

Probabilities alone can't answer the second question: a model may be as sure of inputs of no known class as of others.
Features are compared by the maximum mean discrepancy (Gretton et al. 2012, jmlr.org/papers/v13/gretton12a.html) with
a Gaussian kernel, twice as wide as the median distance in the reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.monitoring.windows import Window
from headstart.profile import Features, Profile, kept
from headstart.statistics import label_shift

DRAWS = 400
MOST_ROWS = 2_000  # of either side that are looked at; those with features first, then evenly spread
MOST_ESTIMATED = 20_000  # of the window for shares, evenly spread; the reference's 5,000 leave more open than that
UNSEEN = 6  # inputs of as many as the reference has; a value that so few have is missing there in 1 of 400 cases
WIDE = 2.0  # of 0.5 to 2, most telling of classes left out of trec6 and cifar10_jpeg
FOREIGN = 0.12  # share of inputs of an unknown class that must be ruled out before a label shift is named
FEWEST = 24  # features of either side; of so few rows none is foreign in 0.88**24 = 5% of windows: fewer rule out none
SEED = 0
RESAMPLES = 100  # 0.2 to 0.4 seconds for 5,000 answers of 77 classes
LEVEL = 0.95  # of each class's interval
DISAGREEMENT = 0.02  # of the two estimators of a share, beyond their intervals: more is not label shift alone
SHOWN = 10  # classes
RAREST = 1e-9  # weight of all other classes, below which a class is not left out for the sake of comparison


@dataclass(frozen=True)
class Explanation:
    """How well other shares of the classes explain a window.

    Attributes:
        shares: the estimated share of each class.
        p_value: of "the window is the reference with these shares"; small where something else has changed.
        p_foreign: of "a share `FOREIGN` of the inputs belongs to a class that the model does not know"; small where
            that is ruled out. None where one side has features of fewer than `FEWEST` rows.
        missing: that side, `profile` or `journal`; None where both have enough.
    """

    shares: dict[str, float]
    p_value: float
    p_foreign: float | None
    missing: Literal["profile", "journal"] | None = None


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


class _Draws:
    """Pairs of a weighted reference and a window, both drawn from the rows of a reference: what each row weighs."""

    def __init__(self, rows: int) -> None:
        self._reference, self._window = np.zeros((DRAWS, rows)), np.zeros((DRAWS, rows))
        self._selves = np.zeros(DRAWS)

    def put(
        self, number: int, again: NDArray[np.int64], weights: NDArray[np.float64], chosen: NDArray[np.int64]
    ) -> None:
        """Keep one pair: the rows of its reference with their weights, and the rows of its window."""
        rows = self._reference.shape[1]
        self._reference[number] = np.bincount(again, weights=weights, minlength=rows)
        self._window[number] = np.bincount(chosen, minlength=rows) / max(len(chosen), 1)
        self._selves[number] = (weights**2).sum()

    def discrepancies(self, kernel: NDArray[np.float64], selves: float) -> NDArray[np.float64]:
        """Of each pair, `_unbiased`; `selves` is the weight of pairs of a row with itself in the windows."""
        first, second = self._reference @ kernel, self._window @ kernel
        return np.asarray(
            _unbiased(
                (first * self._reference).sum(axis=1),
                (second * self._window).sum(axis=1),
                (first * self._window).sum(axis=1),
                self._selves,
                selves,
            )
        )


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
        kept(window.probabilities[_evenly(np.arange(window.rows), MOST_ESTIMATED)]).astype(np.float64),
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

    None where one side lacks probabilities, or they are of other classes.
    """
    if profile.probabilities is None or window.probabilities is None:
        return None
    if window.probabilities.shape[1] != len(profile.classes):
        return None
    before, after = _enough(profile.features), _enough(window.features)
    at = _evenly(np.arange(len(profile.labels)) if before is None else before.rows, MOST_ROWS)
    of_window = _spread(window.rows, after)
    reference, live = _sides(profile, at, window, of_window)
    place = {name: number for number, name in enumerate(profile.classes)}
    labels = np.array([place[profile.labels[row]] for row in at])
    weights, shares = _weights(reference.probabilities, labels, live.probabilities)
    random = np.random.default_rng(SEED)
    size = len(of_window)
    featured = 0 if before is None or after is None else min(len(after.rows), MOST_ROWS)
    gaps, farther, clean = _reweighted(random, reference, labels, weights, shares, size, featured)
    p_values = _of_numbers(gaps, farther, *_compare(reference, weights, live))
    p_foreign = None
    if before is not None and after is not None:
        kernel, cross, within = _kernels(before.of(at), after.of(of_window))
        selves = 1 / featured
        found = _unbiased(weights @ kernel @ weights, within, (weights @ cross).mean(), (weights**2).sum(), selves)
        p_values.append(_reached(clean.discrepancies(kernel, selves), found))
        mixed = _with_left_out_class(random, reference.probabilities, labels, weights, size, featured)
        p_foreign = 1.0 if mixed is None else _reached(-mixed.discrepancies(kernel, selves), -found)
    return Explanation(
        shares={name: float(shares[number]) for number, name in enumerate(profile.classes)},
        p_value=min(1.0, (len(p_values) - 1) * min(p_values)),  # the two of the gap are one test
        p_foreign=p_foreign,
        missing="profile" if before is None else "journal" if after is None else None,
    )


def _enough(features: Features | None) -> Features | None:
    """Features, where they are of enough rows."""
    return features if features is not None and len(features.rows) >= FEWEST else None


def _sides(
    profile: Profile, at: NDArray[np.int64], window: Window, of_window: NDArray[np.int64]
) -> tuple[_Side, _Side]:
    """These rows of the reference, and those of the window, as far as both have the same numbers."""
    assert profile.probabilities is not None and window.probabilities is not None
    names = [name for name in sorted(profile.properties) if name in window.properties]
    coded = [_coded(profile.confidence[at], window.confidence[of_window])]
    coded += [_coded(profile.properties[name][at], window.properties[name][of_window]) for name in names]
    return (
        _side(profile.probabilities[at], [before for before, _ in coded]),
        _side(kept(window.probabilities[of_window]), [after for _, after in coded]),
    )


def _reweighted(
    random: np.random.Generator,
    reference: _Side,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    shares: NDArray[np.float64],
    size: int,
    featured: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], _Draws]:
    """What `_compare` finds in windows of the reweighted reference, a row each, and the draws."""
    rows = len(labels)
    gaps, farther, draws = np.zeros(DRAWS), np.zeros((DRAWS, len(reference.codes))), _Draws(rows)
    for number in range(DRAWS):
        chosen, again = random.choice(rows, size, p=weights), random.integers(0, rows, rows)
        drawn, before = reference.take(chosen), reference.take(again)
        own, _ = _weights(before.probabilities, labels[again], drawn.probabilities, near=shares)
        gaps[number], farther[number] = _compare(before, own, drawn)
        draws.put(number, again, own, chosen[:featured])
    return gaps, np.maximum(farther, UNSEEN / rows), draws


def _of_numbers(
    gaps: NDArray[np.float64], farther: NDArray[np.float64], gap: float, distances: NDArray[np.float64]
) -> list[float]:
    """P-values of the gap, upwards and downwards, and of each distance, from what was found in draws."""
    either = [2 * _reached(gaps, gap), 2 * _reached(-gaps, -gap)]
    return either + [_reached(farther[:, number], distance) for number, distance in enumerate(distances)]


def _weights(
    before: NDArray[np.float64],
    labels: NDArray[np.int64],
    after: NDArray[np.float64],
    near: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the reference's rows under which its classes come as in a window; they sum to 1. And the shares.

    Args:
        before: probabilities of the reference.
        labels: its classes.
        after: probabilities of the window.
        near: shares that are close to those looked for.
    """
    classes = before.shape[1]
    prior = before.mean(axis=0) + 1e-12
    start = None if near is None else 0.9 * near + 0.1 / classes  # no share of 0, which would stay
    shares = label_shift.expectation_maximisation(
        after, prior / prior.sum(), start=start, converged=label_shift.RESAMPLED
    )
    counts = np.bincount(labels, minlength=classes)
    weights = (shares / np.maximum(counts, 1))[labels]
    return weights / weights.sum(), shares


def _compare(reference: _Side, weights: NDArray[np.float64], window: _Side) -> tuple[float, NDArray[np.float64]]:
    """How much higher a window's mean entropy is than the weighted reference's, and the distance of each number."""
    gap = float(window.entropy.mean() - weights @ reference.entropy)
    distances = [_distance(before, weights, after) for before, after in zip(reference.codes, window.codes, strict=True)]
    return gap, np.array(distances)


def _with_left_out_class(
    random: np.random.Generator,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    size: int,
    featured: int,
) -> _Draws | None:
    """Windows in which a share `FOREIGN` is of a class removed from the reference; None where it has only one.

    What a model without that class would say is taken to be what this one says of the other classes.
    """
    rows = np.arange(len(labels))
    classes = [own for own in np.unique(labels) if weights[labels != own].sum() > RAREST]
    if not classes:
        return None
    mixed = _Draws(len(rows))
    for number in range(DRAWS):
        unknown = random.choice(classes)
        known, strange = rows[labels != unknown], rows[labels == unknown]
        as_now = random.choice(known, size, p=weights[known] / weights[known].sum())
        chosen = np.where(random.random(size) < FOREIGN, random.choice(strange, size), as_now)
        again = random.choice(known, len(rows))
        told = np.delete(probabilities, unknown, axis=1)
        told /= told.sum(axis=1, keepdims=True)
        own, _ = _weights(told[again], labels[again] - (labels[again] > unknown), told[chosen])
        mixed.put(number, again, own, chosen[:featured])
    return mixed


def _unbiased(first: Any, second: Any, cross: Any, of_first: Any, of_second: Any) -> Any:
    """The squared maximum mean discrepancy, 0 on average where nothing differs.

    Args:
        first: mean of the kernel over pairs of the reference, of a row with itself included, where it is 1.
        second: likewise of the window.
        cross: over pairs of both.
        of_first: weight of the pairs of a row with itself in the reference.
        of_second: likewise in the window.
    """
    return (first - of_first) / (1 - of_first) + (second - of_second) / (1 - of_second) - 2 * cross


def _kernels(
    before: NDArray[np.float16], after: NDArray[np.float16]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The kernel of reference rows with each other, with those of the window, and the mean of the window's own."""
    first, second = before.astype(np.float64), after.astype(np.float64)
    squares = _squares(first, first)
    scale = WIDE**2 * float(np.median(squares)) or 1.0
    within = np.exp(-_squares(second, second) / scale).mean()
    return np.exp(-squares / scale), np.exp(-_squares(first, second) / scale), float(within)


def _squares(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


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


def _spread(rows: int, features: Features | None) -> NDArray[np.int64]:
    """At most `MOST_ROWS` places in `rows`, evenly spread: of those with features first, in this order."""
    first = _evenly(features.rows if features is not None else np.zeros(0, np.int64), MOST_ROWS)
    rest = np.setdiff1d(np.arange(rows), first)
    return np.concatenate([first, _evenly(rest, MOST_ROWS - len(first))])


def _evenly(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    count = min(len(places), most)
    chosen = np.linspace(0, len(places) - 1, count).astype(np.int64) if count else np.zeros(0, np.int64)
    return np.asarray(places[chosen], dtype=np.int64)

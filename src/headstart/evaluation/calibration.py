"""Calibration fitted on validation, so that a probability means what it says: a temperature, and perhaps class biases.

Biases correct a classifier that favours some classes. Estimating class shares in production rests on them (see
`headstart.statistics.label_shift`), but on few examples they are noise: they are kept only where examples that they
were not fitted on are less surprising with them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.bundle import Calibration
from headstart.errors import DataError
from headstart.statistics import cluster_robust

COLDEST, HOTTEST = 0.05, 20.0
SPREAD = 1.0  # standard deviation of the prior on each bias, in nats
FOLDS = 5
RAREST = 1e-4  # share of a class that is said not to come
SEED = 0


def fit(
    logits: NDArray[np.floating], targets: NDArray[np.int64], groups: Sequence[str | None] | None = None
) -> Calibration:
    """The calibration under which validation labels are least surprising.

    Bias-corrected temperature scaling, `softmax(logits / T + b)`, where cross-validated log loss is lower with the
    biases by more than its standard error, whole groups held out; else the temperature alone, which changes no label.
    On the built-in apidocs, biases look better by held-out rows and are worse by held-out files. Normal priors, on the
    logarithm of the temperature and on each bias, keep both near "nothing changes" where validation can't tell: with
    every answer right, likelihood alone would make each of them certain. With no example nothing is changed.
    Source: Guo et al. 2017, arXiv:1706.04599; biases from Alexandari, Kundaje and Shrikumar 2020, arXiv:1901.06852.

    Args:
        logits: `(examples, classes)`, as the model gives them.
        targets: `(examples,)`, class indices.
        groups: of each example, such as its document; None where it is alone.

    Raises:
        DataError: if a logit is not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)  # (examples, classes)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DataError(
            f"the logits of validation example {row} are not all finite numbers.",
            action="Train again with a lower learning rate, or in float32.",
        )
    scores = scores - scores.max(axis=1, keepdims=True)
    n = len(targets)
    place = cluster_robust.places(groups, n)
    helps = _biases_help(scores, targets, np.arange(n) if place is None else np.unique(place, return_inverse=True)[1])
    return _with_biases(scores, targets) if helps else _temperature(scores, targets)


def correction(
    fitted: Calibration, logits: NDArray[np.floating], classes: Sequence[str], shares: Mapping[str, float]
) -> NDArray[np.float64]:
    """What other class shares than validation's add to each class's log-odds, `(classes,)`: log(new / old).

    The old shares are the model's own mean probabilities on validation, so that the same shares change nothing.
    Source: Saerens, Latinne and Decaestecker 2002, doi:10.1162/089976602753284446.

    Args:
        fitted: on validation.
        logits: `(examples, classes)` of validation, at least one.
        classes: in the order of the logits.
        shares: by class, summing to 1; below `RAREST` they count as that, so that no class becomes impossible.
    """
    old = np.maximum(fitted.apply(logits).mean(axis=0), RAREST)
    new = np.maximum([shares[name] for name in classes], RAREST)
    moved = np.log(new / new.sum()) - np.log(old / old.sum())
    return np.asarray(moved - moved.mean(), dtype=np.float64)


def for_shares(
    fitted: Calibration, logits: NDArray[np.floating], classes: Sequence[str], shares: Mapping[str, float]
) -> Calibration:
    """The calibration for class shares other than validation's, its biases moved by `correction`."""
    moved = np.array(fitted.bias) + correction(fitted, logits, classes, shares)
    return replace(fitted, bias=tuple((moved - moved.mean()).tolist()))


def _temperature(scores: NDArray[np.float64], targets: NDArray[np.int64]) -> Calibration:
    from scipy.optimize import minimize_scalar

    true = scores[np.arange(len(targets)), targets]

    def surprise(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        nats = np.log(np.exp(scores * inverse).sum(axis=1)) - true * inverse
        return float(nats.sum()) + log_temperature**2 / 2

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Calibration(temperature=math.exp(float(found.x)), bias=(0.0,) * scores.shape[1], abstain_below=0.0)


def _with_biases(scores: NDArray[np.float64], targets: NDArray[np.int64]) -> Calibration:
    from scipy.optimize import minimize

    rows = np.arange(len(targets))

    def surprise(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        inverse, biases = math.exp(-free[0]), free[1:]
        values = scores * inverse + biases
        values -= values.max(axis=1, keepdims=True)
        shares = np.exp(values)
        total = shares.sum(axis=1, keepdims=True)
        nats = np.log(total[:, 0]) - values[rows, targets]
        error = shares / total  # gradient of the loss by `values`
        error[rows, targets] -= 1.0
        slope = np.append(-inverse * (error * scores).sum() + free[0], error.sum(axis=0) + biases / SPREAD**2)
        return float(nats.sum() + free[0] ** 2 / 2 + (biases**2).sum() / (2 * SPREAD**2)), slope

    bounds = [(math.log(COLDEST), math.log(HOTTEST)), *[(None, None)] * scores.shape[1]]
    found = minimize(surprise, np.zeros(1 + scores.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    biases = found[1:] - found[1:].mean()  # a constant added to all of them changes nothing
    return Calibration(temperature=math.exp(float(found[0])), bias=tuple(biases.tolist()), abstain_below=0.0)


def _biases_help(scores: NDArray[np.float64], targets: NDArray[np.int64], groups: NDArray[np.int64]) -> bool:
    """Whether held-out log loss is lower with biases, by more than the cluster-robust standard error of the mean."""
    n, several = len(targets), int(groups.max(initial=-1)) + 1
    if several < 2 * FOLDS:
        return False
    fold = (np.random.default_rng(SEED).permutation(several) % FOLDS)[groups]
    gain = np.zeros(n)
    for number in range(FOLDS):
        kept, held = fold != number, np.flatnonzero(fold == number)
        plain, biased = _temperature(scores[kept], targets[kept]), _with_biases(scores[kept], targets[kept])
        chosen = [
            np.maximum(each.apply(scores[held])[np.arange(len(held)), targets[held]], 1e-300)
            for each in (plain, biased)
        ]
        gain[held] = np.log(chosen[1]) - np.log(chosen[0])
    sums = np.bincount(groups, weights=gain - gain.mean())
    error = math.sqrt(float((sums**2).sum()) * several / (several - 1)) / n
    return float(gain.mean()) > error

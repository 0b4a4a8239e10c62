"""A linear head on frozen features: the cheapest transfer, and where fine-tuning starts.

Its strength (inverse of the L2 penalty) is chosen by cross-validation on log-loss; the same held-out predictions say
how accurate it is.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart import determinism
from headstart.errors import DataError
from headstart.params.transfer import Probe
from headstart.statistics.cluster_robust import Groups

ABSENT = -20.0  # logit of a class without a single training example: never the answer, and finite

# A feature that hardly moves is scaled by this share of the usual spread, not by its own: MiniLM has one of spread
# 1e-9, whose weight of 1e7 a first step of fine-tuning would turn into noise.
FLOOR = 0.1


@dataclass(frozen=True)
class Head:
    """A linear classifier on raw features; standardisation is folded into it.

    Attributes:
        weight: `(classes, features)`, float32.
        bias: `(classes,)`, float32.
        strength: the inverse regularisation it was fitted with.
        right: `(examples,)`, which training examples heads of this strength answer rightly when the example's fold is
            held out; None where strength was given and nothing was held out.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    right: NDArray[np.bool_] | None = None

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """`(examples, classes)`, in double precision."""
        return features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias


def fit(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: int,
    params: Probe,
    *,
    groups: Groups = None,
) -> Head:
    """The head for these features, at the strength with the least held-out log-loss.

    With `class_weights: balanced` every class counts alike, in fitting and in that loss (King and Zeng 2001).

    Strengths are tried in rising order and no further once log-loss rises: beyond that point the head overfits,
    and high strengths (little regularisation) are the slow ones.

    Args:
        features: `(examples, features)`.
        targets: class indices in [0, classes).
        classes: how many classes the head answers with, present in `targets` or not.
        params: strengths, folds, iterations, seed.
        groups: of the examples; one group stays in one fold, as it stays in one split. None where there is none.

    Raises:
        DataError: if the examples show fewer than two classes.
    """
    strength, logits = choose(features, targets, classes, params, groups=groups)
    head = refit(features, targets, classes, params, strength=strength)
    return replace(head, right=logits.argmax(axis=1) == targets)


def refit(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: int,
    params: Probe,
    *,
    strength: float,
) -> Head:
    """The head at a strength chosen before, with the weights that `fit` gave it."""
    path = _Path(features, targets, classes, params)
    with _bounded():
        for weaker in sorted(value for value in params.strengths if value < strength):
            path.at(weaker)
        weight, bias = path.at(strength)
    return Head(weight.astype(np.float32), bias.astype(np.float32), strength)


def choose(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: int,
    params: Probe,
    *,
    groups: Groups = None,
) -> tuple[float, NDArray[np.float64]]:
    """The best strength, and logits `(examples, classes)`, each from the head that had not seen the example.

    Raises:
        DataError: if the examples show fewer than two classes.
    """
    if len(present := np.unique(targets)) < 2:
        raise DataError(
            f"{len(targets)} training examples show {len(present)} class, at least 2 were expected.",
            action="Add examples of a second class, or look in quarantine.parquet for why they were put aside.",
        )
    fold = folds(targets, params.folds, seed=params.seed, groups=groups)
    held_out = range(int(fold.max()) + 1)
    shown = [fold != held for held in held_out]
    paths = [_Path(features[rows], targets[rows], classes, params) for rows in shown]
    weights = balanced_weights(targets) if params.class_weights == "balanced" else None
    least, best, kept = np.inf, min(params.strengths), np.zeros((len(targets), classes))
    with _bounded(), ThreadPoolExecutor(determinism.threads()) as pool:  # NumPy works outside Python's lock
        for strength in sorted(params.strengths):
            logits = np.empty((len(targets), classes))
            for held, (weight, bias) in enumerate(pool.map(lambda path, at=strength: path.at(at), paths)):
                logits[fold == held] = features[fold == held].astype(np.float64) @ weight.T + bias
            if (loss := log_loss(logits, targets, weights)) >= least:
                break
            least, best, kept = loss, strength, logits
    return best, kept


def folds(targets: NDArray[np.int64], count: int, *, seed: int, groups: Groups = None) -> NDArray[np.int64]:
    """The fold of each example, as equal in size and as like in classes as can be.

    Each class is dealt out in a random order, going on where the class before ended. A class with fewer
    examples than folds is simply missing from some; at most one fold an example. With groups, whole groups are
    dealt (the largest first, each to the fold that has least of its classes): near copies in one group would
    otherwise be learned from in one fold and judged in another.
    """
    if groups is not None and len(set(groups)) > 1:  # one group alone cannot be held out whole
        return _grouped_folds(targets, count, groups)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    result = np.empty(len(targets), dtype=np.int64)
    result[order] = np.arange(len(targets)) % min(count, len(targets))
    return result


def balanced_weights(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """`(examples,)` weights of mean 1 with which every class that is there counts alike."""
    counts = np.bincount(targets)
    return len(targets) / (np.count_nonzero(counts) * counts[targets])


def log_loss(
    logits: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> float:
    """Mean negative log-likelihood in nats, of examples weighted as `weights` say, `(examples,)`."""
    top = logits.max(axis=1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.average(normaliser - logits[np.arange(len(targets)), targets], weights=weights))


def calibrated_loss(
    logits: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> float:
    """The least log-loss, in nats, that one temperature can give: what is served is calibrated on these examples too.

    A network that is more often right, and too sure of it, is so not mistaken for a worse one. Not a number where a
    logit is not finite. Source: Guo et al. 2017, arXiv:1706.04599.

    Never below log((n + 2) / (n + 1)): where all n answers are right a temperature near 0 would promise certainty, and
    n right answers show no more than Laplace's rule of succession.
    """
    from scipy.optimize import minimize_scalar

    if not np.isfinite(logits).all():
        return float("nan")

    def at(log: float) -> float:
        return log_loss(logits / np.exp(log), targets, weights)

    found = minimize_scalar(at, bounds=(-4.0, 4.0), method="bounded")
    shown = float(np.log((len(targets) + 2) / (len(targets) + 1)))
    return max(shown, min(float(found.fun), at(0.0)))


def _grouped_folds(targets: NDArray[np.int64], count: int, groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Whole groups to folds; an example without a group is a group of its own."""
    names = [f"group {group}" if group is not None else f"row {row}" for row, group in enumerate(groups)]
    _, member = np.unique(names, return_inverse=True)
    classes = int(targets.max()) + 1
    content = np.zeros((int(member.max()) + 1, classes))
    np.add.at(content, (member, targets), 1.0)
    content /= np.maximum(1.0, np.bincount(targets, minlength=classes))
    number = min(count, len(content))

    def deal(even: float) -> NDArray[np.int64]:
        """Groups to folds by least spread; `even` also weighs how much a fold holds already."""
        held, home = np.zeros((number, classes)), np.empty(len(content), dtype=np.int64)
        for group in np.argsort(-content.sum(axis=1), kind="stable"):
            spread = ((held + content[group]) ** 2 - held**2).sum(axis=1) + even * held.sum(axis=1)
            home[group] = int(spread.argmin())
            held[home[group]] += content[group]
        return home

    home = deal(0.0)
    if len(np.unique(home)) < number:  # few groups: the first of every class went to the first fold
        home = deal(1e-3)
    return home[member]


@contextmanager
def _bounded() -> Iterator[None]:
    """No warning that a fit was not at its end: `iterations` in params.yaml is the bound, by design."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # around the threads of `choose`, not in them: filters are the process's
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class _Path:
    """Logistic regression on one set of examples, at one strength after another, each starting from the last."""

    def __init__(self, features: NDArray[np.float32], targets: NDArray[np.int64], classes: int, params: Probe) -> None:
        from sklearn.linear_model import LogisticRegression

        values = features.astype(np.float64)
        self._mean, spread = values.mean(axis=0), values.std(axis=0)
        floor = FLOOR * np.sqrt(np.square(spread).mean())
        self._scale = np.maximum(spread, floor) if floor > 0 else np.ones_like(spread)
        standard = ((values - self._mean) / self._scale).astype(np.float32)  # as features came; two thirds of the time
        self._values, self._targets, self._classes = standard, targets, classes
        self._shown = np.unique(targets)
        own = "balanced" if params.class_weights == "balanced" else None
        self._model = LogisticRegression(max_iter=params.iterations, warm_start=True, class_weight=own)

    def at(self, strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight `(classes, features)` and bias `(classes,)` for features as they are, not standardised."""
        weight, bias = np.zeros((self._classes, self._values.shape[1])), np.full(self._classes, ABSENT)
        if len(self._shown) == 1:  # a fold that holds out all but one class
            bias[self._shown] = 0.0
            return weight, bias
        self._model.set_params(C=strength)
        self._model.fit(self._values, self._targets)
        coefficients, intercepts = self._model.coef_, self._model.intercept_
        if len(self._shown) == 2:  # one row that separates two classes, made one row a class
            coefficients = np.vstack([-coefficients, coefficients]) / 2
            intercepts = np.append(-intercepts, intercepts) / 2
        weight[self._shown] = coefficients / self._scale
        bias[self._shown] = intercepts - weight[self._shown] @ self._mean
        return weight, bias

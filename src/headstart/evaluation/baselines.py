"""What costs nothing: models that a pretrained network must beat to be worth deploying.

Each learns from the train split and answers the test split with class indices, `(test,)`.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SIDE = 16  # images are averaged down to at most this many cells a side
TERMS = 20_000  # the most frequent words and pairs of words


def majority(targets: NDArray[np.int64], examples: int) -> NDArray[np.int64]:
    """Always the commonest train class; of equally common ones the first."""
    return np.full(examples, np.bincount(targets).argmax(), dtype=np.int64)


def tfidf_logistic(
    train: Sequence[str], targets: NDArray[np.int64], test: Sequence[str], *, strength: float, iterations: int
) -> NDArray[np.int64]:
    """Words and pairs of words, weighted by rarity, into logistic regression.

    Args:
        train: texts.
        targets: their classes.
        test: texts to answer.
        strength: inverse of the regularisation.
        iterations: at most; one that is cut off answers all the same.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    # any run of letters and digits is a word, so that no set of texts is without one; an empty text is all zeros
    terms = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TERMS, token_pattern=r"\w+|[^\w\s]")
    return _logistic("saga", terms.fit_transform(train), targets, terms.transform(test), strength, iterations)


def pixels_logistic(
    train: NDArray[np.float32],
    targets: NDArray[np.int64],
    test: NDArray[np.float32],
    *,
    strength: float,
    iterations: int,
) -> NDArray[np.int64]:
    """Pixels as they enter the network, averaged down by `thumbnail`, standardised, into logistic regression.

    Args:
        train: `(examples, numbers)`.
        targets: their classes.
        test: `(test, numbers)`.
        strength: inverse of the regularisation.
        iterations: at most; one that is cut off answers all the same.
    """
    middle = train.mean(axis=0, dtype=np.float64)
    spread = train.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0
    return _logistic("lbfgs", (train - middle) / spread, targets, (test - middle) / spread, strength, iterations)


def thumbnail(pixels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """`(channels, height, width)` averaged over a grid of at most 16 x 16 cells and flattened."""
    for axis in (1, 2):
        size = pixels.shape[axis]
        if size > SIDE:
            edges = np.arange(SIDE) * size // SIDE
            widths = np.diff(np.append(edges, size))
            shape = [1, 1, 1]
            shape[axis] = SIDE
            pixels = np.add.reduceat(pixels, edges, axis=axis) / widths.reshape(shape)
    return pixels.ravel().astype(np.float32)


def _logistic(
    solver: Literal["lbfgs", "saga"],
    train: Any,
    targets: NDArray[np.int64],
    test: Any,
    strength: float,
    iterations: int,
) -> NDArray[np.int64]:
    """Both solvers find the same model; `saga` is five times quicker on texts, `lbfgs` on dense numbers."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets)) == 1:
        return majority(targets, test.shape[0])
    model = LogisticRegression(C=strength, max_iter=iterations, solver=solver, random_state=0)  # saga's order of visits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `iterations` is meant to cut off
        model.fit(train, targets)
    return np.asarray(model.predict(test), dtype=np.int64)

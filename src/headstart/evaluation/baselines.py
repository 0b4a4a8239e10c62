"""What costs next to nothing: models that a pretrained network must beat to be worth deploying.

Each learns from the train split. Of the classical ones, at a few strengths each, the one that is best on validation
answers the test split: a network that beats a badly tuned rival has shown nothing.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 16  # images are averaged down to at most this many cells a side
TERMS = 50_000  # the most frequent words and pairs of words, or pieces of words
CHARACTERS = 2_000_000  # of all texts together: where there are more, pieces of words are left out, which take minutes
ROWS = 50_000  # of train, at most, evenly spaced
EDGES, CELLS, DIRECTIONS = 32, 6, 9  # gradients: pixels a side, cells a side, bins from 0 to 180 degrees
ITERATIONS = 300  # at most; a model that is cut off answers all the same
TEXT_STRENGTHS = (1.0, 0.3, 3.0)  # of a support vector machine; of equally good ones the first
IMAGE_STRENGTHS = (0.01, 0.001, 0.1)  # of logistic regression on standardised numbers


@dataclass(frozen=True)
class Tried:
    """One model: its name, the inverse of its regularisation, and its accuracy on validation (None: no example)."""

    name: str
    strength: float
    validation: float | None


@dataclass(frozen=True)
class Classical:
    """The best of those tried, and what it answers to the test split, class indices `(test,)`."""

    best: Tried
    tried: tuple[Tried, ...]
    answers: NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """The splits as numbers for models of one name, dense or sparse, `(examples, numbers)`; None where one is empty."""

    name: str
    train: Any
    validation: Any
    test: Any


def majority(shares: NDArray[np.float64], examples: int) -> NDArray[np.int64]:
    """Always the commonest class; of equally common ones the first."""
    return np.full(examples, shares.argmax(), dtype=np.int64)


def of_texts(
    splits: tuple[Sequence[str], Sequence[str], Sequence[str]],
    targets: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Classical:
    """Words and pairs of words, or pieces of words, weighted by rarity, into a linear support vector machine.

    Source: Wang and Manning 2012 (ACL, P12-2018), for how strong it is on short texts.

    Args:
        splits: texts of train, validation and test.
        targets: classes of train and validation.
    """
    from sklearn.svm import LinearSVC

    train, validation, test = splits
    learned, classes = _at_most(train, targets[0])
    given = _text_features(learned, validation, test)
    return _best(
        given,
        (classes, targets[1]),
        list(TEXT_STRENGTHS),
        lambda one: LinearSVC(C=one, max_iter=ITERATIONS, random_state=0),  # the order in which it visits examples
    )


def of_images(
    splits: tuple[Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]]],
    targets: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Classical:
    """Pixels, or histograms of gradients, standardised, into logistic regression.

    Args:
        splits: of train, validation and test, what `numbers` makes of each image.
        targets: classes of train and validation.
    """
    from sklearn.linear_model import LogisticRegression

    train, validation, test = splits
    learned, classes = _at_most(train, targets[0])
    given = _image_features(*(np.stack(part) if len(part) else None for part in (learned, validation, test)))
    return _best(
        given,
        (classes, targets[1]),
        list(IMAGE_STRENGTHS),
        lambda one: LogisticRegression(C=one, max_iter=ITERATIONS),
    )


def numbers(pixels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Of one image as it enters the network, `(channels, height, width)`: its gradients, then its thumbnail."""
    return np.concatenate([gradients(pixels), thumbnail(pixels)])


def thumbnail(pixels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """`(channels, height, width)` averaged over a grid of at most 16 x 16 cells and flattened."""
    return _averaged(pixels, SIDE).ravel().astype(np.float32)


def gradients(pixels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """How strongly the mean of all channels changes in which direction, cell by cell: `(900,)`.

    Averaged down to at most 32 pixels a side; 6 x 6 cells of 9 directions, direction and its opposite counted as one;
    four neighbouring cells are divided by their length together, so that contrast does not matter.
    Source: Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177.
    """
    grey = _averaged(pixels, EDGES).mean(axis=0, dtype=np.float64)
    height, width = grey.shape
    down = np.gradient(grey, axis=0) if height > 1 else np.zeros_like(grey)
    across = np.gradient(grey, axis=1) if width > 1 else np.zeros_like(grey)
    turn = (np.arctan2(down, across) % np.pi) * DIRECTIONS / np.pi
    bin_, strength = np.floor(turn).astype(np.int64), np.hypot(down, across)
    upper = turn - bin_  # an edge between two directions counts towards both
    cell = (np.arange(height) * CELLS // height)[:, None] * CELLS + np.arange(width) * CELLS // width
    size = CELLS * CELLS * DIRECTIONS
    votes = np.zeros(size)
    for shift, share in ((0, 1 - upper), (1, upper)):
        at = cell * DIRECTIONS + (bin_ + shift) % DIRECTIONS
        votes += np.bincount(at.ravel(), (strength * share).ravel(), size)
    cells = votes.reshape(CELLS, CELLS, DIRECTIONS)
    blocks = np.concatenate([cells[:-1, :-1], cells[1:, :-1], cells[:-1, 1:], cells[1:, 1:]], axis=-1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 1e-3  # of a flat block nothing is made
    return blocks.ravel().astype(np.float32)


def _averaged(pixels: NDArray[np.floating[Any]], side: int) -> NDArray[np.floating[Any]]:
    for axis in (1, 2):
        size = pixels.shape[axis]
        if size > side:
            edges = np.arange(side) * size // side
            widths = np.diff(np.append(edges, size))
            shape = [1, 1, 1]
            shape[axis] = side
            pixels = np.add.reduceat(pixels, edges, axis=axis) / widths.reshape(shape)
    return pixels


def _text_features(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Iterator[Features]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # any run of letters and digits is a word, so that no set of texts is without one; an empty text is all zeros
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TERMS, token_pattern=r"\w+|[^\w\s]")
    yield _weighted("words_svm", words, train, validation, test)
    if 0 < sum(map(len, (*train, *validation, *test))) <= CHARACTERS and any(text.strip() for text in train):
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=TERMS)
        yield _weighted("characters_svm", pieces, train, validation, test)


def _weighted(name: str, terms: Any, train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Features:
    learned = terms.fit_transform(train)
    return Features(name, learned, *(terms.transform(one) if len(one) else None for one in (validation, test)))


def _image_features(train: Any, validation: Any, test: Any) -> Iterator[Features]:
    edges = (CELLS - 1) ** 2 * 4 * DIRECTIONS
    for name, part in (("pixels_logistic", slice(edges, None)), ("gradients_logistic", slice(0, edges))):
        middle = train[:, part].mean(axis=0, dtype=np.float64)
        spread = train[:, part].std(axis=0, dtype=np.float64)
        spread[spread < 1e-9] = 1.0
        yield Features(name, *(None if one is None else (one[:, part] - middle) / spread
                               for one in (train, validation, test)))  # fmt: skip


def _best(
    given: Iterator[Features],
    targets: tuple[NDArray[np.int64], NDArray[np.int64]],
    strengths: list[float],
    make: Callable[[float], Any],
) -> Classical:
    """Every kind of features at every strength; of those that are best on validation the first."""
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning

    train, validation = targets
    if len(np.unique(train)) == 1:  # no classifier learns from one class
        make, strengths = lambda _: DummyClassifier(strategy="most_frequent"), strengths[:1]
    found: list[tuple[Tried, NDArray[np.int64]]] = []
    for features in given:
        for strength in strengths:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # `ITERATIONS` is meant to cut off
                model = make(strength).fit(features.train, train)
            right = float((model.predict(features.validation) == validation).mean()) if len(validation) else None
            answers = np.asarray(model.predict(features.test), dtype=np.int64)
            found.append((Tried(features.name, strength, right), answers))
    best, answers = max(found, key=lambda one: one[0].validation or 0.0)
    return Classical(best, tuple(tried for tried, _ in found), answers)


def _at_most(rows: Sequence[Any], targets: NDArray[np.int64]) -> tuple[Sequence[Any], NDArray[np.int64]]:
    if len(rows) <= ROWS:
        return rows, targets
    chosen = np.arange(ROWS) * len(rows) // ROWS
    return [rows[row] for row in chosen.tolist()], targets[chosen]

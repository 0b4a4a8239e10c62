"""The profile: what answers to reference data looked like, for monitors to compare live traffic with.

profile.json       classes, how many examples, how often each class was predicted, true, and taken for which other
                   (`confusion`: true class, predicted class, count; those that came), accuracy: of all
profile.parquet    a sample of the examples: label, predicted, confidence, probabilities (one a class, in the order of
                   `classes`), features of at most `FEATURED` of them (float16), `property/<name>` for each property;
                   above `MANY` classes the `LARGEST_KEPT` largest probabilities, and in `top` of which classes

Format 2 has neither confusion nor features, format 1 has no probabilities either. They are read, and monitors then
can't tell a shift of the classes' shares from others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.contract import documents
from headstart.errors import BundleError, DataError

FORMAT = 3
SEED = 19  # of which answers are kept one by one
READABLE = (1, 2, 3)
FEATURED = 2_000  # rows whose features are kept: 1.5 MB of 384 numbers each
MANY, LARGEST_KEPT = 200, 20
LARGEST = float(np.finfo(np.float16).max)
DOCUMENT = "profile.json"
TABLE = "profile.parquet"
PROPERTY = "property/"


class Answer(Protocol):
    """What a prediction must have to be profiled."""

    @property
    def label(self) -> str: ...

    @property
    def probability(self) -> float: ...

    @property
    def probabilities(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Features:
    """What a network computed before its head, of some of the rows of a profile or a window.

    Attributes:
        rows: places of the rows, ascending.
        values: `(len(rows), width)`.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float16]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Of those of `rows` that have any, in the order of `rows`."""
        kept = rows[np.isin(rows, self.rows)]
        return self.values[np.searchsorted(self.rows, kept)]


@dataclass(frozen=True)
class Profile:
    """Reference answers: counts over all `n` examples, columns over a sample of them, in one order.

    Attributes:
        classes: every class the model knows, in its order.
        n: how many examples were counted.
        predicted_counts: how often each class was predicted; classes never predicted are in it with 0.
        label_counts: how often each class was true; likewise.
        accuracy: share of the `n` predicted right.
        labels: of the sample: the true classes.
        predicted: of the sample: the predicted classes.
        confidence: of the sample: the probability of the predicted class.
        properties: of the sample: input properties by name.
        probabilities: of the sample: `(rows, classes)`, as `kept` makes them; None in a profile of format 1.
        features: of at most `FEATURED` rows of the sample; None in a profile of format 1 or 2.
        confusion: how often each true class was predicted as each, `(classes, classes)`, in their order; None likewise.
    """

    classes: tuple[str, ...]
    n: int
    predicted_counts: Mapping[str, int]
    label_counts: Mapping[str, int]
    accuracy: float
    labels: Sequence[str]
    predicted: Sequence[str]
    confidence: NDArray[np.float64]
    properties: Mapping[str, NDArray[np.float64]]
    probabilities: NDArray[np.float32] | None = None
    features: Features | None = None
    confusion: NDArray[np.int64] | None = None


def kept(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Probabilities as a profile keeps them: above `MANY` classes, all but the largest of a row share what is left.

    What is compared with a profile goes through this first. Shares of classes by expectation maximisation are as good
    as from all probabilities: of 300 made classes, with 4% left for the others, their errors differ by 0.005 in 0.4.

    Args:
        probabilities: `(rows, classes)`; each row sums to 1.
    """
    classes = probabilities.shape[1]
    if classes <= MANY:
        return probabilities
    places = _largest(probabilities)
    return _spread(places, np.take_along_axis(probabilities, places, axis=1), classes)


def build(
    predictions: Sequence[Answer],
    labels: Sequence[str],
    properties: Sequence[Mapping[str, float]],
    classes: Sequence[str],
    *,
    features: NDArray[np.floating[Any]],
    seed: int,
    rows: int,
) -> Profile:
    """The profile of a model's answers to reference data.

    Args:
        predictions: one an example.
        labels: the true class of each example.
        properties: the input properties of each example, all with the same names.
        classes: every class the model knows, in its order.
        features: what the network computed of each example before its head, `(examples, width)`.
        seed: of the sample.
        rows: the sample's size; every example where there are no more.

    Raises:
        DataError: if there is no example, the lengths differ, a class is unknown, or names of properties differ.
    """
    n = len(labels)
    if n == 0 or {len(predictions), len(properties), len(features)} != {n}:
        raise DataError(
            f"a profile needs as many predictions as labels, properties and features, at least one; "
            f"got {len(predictions)}, {n}, {len(properties)} and {len(features)}."
        )
    guesses = [prediction.label for prediction in predictions]
    if unknown := sorted({*labels, *guesses} - set(classes)):
        raise DataError(f"label {unknown[0]!r} is not one of {len(classes)} classes.")
    names = sorted(properties[0])
    if odd := next((row for row, values in enumerate(properties) if sorted(values) != names), None):
        raise DataError(f"example {odd} has the properties {sorted(properties[odd])}, example 0 has {names}.")
    order = np.random.default_rng(seed).permutation(n)[:rows]
    sample, featured = np.sort(order), np.sort(order[:FEATURED])
    return Profile(
        classes=tuple(classes),
        n=n,
        predicted_counts=_counts(guesses, classes),
        label_counts=_counts(labels, classes),
        accuracy=sum(guess == label for guess, label in zip(guesses, labels, strict=True)) / n,
        labels=[labels[row] for row in sample],
        predicted=[guesses[row] for row in sample],
        confidence=np.array([predictions[row].probability for row in sample], dtype=np.float64),
        properties={name: np.array([properties[row][name] for row in sample], dtype=np.float64) for name in names},
        probabilities=kept(np.array([predictions[row].probabilities for row in sample], dtype=np.float32)),
        features=Features(
            np.searchsorted(sample, featured), np.clip(features[featured], -LARGEST, LARGEST).astype(np.float16)
        ),
        confusion=_confusion(labels, guesses, classes),
    )


def write(folder: Path, profile: Profile) -> None:
    """Write both files into `folder`, each whole or not at all; the same profile gives the same bytes."""
    columns = {"label": pa.array(profile.labels, pa.string()), "predicted": pa.array(profile.predicted, pa.string())}
    columns["confidence"] = pa.array(profile.confidence, pa.float64())
    if profile.probabilities is not None:
        written = profile.probabilities
        if len(profile.classes) > MANY:
            places = _largest(written)
            written = np.take_along_axis(written, places, axis=1)
            columns["top"] = pa.array(list(places), pa.list_(pa.int32()))
        columns["probabilities"] = pa.array(list(written), pa.list_(pa.float32()))
    if profile.features is not None:
        columns["features"] = _column(profile.features, len(profile.labels))
    for name in sorted(profile.properties):
        columns[PROPERTY + name] = pa.array(profile.properties[name], pa.float64())
    with artifacts.replaced(folder / TABLE) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    document: dict[str, Any] = {
        "format": 1 if profile.probabilities is None else 2 if profile.features is None else FORMAT,
        "classes": list(profile.classes),
        "n": profile.n,
        "predicted_counts": dict(profile.predicted_counts),
        "label_counts": dict(profile.label_counts),
        "accuracy": profile.accuracy,
    }
    if profile.confusion is not None:
        document["confusion"] = [
            [profile.classes[true], profile.classes[guess], int(profile.confusion[true, guess])]
            for true, guess in np.argwhere(profile.confusion).tolist()
        ]
    artifacts.write_json(folder / DOCUMENT, document)


def read(folder: Path) -> Profile:
    """The profile that `write` wrote into `folder`.

    Raises:
        BundleError: if a file is absent, unreadable, or of another format.
    """
    document = documents.read(folder / DOCUMENT)
    documents.check_format(document, READABLE, str(folder / DOCUMENT))
    try:
        table = pq.read_table(folder / TABLE)
        names = [name for name in table.column_names if name.startswith(PROPERTY)]
        return Profile(
            classes=tuple(document["classes"]),
            n=int(document["n"]),
            predicted_counts=document["predicted_counts"],
            label_counts=document["label_counts"],
            accuracy=float(document["accuracy"]),
            labels=table["label"].to_pylist(),
            predicted=table["predicted"].to_pylist(),
            confidence=_floats(table, "confidence"),
            properties={name.removeprefix(PROPERTY): _floats(table, name) for name in names},
            probabilities=_probabilities(table, classes=len(document["classes"])),
            features=_features(table),
            confusion=_counted(document["confusion"], document["classes"]) if "confusion" in document else None,
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the profile in {folder} cannot be read: {error}.", action=documents.REBUILD) from error


def _counts(values: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    counted = Counter(values)
    return {name: counted[name] for name in classes}


def _floats(table: Any, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _probabilities(table: Any, *, classes: int) -> NDArray[np.float32] | None:
    """The column `probabilities` as `(rows, classes)`.

    Raises:
        ValueError: if a row has not one for each class.
    """
    if "probabilities" not in table.column_names:
        return None
    flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    if "top" not in table.column_names:
        return np.asarray(flat, dtype=np.float32).reshape(table.num_rows, classes)
    places = table["top"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, LARGEST_KEPT)
    return _spread(places, flat.reshape(places.shape), classes).astype(np.float32)


def _largest(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Places of the largest probabilities of each row, largest first; of equal ones the first."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :LARGEST_KEPT].astype(np.int32)


def _spread(
    places: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]], classes: int
) -> NDArray[np.floating[Any]]:
    """All probabilities of rows of which only those at `places` are known; the others share the rest equally."""
    rest = np.maximum(1.0 - values.sum(axis=1, dtype=np.float64), 0.0) / (classes - places.shape[1])
    whole = np.repeat(rest.astype(values.dtype)[:, None], classes, axis=1)
    np.put_along_axis(whole, places.astype(np.int64), values, axis=1)
    return whole


def _column(features: Features, rows: int) -> pa.ListArray:
    """Features as a column of lists, null in the rows that have none."""
    absent = np.ones(rows, dtype=bool)
    absent[features.rows] = False
    offsets = np.concatenate([[0], np.cumsum(~absent)]) * features.values.shape[1]
    values = pa.array(features.values.ravel())
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, mask=pa.array(absent))


def _features(table: Any) -> Features | None:
    if "features" not in table.column_names:
        return None
    column = table["features"].combine_chunks()
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return Features(rows, column.flatten().to_numpy().reshape(len(rows), -1)) if len(rows) else None


def _confusion(labels: Sequence[str], guesses: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    counted = Counter(zip(labels, guesses, strict=True))
    return _counted([(true, guess, count) for (true, guess), count in counted.items()], classes)


def _counted(entries: Iterable[Sequence[Any]], classes: Sequence[str]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for true, guess, count in entries:
        matrix[place[true], place[guess]] = count
    return matrix

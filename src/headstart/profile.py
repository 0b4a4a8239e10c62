"""The profile: what answers to reference data looked like, for monitors to compare live traffic with.

profile.json       classes, how many examples, how often each class was predicted and true, accuracy: of all
profile.parquet    a sample of the examples: label, predicted, confidence, probabilities (one a class, in the order of
                   `classes`), and `property/<name>` for each property

Format 1 has no probabilities; it is read, and monitors then can't tell a shift of the classes' shares from others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
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

FORMAT = 2
READABLE = (1, 2)
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
        probabilities: of the sample: `(rows, classes)`; None in a profile of format 1.
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


def build(
    predictions: Sequence[Answer],
    labels: Sequence[str],
    properties: Sequence[Mapping[str, float]],
    classes: Sequence[str],
    *,
    seed: int,
    rows: int,
) -> Profile:
    """The profile of a model's answers to reference data.

    Args:
        predictions: one an example.
        labels: the true class of each example.
        properties: the input properties of each example, all with the same names.
        classes: every class the model knows, in its order.
        seed: of the sample.
        rows: the sample's size; every example where there are no more.

    Raises:
        DataError: if there is no example, the lengths differ, a class is unknown, or names of properties differ.
    """
    n = len(labels)
    if n == 0 or len(predictions) != n or len(properties) != n:
        raise DataError(
            f"a profile needs as many predictions as labels and properties, at least one; "
            f"got {len(predictions)}, {n} and {len(properties)}."
        )
    guesses = [prediction.label for prediction in predictions]
    if unknown := sorted({*labels, *guesses} - set(classes)):
        raise DataError(f"label {unknown[0]!r} is not one of {len(classes)} classes.")
    names = sorted(properties[0])
    if odd := next((row for row, values in enumerate(properties) if sorted(values) != names), None):
        raise DataError(f"example {odd} has the properties {sorted(properties[odd])}, example 0 has {names}.")
    kept = np.sort(np.random.default_rng(seed).permutation(n)[:rows])
    return Profile(
        classes=tuple(classes),
        n=n,
        predicted_counts=_counts(guesses, classes),
        label_counts=_counts(labels, classes),
        accuracy=sum(guess == label for guess, label in zip(guesses, labels, strict=True)) / n,
        labels=[labels[row] for row in kept],
        predicted=[guesses[row] for row in kept],
        confidence=np.array([predictions[row].probability for row in kept], dtype=np.float64),
        properties={name: np.array([properties[row][name] for row in kept], dtype=np.float64) for name in names},
        probabilities=np.array([predictions[row].probabilities for row in kept], dtype=np.float32),
    )


def write(folder: Path, profile: Profile) -> None:
    """Write both files into `folder`, each whole or not at all; the same profile gives the same bytes."""
    columns = {"label": pa.array(profile.labels, pa.string()), "predicted": pa.array(profile.predicted, pa.string())}
    columns["confidence"] = pa.array(profile.confidence, pa.float64())
    if profile.probabilities is not None:
        columns["probabilities"] = pa.array(list(profile.probabilities), pa.list_(pa.float32()))
    for name in sorted(profile.properties):
        columns[PROPERTY + name] = pa.array(profile.properties[name], pa.float64())
    with artifacts.replaced(folder / TABLE) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    document = {
        "format": FORMAT if profile.probabilities is not None else 1,
        "classes": list(profile.classes),
        "n": profile.n,
        "predicted_counts": dict(profile.predicted_counts),
        "label_counts": dict(profile.label_counts),
        "accuracy": profile.accuracy,
    }
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
    return np.asarray(flat, dtype=np.float32).reshape(table.num_rows, classes)

"""Golden examples: raw inputs with the answers expected of them, replayed wherever the bundle goes.

`golden.parquet` has the columns `id`, `text` or `image` (raw), `label` (the label answered, which is not always the
true one) and `probabilities` (in the order of the contract's labels).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.data.dataset import Dataset
from headstart.determinism import digest
from headstart.errors import BundleError
from headstart.params.section import Modality
from headstart.predictor import Prediction, Predictor

FORMAT = 1
GOLDEN = "golden.parquet"
KEPT = 16
SPARE = 4  # times as many examples are looked at as are kept
MARGIN = 0.02  # of probability; what processors round differently is below a hundredth of that


@dataclass(frozen=True)
class Golden:
    """Raw inputs and expected answers.

    Attributes:
        modality: of the inputs.
        ids: one an example.
        inputs: `str` or encoded `bytes`.
        labels: the labels answered.
        probabilities: `(examples, classes)`.
    """

    modality: Modality
    ids: Sequence[str]
    inputs: Sequence[Any]
    labels: Sequence[str]
    probabilities: NDArray[np.float64]


def choose(dataset: Dataset, n: int) -> Dataset:
    """Up to `n` examples, spread over the classes as evenly as they allow; the same whatever the order of the data."""
    by_class: dict[str, list[int]] = {}
    for row in sorted(range(len(dataset)), key=lambda row: digest(dataset.ids[row])):
        by_class.setdefault(dataset.labels[row], []).append(row)
    order = sorted(by_class, key=digest)
    turns = zip_longest(*(by_class[label] for label in order))
    rows = [row for turn in turns for row in turn if row is not None]
    return dataset.select(rows[:n])


def clear(predictions: Sequence[Prediction], n: int) -> list[int]:
    """The first `n` predictions whose label stands clear of the next, in order; closer ones only where those are few.

    A near tie may fall the other way on another processor, and a golden answer that does takes a model out of service.
    """

    def margin(prediction: Prediction) -> float:
        first, second = sorted(prediction.probabilities)[:-3:-1]
        return first - second

    order = sorted(range(len(predictions)), key=lambda row: margin(predictions[row]) < MARGIN)
    return sorted(order[:n])


def write(folder: Path, dataset: Dataset, predictions: Sequence[Prediction]) -> Path:
    """Write `golden.parquet` into `folder`: the inputs of `dataset` and what was answered to them.

    Raises:
        BundleError: if there is not one prediction for each example, or none at all.
    """
    if len(predictions) != len(dataset) or not predictions:
        raise BundleError(
            f"{len(predictions)} answers to {len(dataset)} golden examples; one each, and at least one, was expected."
        )
    kind = pa.string() if dataset.modality == "text" else pa.binary()
    table = pa.table(
        {
            "id": pa.array(list(dataset.ids), pa.string()),
            dataset.modality: pa.array(list(dataset.inputs), kind),
            "label": pa.array([prediction.label for prediction in predictions], pa.string()),
            "probabilities": pa.array(
                [list(prediction.probabilities) for prediction in predictions], pa.list_(pa.float64())
            ),
        }
    )
    with artifacts.replaced(folder / GOLDEN) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return folder / GOLDEN


def read(folder: Path) -> Golden:
    """The golden examples that `write` wrote.

    Raises:
        BundleError: if the file is absent, empty or has other columns.
    """
    path = folder / GOLDEN
    if not path.is_file():
        raise BundleError(f"{path} does not exist.", action="Build the model again: headstart run.")
    table = pq.read_table(path)
    modality: Modality = "text" if "text" in table.column_names else "image"
    expected = {"id", modality, "label", "probabilities"}
    if set(table.column_names) != expected or not table.num_rows:
        raise BundleError(
            f"{path} has {table.num_rows} rows and the columns {table.column_names}; "
            f"at least one row and {sorted(expected)} were expected.",
            action="Build the model again: headstart run.",
        )
    ids, inputs, labels, probabilities = (
        table[name].to_pylist() for name in ("id", modality, "label", "probabilities")
    )
    return Golden(modality, ids, inputs, labels, np.array(probabilities, dtype=np.float64))


def replay(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Ask the golden examples again; see `compare`.

    Raises:
        BundleError: if the expected answers are for another number of classes.
    """
    golden = read(folder)
    if golden.probabilities.shape[1] != len(predictor.labels):
        raise BundleError(
            f"{folder / GOLDEN} has {golden.probabilities.shape[1]} probabilities an example; "
            f"the model answers with {len(predictor.labels)}.",
            action="Build the model again: headstart run.",
        )
    return compare(golden, predictor.predict)


def compare(golden: Golden, answer: Callable[[Sequence[Any]], Sequence[Prediction]]) -> dict[str, Any]:
    """Hold answers against the expected ones, all together and each alone; the worse of the two counts.

    An answer that depends on its neighbours in the batch (padding that is not masked, BatchNorm left in training)
    differs here, and so does one from other library versions or another processor.

    Args:
        golden: the examples.
        answer: one prediction an input, with as many probabilities as `golden` has.

    Returns:
        `format`, `examples`, `max_difference` of one probability (None if one is not a number), `label_flips`:
        examples with another label.
    """
    together = answer(golden.inputs)
    alone = [answer([single])[0] for single in golden.inputs]
    arrived = np.array([[each.probabilities for each in answers] for answers in (together, alone)])
    difference = float(np.abs(arrived - golden.probabilities).max())  # NaN if any answer is
    flips = sum(
        first.label != label or second.label != label
        for first, second, label in zip(together, alone, golden.labels, strict=True)
    )
    return {
        "format": FORMAT,
        "examples": len(golden.ids),
        "max_difference": difference if math.isfinite(difference) else None,
        "label_flips": flips,
    }

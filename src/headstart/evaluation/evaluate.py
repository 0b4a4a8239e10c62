"""Measure the exported file on the test split, beside what costs next to nothing.

validation ──► temperature, class biases ──► calibration.json
test ────────► predictions ──► predictions.parquet
                    └────────► evaluation.json   metrics with intervals, per class, confusion, baselines, mistakes

Where production sees other class shares than the test split, the classifier's prior is set to them, and metrics are of
test rows in which the classes come in these shares. `shares` is None elsewhere, and here {`values` by class, `origin`,
`source`, `overrules`, `correction`: what was added to each class's log-odds, `rows` of `of` test rows, `short`: classes
that lack a row or more}.

`near_copies` holds accuracy without test rows that have near copies in train, `guessing` what the class shares of train
cost, `tried` the classical models and their accuracy on validation: the best of them is the baseline.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import artifacts
from headstart.bundle import CALIBRATION, Calibration
from headstart.data import dataset as datasets
from headstart.data.cures import Prior
from headstart.data.dataset import SPLITS, Dataset
from headstart.errors import DataError
from headstart.evaluation import baselines, calibration, metrics, scores
from headstart.evaluation.baselines import Classical
from headstart.params.evaluation import Evaluate
from headstart.predictor import Predictor
from headstart.progress import bar
from headstart.statistics import bootstrap, class_shares, cluster_robust, paired
from headstart.statistics.bootstrap import Sampling

FORMAT = 4
"""3 called `cluster_robust` of a comparison `scatter`; 2 had no `shares`; 1 had one classical model of one strength,
and neither `guessing` nor groups by class."""
EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.parquet"
NEAR_LEAK = "near_leak.json"  # of `prepare`: test rows with near copies in other splits
CHUNK = 512  # examples between two moves of the progress bar
MISTAKES = 24


@dataclass(frozen=True)
class Answers:
    """Probabilities for one split, beside the truth."""

    dataset: Dataset
    classes: Sequence[str]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)


def evaluate(
    predictor: Predictor, data: Path, params: Evaluate, out: Path, *, prior: Prior | None = None
) -> dict[str, Any]:
    """Write `calibration.json`, `predictions.parquet` and `evaluation.json` into `out`.

    Args:
        predictor: of the exported file; its own calibration is not used, as it is made here.
        data: what the stage `prepare` wrote: `train.parquet`, `validation.parquet`, `test.parquet`.
        params: modality and level of the intervals.
        out: the folder to write into.
        prior: the class shares that production sees; metrics are then of test rows in which the classes come in these
            shares. None where validation shows them.

    Returns:
        The document `evaluation.json`.

    Raises:
        DataError: if the test split is empty, or a label is not one of the predictor's.
    """
    sampling = Sampling(params.level)
    splits = {name: datasets.read(data / f"{name}.parquet") for name in SPLITS}
    if not len(splits["test"]):
        raise DataError(f"{data / 'test.parquet'} holds no example.", action="Raise prepare.split.test, or add data.")
    classes = predictor.labels
    about: dict[str, Any] | None = None
    if prior is not None:
        splits["test"], choice = at_shares(splits["test"], prior.shares)
        about = {**prior.document(), **choice}
    targets = {name: split.targets(classes) for name, split in splits.items()}
    logits = {name: _logits(predictor, splits[name], name) for name in ("validation", "test")}
    fitted = calibration.fit(logits["validation"], targets["validation"], splits["validation"].groups)
    guess = np.bincount(targets["train"], minlength=len(classes)) / len(targets["train"])
    if prior is not None and about is not None:
        moved = calibration.correction(fitted, logits["validation"], classes, prior.shares)
        about["correction"] = dict(zip(classes, moved.tolist(), strict=True))
        fitted = calibration.for_shares(fitted, logits["validation"], classes, prior.shares)
        guess = np.maximum([prior.shares[name] for name in classes], calibration.RAREST)  # whoever guesses knows them
        guess /= guess.sum()
    raw = Calibration.identity(len(classes)).apply(logits["test"])
    answers = Answers(splits["test"], classes, targets["test"], fitted.apply(logits["test"]))
    with bar("baselines", "set", 1) as shown:
        classical = _classical(predictor, splits, targets, params)
        shown.update()
    rivals = {
        "majority": baselines.majority(guess, len(splits["test"])),
        classical.best.name: classical.answers,
    }
    document = {
        "format": FORMAT,
        "n": {name: len(split) for name, split in splits.items()},
        "shares": about,
        "groups": cluster_robust.count(splits["test"].groups),
        "classes": list(classes),
        **measure(answers, raw, sampling),
        "near_copies": _near_copies(answers, data / NEAR_LEAK, sampling),
        "guessing": _guessing(answers, guess, sampling),
        "baselines": {name: _rival(chosen, answers, sampling) for name, chosen in rivals.items()},
        "tried": [asdict(one) for one in classical.tried],
    }
    out.mkdir(parents=True, exist_ok=True)
    artifacts.write_json(out / CALIBRATION, fitted.document())
    _write_predictions(out / PREDICTIONS, answers, rivals)
    artifacts.write_json(out / EVALUATION, document)
    return document


def at_shares(test: Dataset, shares: Mapping[str, float]) -> tuple[Dataset, dict[str, Any]]:
    """The rows of a test split in which classes come in these shares, and what there is to say about the choice.

    Raises:
        DataError: if no class that should come has a test row.
    """
    try:
        rows = class_shares.choose(test.labels, shares)
    except ValueError as error:
        raise DataError(
            "no class that production is said to see has a test row.",
            action="Mend data.expected_shares, or take the cure back: headstart remedy NAME none.",
        ) from error
    there = class_shares.reached(test.labels, rows, list(shares))
    short = [name for name, share in shares.items() if len(rows) * (share - there[name]) >= 1]
    return test.select(rows.tolist()), {"rows": len(rows), "of": len(test), "short": short}


def measure(answers: Answers, uncalibrated: NDArray[np.float64], sampling: Sampling) -> dict[str, Any]:
    """The parts of `evaluation.json` that need no model: metrics, per class, confusion, reliability, mistakes.

    Args:
        answers: calibrated, on the test split.
        uncalibrated: `(examples, classes)` probabilities of the same answers at temperature 1.
        sampling: of the bootstrap.
    """
    how: dict[str, Any] = {"bins": metrics.BINS, "sampling": sampling, "groups": answers.dataset.groups}
    found = scores.score(answers.probabilities, answers.targets, **how)
    before = scores.probabilistic(uncalibrated, answers.targets, **how)
    table = metrics.confusion(answers.predicted, answers.targets, len(answers.classes))
    return {
        "metrics": {name: interval.document() for name, interval in found.items()},
        "uncalibrated": {name: interval.document() for name, interval in before.items()},
        "per_class": [
            {"label": label, **row, "groups": cluster_robust.count(_of(answers, place))}
            for place, (label, row) in enumerate(zip(answers.classes, metrics.per_class(table), strict=True))
        ],
        "confusion": table.tolist(),
        "reliability": [dict(row) for row in metrics.reliability(answers.probabilities, answers.targets, metrics.BINS)],
        "mistakes": _mistakes(answers),
    }


def _of(answers: Answers, place: int) -> list[str | None] | None:
    """The groups of a class's test examples."""
    groups = answers.dataset.groups
    return None if groups is None else [groups[row] for row in np.flatnonzero(answers.targets == place).tolist()]


def _logits(predictor: Predictor, dataset: Dataset, name: str) -> NDArray[np.float32]:
    """`(examples, classes)` in the order of the data set."""
    parts = [np.zeros((0, len(predictor.labels)), dtype=np.float32)]
    with bar(f"answer {name}", "examples", len(dataset)) as shown:
        for start in range(0, len(dataset), CHUNK):
            parts.append(predictor.logits(dataset.inputs[start : start + CHUNK]))
            shown.update(len(parts[-1]))
    return np.concatenate(parts)


def _classical(
    predictor: Predictor, splits: dict[str, Dataset], targets: dict[str, NDArray[np.int64]], params: Evaluate
) -> Classical:
    """The best classical model on validation."""
    classes = (targets["train"], targets["validation"])
    inputs = [splits[name].inputs for name in SPLITS]
    if params.modality == "text":
        train, validation, test = inputs
        return baselines.of_texts((train, validation, test), classes)
    train, validation, test = ([*_numbers(predictor, one)] for one in inputs)
    return baselines.of_images((train, validation, test), classes)


def _numbers(predictor: Predictor, inputs: Sequence[bytes]) -> Iterator[NDArray[np.float32]]:
    """What a baseline sees of each image as it enters the network; few prepared images are in memory at once."""
    for start in range(0, len(inputs), CHUNK):
        for pixels in predictor.preprocessor.prepare(inputs[start : start + CHUNK]):
            yield baselines.numbers(pixels)


def _near_copies(answers: Answers, path: Path, sampling: Sampling) -> dict[str, Any] | None:
    """How many test rows have near copies in train, and accuracy and macro-F1 without them; None where unknown.

    What is remembered of a copy is no evidence of what the model does with a new input.
    """
    if not path.is_file():
        return None
    copied = {row["id"] for row in artifacts.read_json(path)["test"] if row["split"] == "train"}
    rest = np.array([identifier not in copied for identifier in answers.dataset.ids])
    groups = answers.dataset.groups
    kept = None if groups is None else [groups[row] for row in np.flatnonzero(rest).tolist()]
    found = (
        scores.labelled(answers.predicted[rest], answers.targets[rest], len(answers.classes), sampling, kept)
        if rest.any()
        else {}
    )
    without = {name: interval.document() for name, interval in found.items()}
    return {"rows": int((~rest).sum()), "without": without}


def _guessing(answers: Answers, shares: NDArray[np.float64], sampling: Sampling) -> dict[str, Any]:
    """Log loss of answering every test example with these class shares; `difference` is ours minus that."""
    guessed = metrics.surprise(np.tile(shares, (len(answers.targets), 1)), answers.targets)
    ours = metrics.surprise(answers.probabilities, answers.targets)
    most = -math.log(metrics.SMALLEST)
    how: dict[str, Any] = {**sampling.document(), "groups": answers.dataset.groups}
    return {
        "nll": bootstrap.interval(bootstrap.mean, guessed, **how, within=(0.0, most)).document(),
        "difference": bootstrap.interval(bootstrap.mean, ours - guessed, **how, within=(-most, most)).document(),
    }


def _rival(chosen: NDArray[np.int64], answers: Answers, sampling: Sampling) -> dict[str, Any]:
    """A baseline's metrics, and how often just one of the two is right; `difference` is ours minus the baseline's."""
    targets, groups = answers.targets, answers.dataset.groups
    found = scores.labelled(chosen, targets, len(answers.classes), sampling, groups)
    against = paired.difference(answers.predicted == targets, chosen == targets, sampling.level, groups)
    return {
        **{name: interval.document() for name, interval in found.items()},
        "paired": against.counts(),
        "difference": against.interval.document(),
    }


def _mistakes(answers: Answers) -> list[dict[str, Any]]:
    """Wrong answers, the most confident first."""
    predicted = answers.predicted
    confidence = answers.probabilities.max(axis=1)
    ids = answers.dataset.ids
    wrong: list[int] = np.flatnonzero(predicted != answers.targets).tolist()
    wrong.sort(key=lambda row: (-confidence[row], ids[row]))
    return [
        {
            "id": ids[row],
            "label": answers.classes[answers.targets[row]],
            "predicted": answers.classes[predicted[row]],
            "probability": float(confidence[row]),
        }
        for row in wrong[:MISTAKES]
    ]


def _write_predictions(path: Path, answers: Answers, rivals: dict[str, NDArray[np.int64]]) -> None:
    """One row a test example, in the order of the test split; `baseline/<name>` holds what that baseline answered."""
    names = np.array(answers.classes, dtype=object)
    columns = {
        "id": pa.array(list(answers.dataset.ids), pa.string()),
        "label": pa.array(list(answers.dataset.labels), pa.string()),
        "predicted": pa.array(names[answers.predicted], pa.string()),
        "probability": pa.array(answers.probabilities.max(axis=1), pa.float64()),
        "probabilities": pa.array(answers.probabilities.tolist(), pa.list_(pa.float64())),
        **{f"baseline/{name}": pa.array(names[chosen], pa.string()) for name, chosen in rivals.items()},
    }
    with artifacts.replaced(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")

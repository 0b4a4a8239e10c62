"""One window of rows answered: who can be answered is, and who cannot gets the contract's reason."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.contract.inputs import Item
from headstart.errors import ContractError
from headstart.predictor import Predictor
from headstart.scoring.reading import Window

BATCH = 32
"""Rows in one run of the network."""


def schema(labels: Sequence[str], *, probabilities: bool) -> pa.Schema:
    """The columns that `answer` gives."""
    each = pa.struct([(label, pa.float64()) for label in labels])
    return pa.schema(
        [
            ("predicted_label", pa.string()),
            ("probability", pa.float64()),
            *([("probabilities", each)] if probabilities else []),
            ("error", pa.string()),
            ("model_version", pa.int64()),
        ]
    )


def answer(
    predictor: Predictor, window: Window, *, folder: Path, version: int, probabilities: bool, batch_size: int = BATCH
) -> pa.Table:
    """A table of `schema` with a row for each row of the window, in its order.

    Texts are run in order of length over the whole window, so that little is padded; of pictures no more than a batch
    is decoded at once.

    Args:
        predictor: of the bundle.
        window: rows as they were read.
        folder: where paths of images start.
        version: of the model, for the column `model_version`.
        probabilities: also one probability a class.
        batch_size: rows in one run of the network.
    """
    reasons = {place: f"{window.names[place]} {problem}" for place, problem in window.problems.items()}
    waiting = [place for place in range(len(window.raw)) if place not in reasons]
    shares = np.full((len(window.raw), len(predictor.labels)), np.nan)
    at_once = batch_size if predictor.contract.modality == "image" else max(1, len(waiting))
    for first in range(0, len(waiting), at_once):
        items = _prepared(predictor, window, waiting[first : first + at_once], folder, reasons)
        order = sorted(items, key=lambda place: items[place].shape[0])
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            logits = predictor.run([items[place] for place in batch]).logits
            shares[batch] = predictor.probabilities(logits)
    return _table(predictor.labels, shares, reasons, version, probabilities)


def _prepared(
    predictor: Predictor, window: Window, places: list[int], folder: Path, reasons: dict[int, str]
) -> dict[int, Item]:
    """What the network takes, by place; why it takes the others not goes to `reasons`."""
    raw = {}
    for place in places:
        value = window.raw[place]
        try:
            raw[place] = picture(value, folder) if predictor.contract.modality == "image" else value
        except OSError as error:
            reasons[place] = f"{window.names[place]} names the image {value!r}, which cannot be read: {error.strerror}."
    try:
        return dict(zip(raw, predictor.preprocessor.prepare(list(raw.values())), strict=True))
    except ContractError:  # somebody in here: each alone
        pass
    items = {}
    for place, value in raw.items():
        try:
            (items[place],) = predictor.preprocessor.prepare([value])
        except ContractError as error:
            reasons[place] = f"{window.names[place]}{str(error).removeprefix('input 0')}"
    return items


def picture(value: Any, folder: Path) -> Any:
    """The bytes of an image that is given as bytes, {`bytes`, `path`} or a path; anything else as it is.

    Raises:
        OSError: if the file at the path cannot be read.
    """
    if isinstance(value, dict) and set(value) <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str) or not value:
        return value
    if "\0" in value:
        raise FileNotFoundError(2, "a path has no NUL")
    return (folder / value).read_bytes()


def _table(labels: Sequence[str], shares: Any, reasons: dict[int, str], version: int, probabilities: bool) -> pa.Table:
    count = len(shares)
    refused = np.array([place in reasons for place in range(count)], dtype=bool)
    best = np.where(refused, 0, np.nan_to_num(shares, nan=-1.0).argmax(axis=1)) if count else np.zeros(0, dtype=int)
    columns = [
        pa.array(np.array(labels, dtype=object)[best], pa.string(), mask=refused),
        pa.array(shares[np.arange(count), best], pa.float64(), mask=refused),
    ]
    if probabilities:
        each = [pa.array(shares[:, place], pa.float64()) for place in range(len(labels))]
        columns.append(pa.StructArray.from_arrays(each, names=list(labels), mask=pa.array(refused)))
    columns.append(pa.array([reasons.get(place) for place in range(count)], pa.string()))
    columns.append(pa.array(np.full(count, version), pa.int64()))
    return pa.table(columns, schema=schema(labels, probabilities=probabilities))

"""Things that stand in for others in tests: small, typed, with answers a person can work out."""

import hashlib
import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.bundle import Calibration
from headstart.contract import image, text
from headstart.contract.spec import Contract, ImageSpec, TextSpec
from headstart.evaluation.golden import Golden
from headstart.predictor import Outputs, Prediction

LABELS = ("zero", "one", "two")
TEXT = Contract("text", TextSpec(16, 1000, 0, "[PAD]", "right", hashlib.sha256(b"").hexdigest()), LABELS)
IMAGE = Contract(
    "image",
    ImageSpec("L", "stretch", 8, 8, None, "bilinear", None, 1 / 255, (0.0,), (1.0,), 1_000_000, 1_000_000),
    LABELS,
)


class FakePredictor:
    """Says class `length of the input modulo 3`, surely; checks inputs by the real contract.

    Attributes:
        seconds: a run takes.
        lengths: of the inputs of each batch that was run.
        broken: runs raise this.
    """

    def __init__(self, contract: Contract, *, seconds: float = 0.0) -> None:
        self.contract = contract
        self.preprocessor = self
        self.seconds = seconds
        self.lengths: list[list[int]] = []
        self.broken: Exception | None = None

    def examine(self, raw: Sequence[Any], *, first: int = 0) -> list[tuple[NDArray[Any], dict[str, float]]]:
        for index, value in enumerate(raw, first):
            if isinstance(self.contract.input, TextSpec):
                text.check(value, self.contract.input, index=index)
            else:
                image.decode(value, self.contract.input, index=index)
        return [(np.array([len(value)]), {"length": float(len(value))}) for value in raw]

    def run(self, items: Sequence[NDArray[Any]]) -> Outputs:
        time.sleep(self.seconds)
        if self.broken:
            raise self.broken
        self.lengths.append([int(item[0]) for item in items])
        logits = np.zeros((len(items), len(LABELS)), np.float32)
        for row, item in enumerate(items):
            logits[row, item[0] % len(LABELS)] = 20.0
        return Outputs(logits, np.ones((len(items), 2), np.float32), None)

    def predictions(self, logits: NDArray[np.floating[Any]]) -> list[Prediction]:
        shares = Calibration.identity(len(LABELS)).apply(logits)
        return [Prediction(LABELS[row.argmax()], float(row.max()), tuple(row.tolist())) for row in shares]


def golden_of(predictor: FakePredictor, *inputs: str | bytes) -> Golden:
    """Inputs with the answers that the predictor gives today."""
    items = [np.array([len(value)]) for value in inputs]
    seconds, predictor.seconds = predictor.seconds, 0.0
    answers = predictor.predictions(predictor.run(items)[0])
    predictor.seconds = seconds
    predictor.lengths.clear()
    shares = np.array([answer.probabilities for answer in answers])
    modality = predictor.contract.modality
    return Golden(modality, [str(n) for n in range(len(inputs))], inputs, [each.label for each in answers], shares)


class Clock:
    """A clock moved by hand."""

    def __init__(self, now: datetime = datetime(2026, 3, 2, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **step: float) -> None:
        self.now += timedelta(**step)


def png(width: int = 8, height: int = 8, level: int = 128) -> bytes:
    """A grey picture."""
    file = io.BytesIO()
    Image.new("L", (width, height), level).save(file, "PNG")
    return file.getvalue()

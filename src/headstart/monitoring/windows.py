"""What was answered in a stretch of time, as the detectors want it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.journal import reader

PROPERTY = "property/"


@dataclass(frozen=True)
class Window:
    """Answers of one model in `[start, end)`, oldest first.

    Attributes:
        start: aware.
        end: aware.
        version: of the model that answered; None where any version counts.
        predicted: the label of each answer.
        confidence: its probability, `(rows,)`.
        properties: input properties by name, `(rows,)` each; NaN where one could not be measured.
        truth: the label that came later; None where none came.
    """

    start: datetime
    end: datetime
    version: int | None
    predicted: Sequence[str]
    confidence: NDArray[np.float64]
    properties: Mapping[str, NDArray[np.float64]]
    truth: Sequence[str | None]

    @property
    def rows(self) -> int:
        return len(self.predicted)

    @property
    def labelled(self) -> int:
        return sum(label is not None for label in self.truth)

    @property
    def correct(self) -> int:
        """How many of the labelled answers were right."""
        return sum(label == guess for label, guess in zip(self.truth, self.predicted, strict=True) if label is not None)

    def document(self) -> dict[str, Any]:
        """Where the window lies and how much is in it."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "version": self.version,
            "rows": self.rows,
            "labelled": self.labelled,
        }


def select(journal: Path, *, end: datetime, minutes: float, version: int | None) -> Window:
    """The answers of the last `minutes` before `end`.

    Args:
        journal: the model's journal, `Workspace.journal(model)`.
        end: aware; the window's end, which is not in it.
        minutes: its length.
        version: answers of other versions are left out, since the reference is this version's; None takes all.

    Raises:
        DataError: if the journal cannot be read.
    """
    start = end - timedelta(minutes=minutes)
    answers = reader.read(journal, start=start, end=end)
    if version is not None:
        answers = answers.filter(np.asarray(answers["version"]) == version)
    answers = reader.with_truth(answers, reader.labels(journal))
    names = [name for name in answers.column_names if name.startswith(PROPERTY)]
    return Window(
        start=start,
        end=end,
        version=version,
        predicted=answers["label"].to_pylist(),
        confidence=_numbers(answers, "probability"),
        properties={name.removeprefix(PROPERTY): _numbers(answers, name) for name in names},
        truth=answers["truth"].to_pylist(),
    )


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)  # nulls become NaN

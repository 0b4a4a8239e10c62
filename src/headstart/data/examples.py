"""Rows as columns: all that checks go by. Payloads are left out and pass by in batches, so that millions fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data.dataset import SPLITS
from headstart.findings import Finding, Verdict

NAMED = 10
Reasons = dict[int, str]  # why a row is put aside, by its place
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """The labelled rows of a source in their order; arrays have one entry a row, and `place` is an index into them.

    Attributes:
        ids: strings, unique.
        numbers: each row's place in its own file, from 1, for messages.
        labels: indices into `classes`.
        classes: every label, sorted.
        splits: indices into `SPLITS`.
        contents: rows with equal payloads, and no others, share a number.
        groups: indices into `group_names`; -1 where a row has none.
        group_names: every group.
        times: ISO 8601 strings, null where a row has none.
        kept: which rows are still in.
    """

    ids: pa.Array
    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    classes: Sequence[str]
    splits: NDArray[np.int8]
    contents: NDArray[np.int64]
    groups: NDArray[np.int64]
    group_names: Sequence[str]
    times: pa.Array
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many rows came, those put aside included."""
        return len(self.kept)

    @property
    def at(self) -> Places:
        """Places of the rows still in, in order."""
        return np.flatnonzero(self.kept)

    def split(self, name: str) -> Places:
        """Places of the rows still in that stand in a split, in order."""
        return np.flatnonzero(self.kept & (self.splits == SPLITS.index(name)))

    def without(self, reasons: Mapping[int, str]) -> "Examples":
        """The same examples, with these rows out."""
        kept = self.kept.copy()
        kept[list(reasons)] = False
        return replace(self, kept=kept)

    def label(self, place: int) -> str:
        return str(self.classes[int(self.labels[place])])

    def named(self, place: int) -> str:
        """`source row 412 (train)`, for messages: a row's number is its place in its source, not in its split."""
        return f"source row {self.numbers[place]} ({SPLITS[self.splits[place]]})"

    def listed(self, places: Sequence[int] | Places, notes: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
        """The first ten rows as evidence, in plain JSON values; those with a note first, and with it."""
        noted = notes or {}
        first = sorted((int(place) for place in places), key=lambda place: place not in noted)[:NAMED]
        return [
            {
                "id": str(self.ids[place]),
                "split": SPLITS[self.splits[place]],
                "row": int(self.numbers[place]),
                "label": self.label(place),
                **({"note": noted[place]} if place in noted else {}),
            }
            for place in first
        ]

    def finding(
        self,
        check: str,
        verdict: Verdict,
        places: Sequence[int] | Places,
        notes: Mapping[int, str] | None = None,
        **evidence: Any,
    ) -> Finding:
        """A finding that counts rows and names the first ten of them, with what was noted of each."""
        rows = {"rows": self.listed(places, notes)}
        return Finding(check, verdict, float(len(places)), None, evidence=rows | evidence)

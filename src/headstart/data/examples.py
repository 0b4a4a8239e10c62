"""Labelled rows as columns of numbers: all that checks and comparisons of revisions go by.

Payloads are left out: they pass by once, in batches, so that millions fit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data import labels, raw, split
from headstart.data.dataset import SPLITS
from headstart.data.identity import content_key, content_number
from headstart.findings import Finding, Verdict
from headstart.params.prepare import Prepare
from headstart.progress import bar

NAMED = 10
Reasons = dict[int, dict[str, Any]]  # why a row is put aside, by its place: numbers, of which the check is the code
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
        given: the split that the source names, likewise; -1 where it names none.
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
    given: NDArray[np.int8]
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

    @property
    def carved(self) -> list[str]:
        """The splits that the source does not name."""
        return split.carved({SPLITS[code] for code in np.unique(self.given) if code >= 0})

    def split(self, name: str) -> Places:
        """Places of the rows still in that stand in a split, in order."""
        return np.flatnonzero(self.kept & (self.splits == SPLITS.index(name)))

    def without(self, reasons: Mapping[int, Any]) -> "Examples":
        """The same examples, with these rows out."""
        kept = self.kept.copy()
        kept[list(reasons)] = False
        return replace(self, kept=kept)

    def label(self, place: int) -> str:
        return str(self.classes[int(self.labels[place])])

    def named(self, place: int) -> dict[str, Any]:
        """A row as evidence: its number, which is its place in its source and not in its split, and its split."""
        return {"row": int(self.numbers[place]), "split": SPLITS[self.splits[place]]}

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


class Inspector(Protocol):
    """A check that has to see payloads: they pass once, in batches; what it found is asked for at the end."""

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        """Look at the payloads (`str`, or encoded image `bytes`; None where a row has none) of places `first`, ..."""

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        """One entry a check: the rows it says to put aside, and its finding about the rows still in."""


def read(
    folder: Path, params: Prepare, see: Callable[[int, Sequence[Any]], None] | None = None
) -> tuple[Examples, Finding]:
    """The labelled rows of a folder that ingest wrote, with labels and splits as the model gets them.

    Args:
        folder: `data/raw/<model>/`, or a revision of it.
        params: the label map, and how splits are carved.
        see: is shown each batch of payloads, and the place of its first.

    Returns:
        The rows, all of them in, and the finding `labels`.
    """
    columns = raw.columns(folder)
    contents, positions = np.empty(len(columns), np.int64), np.empty(len(columns))
    first = 0
    for batch in batches(folder, len(columns), "looking at rows"):
        payloads = batch[params.modality].to_pylist()
        for place, (payload, group) in enumerate(zip(payloads, batch["group"].to_pylist(), strict=True), start=first):
            key = content_key(payload)
            contents[place] = content_number(key)
            positions[place] = split.position(group or key, params.split)
        if see is not None:
            see(first, payloads)
        first += len(payloads)
    written, label_at = _coded(columns["label"])
    counts = dict(zip(written, np.bincount(label_at, minlength=len(written)).tolist(), strict=True))
    becomes, finding = labels.clean(counts, params.labels)
    classes = sorted(set(becomes.values()))
    number = {name: position for position, name in enumerate(classes)}
    names, group_at = _coded(columns["group"])
    named, split_at = _coded(columns["split"])
    given = np.array([*map(SPLITS.index, named), -1], dtype=np.int8)[split_at]
    result = Examples(
        ids=columns["id"].combine_chunks(),
        numbers=columns["row"].to_numpy(),
        labels=np.array([number[becomes[name]] for name in written], dtype=np.int32)[label_at],
        classes=classes,
        splits=split.assign(positions, given, params.split),
        given=given,
        contents=contents,
        groups=group_at,
        group_names=names,
        times=columns["time"].combine_chunks(),
        kept=np.ones(len(columns), dtype=bool),
    )
    return result, finding


def batches(folder: Path, count: int, saying: str) -> Iterator[pa.RecordBatch]:
    """Batches of raw rows, with a bar on standard error where it takes longer than a moment."""
    with bar(saying, "rows", count) as shown:
        for batch in raw.batches(folder):
            yield batch
            shown.update(len(batch))


def _coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct strings of a column, and for each row which one it has, -1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    places = np.asarray(coded.indices.fill_null(-1), dtype=np.int64)
    return coded.dictionary.to_pylist(), places

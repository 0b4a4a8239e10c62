"""Raw rows pass by in batches: what is kept of each is a few numbers, and from those the examples are made."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data import labels, split
from headstart.data import raw as raw_rows
from headstart.data.checks import Inspector
from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples, Reasons
from headstart.data.identity import content_key
from headstart.findings import Finding
from headstart.params.prepare import Prepare


@dataclass(frozen=True)
class Seen:
    """What is left of payloads once they have passed: `contents` and `positions` (see `split`) a row, refusals."""

    contents: NDArray[np.uint64]
    positions: NDArray[np.float64]
    refused: Reasons


def look(
    raw: Path, params: Prepare, count: int, decodes: Callable[[Any], str | None], looking: Sequence[Inspector]
) -> Seen:
    """Let every payload pass."""
    contents, positions = np.empty(count, dtype=np.uint64), np.empty(count)
    refused, first = Reasons(), 0
    for batch in batches(raw, count, "looking at rows"):
        payloads = batch[params.modality].to_pylist()
        for place, (payload, group) in enumerate(zip(payloads, batch["group"].to_pylist(), strict=True), start=first):
            key = content_key(payload)
            contents[place] = int(key[:16], 16)  # of two million, two that differ share it once in ten million sets
            positions[place] = split.position(group or key, params.split)
            if (reason := decodes(payload)) is not None:
                refused[place] = reason
        for inspector in looking:
            inspector.see(first, payloads)
        first += len(payloads)
    return Seen(contents, positions, refused)


def examples(columns: pa.Table, seen: Seen, params: Prepare) -> tuple[Examples, Finding, list[str]]:
    """Rows with their final label and split, the finding about labels, and the splits that had to be carved."""
    written, label_at = _coded(columns["label"])
    counts = dict(zip(written, np.bincount(label_at, minlength=len(written)).tolist(), strict=True))
    becomes, finding = labels.clean(counts, params.labels)
    classes = sorted(set(becomes.values()))
    number = {name: position for position, name in enumerate(classes)}
    names, group_at = _coded(columns["group"])
    given, split_at = _coded(columns["split"])
    codes = np.array([*map(SPLITS.index, given), -1], dtype=np.int8)[split_at]
    _, same = np.unique(seen.contents, return_inverse=True)
    result = Examples(
        ids=columns["id"].combine_chunks(),
        numbers=columns["row"].to_numpy(),
        labels=np.array([number[becomes[name]] for name in written], dtype=np.int32)[label_at],
        classes=classes,
        splits=split.assign(seen.positions, codes, params.split),
        contents=same.astype(np.int64),
        groups=group_at,
        group_names=names,
        times=columns["time"].combine_chunks(),
        kept=np.ones(len(columns), dtype=bool),
    )
    return result, finding, split.carved(given)


def batches(raw: Path, count: int, saying: str) -> Iterator[pa.RecordBatch]:
    """Batches of raw rows, with a bar on standard error where it takes longer than a moment."""
    from tqdm import tqdm

    with tqdm(total=count, desc=saying, unit=" rows", file=sys.stderr, leave=False, delay=2) as bar:
        for batch in raw_rows.batches(raw):
            yield batch
            bar.update(len(batch))


def _coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct strings of a column, and for each row which one it has, -1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    places = np.asarray(coded.indices.fill_null(-1), dtype=np.int64)
    return coded.dictionary.to_pylist(), places

"""A sample of a backbone's own domain, drawn from any source: what a model's data are held against.

Any source of `data.sources` will do, such as a part of what the backbone was pretrained on. The fetch task writes the
sample among the backbone's files, in the form that `data.dataset` reads.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from headstart.data import dataset, sources
from headstart.data.identity import content_key
from headstart.determinism import fraction
from headstart.errors import DataError
from headstart.params.data import Data
from headstart.params.section import Modality

ROWS = 1000
SEED = 31


def fingerprint(source: str, modality: Modality) -> str:
    """SHA-256 (hex) that changes when the source may have; takes a moment: see `sources.fingerprint`.

    Raises:
        DataError: if the source does not exist.
        OutsideError: if a server cannot be reached.
    """
    return sources.fingerprint(Data(source=source, columns=sources.PLAIN), modality, made_by=__name__)


def write(source: str, modality: Modality, path: Path) -> None:
    """Write at most 1,000 different rows of the source, those whose content's hash is least, by that hash.

    So the sample depends on content alone, and its first rows are a sample too. Ids are made of the content; a label
    is kept where the source has one and is empty elsewhere. The source is streamed: memory holds the sample twice.

    Raises:
        DataError: if the source cannot be read, or holds no input.
        OutsideError: if a server cannot be reached.
    """
    kept: dict[str, tuple[float, dict[str, Any]]] = {}
    bar = 1.0
    for row in _rows(source, modality):
        if not row[modality]:
            continue
        key = content_key(row[modality])
        if (place := fraction(key, seed=SEED)) < bar:
            kept.setdefault(key, (place, row))
        if len(kept) >= 2 * ROWS:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][0])[:ROWS])
            bar = max(place for place, _ in kept.values())
    if not kept:
        raise DataError(
            f"the reference {sources.shown(source)} holds no {modality}.",
            action="Name another source under backbones.<name>.reference in params.yaml, or none.",
        )
    chosen = sorted(kept.items(), key=lambda item: item[1][0])[:ROWS]
    rows = [{**row, "id": key[:16], "label": (row["label"] or "").strip()} for key, (_, row) in chosen]
    with dataset.writer(path, dataset.schema(modality)) as append:
        append(pa.Table.from_pylist(rows, dataset.schema(modality)))


def _rows(source: str, modality: Modality) -> Iterator[dict[str, Any]]:
    if _labelled(source):
        [opened] = sources.open(Data(source=source, columns=sources.PLAIN), modality)
    else:  # unlabelled rows alone, which no model may have, and so no `Data` that was checked
        [opened] = sources.open(Data.model_construct(source=[], unlabelled=source, columns=sources.PLAIN), modality)
    for batch in opened.batches:
        yield from batch.to_pylist()


def _labelled(source: str) -> bool:
    """Whether labels can be asked for: a built-in set, a column of that name, or class folders of images."""
    if (names := sources.first_columns(source)) is not None:
        return "label" in names
    return source.startswith("builtin:") or any(entry.is_dir() for entry in sources.locate(source).iterdir())

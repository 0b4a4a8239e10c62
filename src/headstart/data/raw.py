"""The folder `data/raw/<model>/`, the only place that stages read examples from.

    labelled.parquet     id, label, text | image, group, time, split (may be null), row
    unlabelled.parquet   the same without label; absent where every row has one
    source.json          what was read, how many rows, and the SHA-256 of both files; written last

`row` is the row's place in its file, from 1, so that a message can name it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.data.rows import Row
from headstart.errors import DataError
from headstart.findings import Finding
from headstart.params.section import Modality

FORMAT = 1
LABELLED = "labelled.parquet"
UNLABELLED = "unlabelled.parquet"
MANIFEST = "source.json"


@dataclass(frozen=True)
class Raw:
    """The labelled rows of `data/raw/<model>/` in their order, ids unique, and what ingest noticed."""

    modality: Modality
    rows: list[Row]
    findings: list[Finding]


def read(raw: Path) -> Raw:
    """What `ingest` wrote.

    Raises:
        DataError: if there is nothing, or it is incomplete or of another format.
    """
    manifest, labelled = raw / MANIFEST, raw / LABELLED
    if not manifest.is_file() or not labelled.is_file():
        raise DataError(f"{raw} holds no ingested data.", action="Run headstart run, which ingests first.")
    document = artifacts.read_json(manifest)
    if document.get("format") != FORMAT:
        raise DataError(f"{manifest} has format {document.get('format')!r}, expected {FORMAT}.", action="Ingest again.")
    table = pq.read_table(labelled)
    names = ("id", "label", document["modality"], "group", "time", "split", "row")
    columns = [table[name].to_pylist() for name in names]
    rows = [
        Row(input=payload, label=label, id=id_, group=group, time=time, split=split, number=number)
        for id_, label, payload, group, time, split, number in zip(*columns, strict=True)
    ]
    return Raw(document["modality"], rows, [Finding.from_document(finding) for finding in document["findings"]])


def table(rows: Sequence[Row], modality: Modality, *, labels: bool) -> pa.Table:
    """The rows as they stand on disk; the column `label` only with `labels`."""
    payload = pa.string() if modality == "text" else pa.binary()
    columns = {
        "id": (pa.string(), [row.id for row in rows]),
        "label": (pa.string(), [row.label for row in rows]),
        modality: (payload, [row.input for row in rows]),
        "group": (pa.string(), [row.group for row in rows]),
        "time": (pa.string(), [row.time for row in rows]),
        "split": (pa.string(), [row.split for row in rows]),
        "row": (pa.int64(), [row.number for row in rows]),
    }
    if not labels:
        del columns["label"]
    return pa.table([values for _, values in columns.values()], pa.schema([(n, k) for n, (k, _) in columns.items()]))

"""The folder `data/raw/<model>/`, the only place that stages read examples from.

    labelled.parquet     id, label, text | image, group, time, split (may be null), row
    unlabelled.parquet   the same without label; absent where every row has one
    source.json          what was read, how many rows, and the SHA-256 of both files; written last

`row` is the row's place in its file, from 1, so that a message can name it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.data.dataset import stream
from headstart.errors import DataError
from headstart.findings import Finding
from headstart.params.section import Modality

FORMAT = 1
LABELLED = "labelled.parquet"
UNLABELLED = "unlabelled.parquet"
MANIFEST = "source.json"


@dataclass(frozen=True)
class Meta:
    """What the manifest says.

    Attributes:
        modality: what the payload is.
        rows: how many rows have a label.
        unlabelled: how many have none.
        findings: what ingest noticed.
    """

    modality: Modality
    rows: int
    unlabelled: int
    findings: list[Finding]


def meta(raw: Path) -> Meta:
    """What `ingest` wrote, without its rows.

    Raises:
        DataError: if there is nothing, or it is incomplete or of another format.
    """
    manifest, labelled = raw / MANIFEST, raw / LABELLED
    if not manifest.is_file() or not labelled.is_file():
        raise DataError(f"{raw} holds no ingested data.", action="Run headstart run, which ingests first.")
    document = artifacts.read_json(manifest)
    if document.get("format") != FORMAT:
        raise DataError(f"{manifest} has format {document.get('format')!r}, expected {FORMAT}.", action="Ingest again.")
    findings = [Finding.from_document(finding) for finding in document["findings"]]
    return Meta(document["modality"], document["rows"]["labelled"], document["rows"]["unlabelled"], findings)


def batches(raw: Path, *, file: str = LABELLED) -> Iterator[pa.RecordBatch]:
    """The rows in their order, a few thousand at a time (fewer where images are large); memory stays flat.

    Columns: id, label, text | image, group, time, split, row; `UNLABELLED` lacks label, and may be absent: no batch.

    Raises:
        DataError: as `meta`.
    """
    meta(raw)
    if (raw / file).is_file():
        with pq.ParquetFile(raw / file, pre_buffer=False) as content:
            yield from stream(content)


def columns(raw: Path, *names: str) -> pa.Table:
    """All labelled rows in their order: the columns `names`, or all but the payload.

    Raises:
        DataError: as `meta`.
    """
    modality = meta(raw).modality
    with pq.ParquetFile(raw / LABELLED) as content:
        return content.read(names or [name for name in content.schema_arrow.names if name != modality])


def schema(modality: Modality, *, labels: bool) -> pa.Schema:
    """The columns as they stand on disk; `label` only with `labels`."""
    columns = {"id": pa.string(), "label": pa.string(), modality: pa.string() if modality == "text" else pa.binary()}
    columns |= {"group": pa.string(), "time": pa.string(), "split": pa.string(), "row": pa.int64()}
    if not labels:
        del columns["label"]
    return pa.schema(list(columns.items()))

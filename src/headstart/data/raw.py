"""The folder `data/raw/<model>/`, the only place that stages read examples from.

    labelled.parquet     id, label, text | image, group, time, split (may be null), row
    unlabelled.parquet   the same without label; absent where every row has one
    source.json          what was read, how many rows, and the SHA-256 of both files; written last

`row` is the row's place in its file, from 1, so that a message can name it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.errors import DataError
from headstart.findings import Finding
from headstart.params.section import Modality

FORMAT = 1
LABELLED = "labelled.parquet"
UNLABELLED = "unlabelled.parquet"
MANIFEST = "source.json"
BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20
GROUP_ROWS = 65_536
GROUP_BYTES = 32 << 20


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


def stream(content: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The rows of an open file, at most 4,096 and about 16 MB at a time."""
    groups = [content.metadata.row_group(place) for place in range(content.num_row_groups)]
    for place, group in enumerate(groups):
        bytes_a_row = max(1, group.total_byte_size // max(1, group.num_rows))
        yield from content.iter_batches(min(BATCH_ROWS, max(1, BATCH_BYTES // bytes_a_row)), row_groups=[place])


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


class Writer:
    """Writes rows in row groups of at most 65,536 rows and about 32 MB; how they arrive does not change the bytes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._room = GROUP_ROWS
        self._bytes = 0
        self._payload = next(place for place, name in enumerate(schema.names) if name in ("text", "image"))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows that have the schema's columns."""
        self.rows += batch.num_rows
        while batch.num_rows:
            count = min(self._room, self._fitting(batch.column(self._payload)))
            part, batch = batch.slice(0, count), batch.slice(count)
            self._waiting.append(part)
            self._room -= count
            self._bytes += _payload_bytes(part.column(self._payload))
            if not self._room or self._bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what waits, and end the file."""
        if self._waiting or not self.rows:
            self._flush()
        self._file.close()

    def _fitting(self, payload: pa.Array) -> int:
        """How many rows, one at least, until the group is full."""
        sizes = pc.fill_null(pc.binary_length(payload), 0).to_numpy(zero_copy_only=False)
        return int(np.searchsorted(np.cumsum(sizes, dtype=np.int64), GROUP_BYTES - self._bytes)) + 1

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._file.write_table(table.combine_chunks(), row_group_size=max(1, table.num_rows))
        self._waiting, self._room, self._bytes = [], GROUP_ROWS, 0


def _payload_bytes(payload: pa.Array) -> int:
    return pc.sum(pc.binary_length(payload)).as_py() or 0

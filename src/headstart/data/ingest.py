"""Bring a source into the workspace: `data/raw/<model>/`, the only place that stages read examples from.

    labelled.parquet     id, label, text | image, group, time, split (may be null), row
    unlabelled.parquet   the same without label; absent where every row has one
    source.json          what was read, how many rows, and the SHA-256 of both files; written last
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.data import sources
from headstart.data.identity import content_key
from headstart.data.rows import Row
from headstart.data.sources import fingerprint
from headstart.determinism import digest, file_digest
from headstart.errors import DataError
from headstart.findings import Finding
from headstart.params.data import Data
from headstart.params.section import Modality

__all__ = ["Raw", "fingerprint", "ingest", "read"]

FORMAT = 1
LABELLED = "labelled.parquet"
UNLABELLED = "unlabelled.parquet"
MANIFEST = "source.json"
NAMED = 10


@dataclass(frozen=True)
class Raw:
    """The labelled rows of `data/raw/<model>/` in their order, ids unique, and what ingest noticed."""

    modality: Modality
    rows: list[Row]
    findings: list[Finding]


def ingest(model: str, modality: Modality, data: Data, into: Path) -> str:
    """Read the whole source and write it below `into`; the digest of what stands there now.

    Content that has not changed rewrites nothing. A kill leaves either the old content or files that the next call
    replaces: `source.json`, which holds their hashes, comes last.

    Returns:
        SHA-256 (hex) over the rows, the same in every folder.

    Raises:
        DataError: if the source cannot be read, or has no labelled row.
    """
    source = sources.read(data, modality)
    rows, findings = _with_ids(_without_surrogates(source.rows))
    labelled = [row for row in rows if row.label is not None and row.label.strip()]
    unlabelled = [row for row in rows if row.label is None or not row.label.strip()]
    if not labelled:
        raise DataError(
            f"none of {len(rows)} rows of {data.source} (model {model}) has a label.",
            action="Name the column that holds it: --label COLUMN, or data.columns.label in params.yaml.",
        )
    tables = {LABELLED: _table(labelled, modality, labels=True)}
    if unlabelled:
        tables[UNLABELLED] = _table(unlabelled, modality, labels=False)
    document = {
        "format": FORMAT,
        "modality": modality,
        "source": data.source if data.source.startswith("builtin:") else Path(data.source).name,
        "columns": source.columns,
        "rows": {"labelled": len(labelled), "unlabelled": len(unlabelled)},
        "splits": dict(Counter(row.split or "none" for row in labelled)),
        "findings": [finding.document() for finding in [*findings, _passed_over(source.passed_over)]],
    }
    _write(into, tables, document)
    return digest(artifacts.read_json(into / MANIFEST))


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


def _write(into: Path, tables: dict[str, pa.Table], document: dict[str, Any]) -> None:
    """Write what differs from what is there, the manifest last."""
    files = {}
    for name, table in tables.items():
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        data = content.getvalue().to_pybytes()
        files[name] = digest(data)
        path = into / name
        if not path.is_file() or file_digest(path) != files[name]:
            with artifacts.replaced(path) as temporary:
                temporary.write_bytes(data)
    document = {**document, "files": files}
    if UNLABELLED not in tables:
        (into / UNLABELLED).unlink(missing_ok=True)
    if not (into / MANIFEST).is_file() or artifacts.read_json(into / MANIFEST) != document:
        artifacts.write_json(into / MANIFEST, document)


def _with_ids(rows: Sequence[Row]) -> tuple[list[Row], list[Finding]]:
    """Rows with unique ids: the source's own, with the split in front or a count behind where they repeat."""
    given = Counter(row.id for row in rows if row.id is not None)
    repeated = {name for name, count in given.items() if count > 1}
    seen: Counter[str] = Counter()
    taken = {name for name in given if name not in repeated}
    result = []
    for row in rows:
        name = row.id or content_key(row.input)[:16]
        if row.id in repeated and row.split:
            name = f"{row.split}/{name}"
        if row.id is None or row.id in repeated:
            seen[name] += 1
            while (candidate := name if seen[name] == 1 else f"{name}#{seen[name]}") in taken:
                seen[name] += 1
            taken.add(name := candidate)
        result.append(replace(row, id=name))
    reason = f"{len(repeated)} ids stand on more than one row; they were told apart by split and count"
    return result, [
        Finding(
            check="ids",
            verdict="unsure" if repeated else "pass",
            statistic=float(len(repeated)),
            bar=0.0,
            reason=f"{reason}." if repeated else "No id stands on more than one row.",
            action="Give each row its own id, so that answers can be traced." if repeated else "",
            evidence={"ids": sorted(repeated)[:NAMED]},
        )
    ]


def _without_surrogates(rows: Sequence[Row]) -> list[Row]:
    """Texts with half characters (JSON can hold a lone surrogate, UTF-8 can't) get U+FFFD in their place."""

    def whole(value: Any) -> Any:
        if not isinstance(value, str) or not any("\ud800" <= character <= "\udfff" for character in value):
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    return [
        replace(row, input=whole(row.input), label=whole(row.label), id=whole(row.id), group=whole(row.group))
        for row in rows
    ]


def _passed_over(names: Sequence[str]) -> Finding:
    return Finding(
        check="files",
        verdict="unsure" if names else "pass",
        statistic=float(len(names)),
        bar=0.0,
        reason=f"{len(names)} files in class folders are no images and were passed over: {', '.join(names[:NAMED])}."
        if names
        else "Every file was read.",
        action="Remove them, or convert them to PNG or JPEG." if names else "",
        evidence={"files": list(names[:NAMED])},
    )


def _table(rows: Sequence[Row], modality: Modality, *, labels: bool) -> pa.Table:
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

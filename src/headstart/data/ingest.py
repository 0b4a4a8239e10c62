"""Bring a source into the workspace: any source in, `data/raw/<model>/` out (see `data.raw`)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.data import raw, sources
from headstart.data.identity import content_key
from headstart.data.rows import Row
from headstart.determinism import digest, file_digest
from headstart.errors import DataError
from headstart.findings import Finding
from headstart.params.data import Data
from headstart.params.section import Modality

NAMED = 10


def ingest(model: str, modality: Modality, data: Data, into: Path) -> str:
    """Read the whole source and write it below `into`; the digest of what stands there now.

    A source that looks as it did the last time is not read again, and content that has not changed rewrites nothing.
    A kill leaves either the old content or files that the next call replaces: `source.json`, which holds their
    hashes, comes last.

    Returns:
        SHA-256 (hex) over the rows, the same in every folder.

    Raises:
        DataError: if the source cannot be read, or has no labelled row.
    """
    mark = sources.fingerprint(data, modality)
    if is_current(modality, data, into):
        return digest(artifacts.read_json(into / raw.MANIFEST))
    source = sources.read(data, modality)
    rows, findings = _with_ids(_without_surrogates(source.rows))
    labelled = [row for row in rows if row.label is not None and row.label.strip()]
    unlabelled = [row for row in rows if row.label is None or not row.label.strip()]
    if not labelled:
        raise DataError(
            f"none of {len(rows)} rows of {data.source} (model {model}) has a label.",
            action="Name the column that holds it: --label COLUMN, or data.columns.label in params.yaml.",
        )
    tables = {raw.LABELLED: raw.table(labelled, modality, labels=True)}
    if unlabelled:
        tables[raw.UNLABELLED] = raw.table(unlabelled, modality, labels=False)
    document = {
        "format": raw.FORMAT,
        "modality": modality,
        "source": data.source if data.source.startswith("builtin:") else Path(data.source).name,
        "columns": source.columns,
        "rows": {"labelled": len(labelled), "unlabelled": len(unlabelled)},
        "splits": dict(Counter(row.split or "none" for row in labelled)),
        "findings": [finding.document() for finding in [*findings, _passed_over(source.passed_over)]],
    }
    _write(into, tables, document)
    artifacts.write_json(_mark_file(into), {"fingerprint": mark, "sizes": _sizes(into)})
    return digest(artifacts.read_json(into / raw.MANIFEST))


def is_current(modality: Modality, data: Data, into: Path) -> bool:
    """Whether `into` is what the last `ingest` of this very source left; takes a moment, opens no file of it.

    Raises:
        DataError: if the source does not exist.
    """
    path = _mark_file(into)
    if not path.is_file() or not (into / raw.MANIFEST).is_file():
        return False
    return bool(
        artifacts.read_json(path) == {"fingerprint": sources.fingerprint(data, modality), "sizes": _sizes(into)}
    )


def _mark_file(into: Path) -> Path:
    """Where the quick mark lies: beside the folder, since times of files are no part of a revision."""
    return into.parent / ".marks" / f"{into.name}.json"


def _sizes(into: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(into.iterdir()) if path.is_file()}


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
    if raw.UNLABELLED not in tables:
        (into / raw.UNLABELLED).unlink(missing_ok=True)
    manifest = into / raw.MANIFEST
    if not manifest.is_file() or artifacts.read_json(manifest) != document:
        artifacts.write_json(manifest, document)


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
        if not isinstance(value, str):
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value

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

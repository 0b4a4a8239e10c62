"""Bring sources into the workspace: any in, `data/raw/<model>/` out (see `data.raw`), in memory that stays flat.

The rows are streamed into Parquet below `data/raw/.partial/<model>/` (see `data.staging`). Then the files take their
places, the manifest last.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.data import raw, sources, staging
from headstart.data.staging import Staged
from headstart.determinism import digest, file_digest
from headstart.errors import DataError
from headstart.findings import Finding, Verdict
from headstart.params.data import Data
from headstart.params.section import Modality

NAMED = 10


def ingest(model: str, modality: Modality, data: Data, into: Path, *, mark: str | None = None) -> str:
    """Read the sources from end to end and write their rows below `into`; the digest of what stands there now.

    Sources that look as they did the last time are not read again, and content that has not changed rewrites nothing.
    A kill leaves either the old content or files that the next call replaces: `source.json`, which holds their
    hashes, comes last.

    Args:
        model: for messages.
        modality: what the inputs are.
        data: the sources.
        into: the folder.
        mark: the sources' fingerprint, where it was taken before something was exported from a living journal.

    Returns:
        SHA-256 (hex) over the rows, the same in every folder.

    Raises:
        DataError: if a source cannot be read, or there is no labelled row.
        OutsideError: if a server cannot be reached.
    """
    mark = mark or sources.fingerprint(data, modality)
    if is_current(modality, data, into, mark=mark):
        return digest(artifacts.read_json(into / raw.MANIFEST))
    opened = sources.open(data, modality)
    with _partial(into) as folder:
        staged = staging.write(folder, opened, modality)
        if not staged.written[raw.LABELLED]:
            raise DataError(
                f"none of {sum(staged.rows.values())} rows of {', '.join(data.sources)} (model {model}) has a label.",
                action="Name the column that holds it: data.columns.label in params.yaml.",
            )
        findings = [_ids(staged), _passed_over([name for source in opened for name in source.passed_over])]
        if len(opened) > 1:
            findings.append(_shares(opened, staged.rows))
        document = {
            "format": raw.FORMAT,
            "modality": modality,
            "source": ", ".join(sources.shown(name) for name in data.sources),
            "columns": {role: name for source in reversed(opened) for role, name in source.columns.items()},
            "rows": {"labelled": staged.written[raw.LABELLED], "unlabelled": staged.written[raw.UNLABELLED]},
            "splits": dict(staged.splits),
            "findings": [finding.document() for finding in findings],
        }
        _place(folder, into, document)
    artifacts.write_json(_mark_file(into), {"fingerprint": mark, "sizes": _sizes(into)})
    return digest(artifacts.read_json(into / raw.MANIFEST))


def is_current(modality: Modality, data: Data, into: Path, *, mark: str | None = None) -> bool:
    """Whether `into` is what the last `ingest` of these very sources left; takes a moment, opens no file of them.

    Args:
        modality: what the inputs are.
        data: the sources.
        into: the folder.
        mark: the sources' fingerprint where it is known.

    Raises:
        DataError: if a source does not exist.
        OutsideError: if a server cannot be reached.
    """
    path = _mark_file(into)
    if not path.is_file() or not (into / raw.MANIFEST).is_file():
        return False
    mark = mark or sources.fingerprint(data, modality)
    return bool(artifacts.read_json(path) == {"fingerprint": mark, "sizes": _sizes(into)})


def _mark_file(into: Path) -> Path:
    """Where the quick mark lies: beside the folder, since times of files are no part of a revision."""
    return into.parent / ".marks" / f"{into.name}.json"


def _sizes(into: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(into.iterdir()) if path.is_file()}


@contextmanager
def _partial(into: Path) -> Iterator[Path]:
    """A folder beside `into` for files at work: empty, gone afterwards."""
    folder = into.parent / ".partial" / into.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(folder: Path, into: Path, document: dict[str, Any]) -> None:
    """Move what differs from what is there, the manifest last."""
    into.mkdir(parents=True, exist_ok=True)
    names = [raw.LABELLED, *([raw.UNLABELLED] if document["rows"]["unlabelled"] else [])]
    files = {name: file_digest(folder / name) for name in names}
    for name in names:
        if not (into / name).is_file() or file_digest(into / name) != files[name]:
            (folder / name).replace(into / name)
    if raw.UNLABELLED not in names:
        (into / raw.UNLABELLED).unlink(missing_ok=True)
    document = {**document, "files": files}
    manifest = into / raw.MANIFEST
    if not manifest.is_file() or artifacts.read_json(manifest) != document:
        artifacts.write_json(manifest, document)


def _ids(staged: Staged) -> Finding:
    """Ids that stand on more than one row, which were told apart by split and count."""
    verdict: Verdict = "unsure" if staged.repeated else "pass"
    return Finding("ids", verdict, float(staged.repeated), 0.0, evidence={"ids": staged.named})


def _shares(opened: Sequence[sources.Source], rows: dict[str, int]) -> Finding:
    """How many rows each of several sources gave."""
    given = {sources.shown(source.name): rows[source.name] for source in opened}
    unlabelled = [sources.shown(source.name) for source in opened if not source.labelled]
    evidence = {"rows": given, "unlabelled": unlabelled}
    return Finding("sources", "pass", float(len(opened)), None, evidence=evidence)


def _passed_over(names: Sequence[str]) -> Finding:
    """Files in class folders that are no image."""
    verdict: Verdict = "unsure" if names else "pass"
    return Finding("files", verdict, float(len(names)), 0.0, evidence={"files": list(names[:NAMED])})

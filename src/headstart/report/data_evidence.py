"""What the page about a model's data shows, read from what `prepare` wrote; payloads pass by in batches."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from headstart import artifacts, determinism
from headstart.contract.image import DAMAGED, FORMATS
from headstart.data.checks.privacy import masked
from headstart.errors import DataError
from headstart.report import finding_words, quarantine
from headstart.report.quarantine import Quarantined

Document = Mapping[str, Any]
SPLITS = ("train", "validation", "test")
CLASSES, EXAMPLES, CANDIDATES, SUSPECTS = 40, 4, 12, 12
MEASURED = 20_000
"""Images whose size is looked at, at most: every so many-th one."""


@dataclass(frozen=True)
class DataEvidence:
    """Everything the page shows.

    Attributes:
        model: its name.
        modality: `text` or `image`.
        revision: DVC's MD5 of the raw folder; None where it was never recorded.
        source: what ingest wrote down.
        summary: rows by split and class.
        findings: of the source and the prepared data.
        quarantine: most first.
        suspects: how many labels may be wrong, and the likeliest errors with `split`, `row`, `label`, `suggested`
            and payload.
        sizes: characters of each text, or longer side of each image looked at, by split.
        examples: by class: (id, payload) of a few training rows, the same for the same data.
    """

    model: str
    modality: str
    revision: str | None
    source: Document
    summary: Document
    findings: list[Document]
    quarantine: list[Quarantined]
    suspects: tuple[int, list[dict[str, Any]]]
    sizes: dict[str, NDArray[np.float64]]
    examples: dict[str, list[tuple[str, str | bytes]]]


def gather(model: str, *, revision: str | None = None) -> DataEvidence:
    """What the current workspace's files say about `model`'s data.

    Raises:
        DataError: if the stage `prepare` has not run.
    """
    data, raw = artifacts.stage_output(model, "data"), artifacts.raw(model)
    if not (data / "summary.json").is_file():
        raise DataError(f"{data} holds no prepared data.", action=f"Run it first: headstart data {model}.")
    summary = artifacts.read_json(data / "summary.json")
    source = artifacts.read_json(raw / "source.json") if (raw / "source.json").is_file() else {}
    modality = summary["modality"]
    written = [*source.get("findings", ()), *artifacts.read_json(data / "findings.json")]
    found = {finding["check"]: finding for finding in finding_words.all_told(written)}
    files = {name: path for name in SPLITS if (path := data / f"{name}.parquet").is_file()}
    return DataEvidence(
        model=model,
        modality=modality,
        revision=revision,
        source=source,
        summary=summary,
        findings=list(found.values()),
        quarantine=quarantine.read(data / "quarantine.parquet", ["id", "label", "split", modality], EXAMPLES),
        suspects=_suspects(data / "suspects.parquet", modality),
        sizes={name: _sizes(path, modality) for name, path in files.items()},
        examples=_examples(data / "train.parquet", modality),
    )


def _suspects(path: Path, modality: str) -> tuple[int, list[dict[str, Any]]]:
    if not path.is_file():
        return 0, []
    with pq.ParquetFile(path) as file:
        first = next(file.iter_batches(SUSPECTS), None)
        rows = first.to_pylist() if first is not None and modality in first.schema.names else []
        return file.metadata.num_rows, [{**row, "payload": row[modality]} for row in rows]


def _sizes(path: Path, modality: str) -> NDArray[np.float64]:
    if modality == "text":
        parts = []
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["text"]):
                parts.append(pc.utf8_length(batch["text"]).to_numpy(zero_copy_only=False).astype(np.float64))
        return np.concatenate(parts) if parts else np.zeros(0)
    sides: list[float] = []
    with pq.ParquetFile(path) as file:
        step, first = max(1, file.metadata.num_rows // MEASURED), 0
        for batch in file.iter_batches(256, columns=["image"]):
            sides += [max(size) for data in batch["image"][(-first) % step :: step] if (size := _size(data.as_py()))]
            first += len(batch)
    return np.array(sides, dtype=np.float64)


def _size(data: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except DAMAGED:
        return None


def _examples(path: Path, modality: str) -> dict[str, list[tuple[str, str | bytes]]]:
    """A few training rows of each class, those whose id's hash is least; texts that hold personal data are left out."""
    if not path.is_file():
        return {}
    table = pq.read_table(path, columns=["id", "label"])
    names = sorted(set(pc.unique(table["label"]).to_pylist()))[:CLASSES]
    wanted: dict[str, list[tuple[float, str]]] = {name: [] for name in names}
    for name, label in zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True):
        if label in wanted:
            held = wanted[label]
            held.append((determinism.fraction(name, seed=0), name))
            if len(held) > 4 * CANDIDATES:
                held[:] = sorted(held)[:CANDIDATES]
    ids = {label: [name for _, name in sorted(held)[:CANDIDATES]] for label, held in wanted.items()}
    every = pa.array([name for held in ids.values() for name in held])
    payloads: dict[str, Any] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(256, columns=["id", modality]):
            found = pa.Table.from_batches([batch]).filter(pc.is_in(batch["id"], every))
            payloads |= dict(zip(found["id"].to_pylist(), found[modality].to_pylist(), strict=True))
    return {
        label: [(name, payloads[name]) for name in held if _may_be_shown(payloads.get(name))][:EXAMPLES]
        for label, held in ids.items()
    }


def _may_be_shown(payload: Any) -> bool:
    return bool(payload) if isinstance(payload, bytes) else isinstance(payload, str) and masked(payload) == payload

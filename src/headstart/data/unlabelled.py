"""Examples without labels, for what adapts to a domain before it learns a task: `unlabelled.parquet` beside the splits.

Columns: `id`, `text` or `image`, `group`, `time`; rows in their order. No row equals a test row, whose inputs a model
must not have seen; and none is in it that the contract refuses.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data import dataset
from headstart.data import raw as raw_rows
from headstart.data.identity import content_key, content_number
from headstart.findings import Finding, Verdict
from headstart.params.section import Modality

FILE = "unlabelled.parquet"
LEAST = 200  # rows: fewer leave too few texts to hold out, or too few images for moments
NAMED = 10


def write(
    raw: Path, out: Path, modality: Modality, decodes: Callable[[Any], str | None], judges: NDArray[np.int64]
) -> Finding | None:
    """Hand on the rows without a label that may be learned from; the finding `unlabelled`, or None if there are none.

    Rows pass in batches, so that millions fit.

    Args:
        raw: the folder that ingest wrote.
        out: the folder of the splits.
        modality: what the payload is.
        decodes: why the contract refuses a payload; empty where there is none, None where it takes it.
        judges: of each validation and test row, the `content_number` of its `content_key`.
    """
    if not (raw / raw_rows.UNLABELLED).is_file():
        return None
    labelled = dataset.schema(modality)
    columns = pa.schema([field for field in labelled if field.name != "label"])
    known = frozenset(judges.tolist())
    kept = refused = held_out = 0
    named: list[dict[str, Any]] = []
    with dataset.writer(out / FILE, columns) as append:
        for batch in raw_rows.batches(raw, file=raw_rows.UNLABELLED):
            payloads = batch[modality].to_pylist()
            good = np.zeros(len(payloads), dtype=bool)
            for place, payload in enumerate(payloads):
                if (reason := decodes(payload)) is not None:
                    refused += 1
                    if len(named) < NAMED:
                        named.append({"row": batch["row"][place].as_py(), "reason": reason})
                elif content_number(content_key(payload)) in known:
                    held_out += 1
                else:
                    good[place] = True
            kept += int(good.sum())
            append(pa.Table.from_batches([batch]).filter(pa.array(good)).select(columns.names).cast(columns))
    return _finding(modality, kept, refused, held_out, named)


def _finding(modality: Modality, kept: int, refused: int, held_out: int, named: list[dict[str, Any]]) -> Finding:
    verdict: Verdict = "unsure" if refused or not kept else "pass"
    evidence = {
        "modality": modality,
        "kept": kept,
        "refused": refused,
        "equal_a_judge": held_out,
        "least": LEAST,
        "rows": named,
    }
    return Finding("unlabelled", verdict, float(refused), None, evidence=evidence)

"""`feedback:MODEL`: what a model was asked and the labels that came back, as one more source of examples.

Data and journal do not know each other: the ingest task of `pipelines/` joins the journal's raw inputs with the
labels and hands the rows to `write`; the source reads the file. It holds what the journal holds at that time: what
is deleted or expires there is gone here with the next export.

    data/feedback/<model>/labelled.parquet    id (request id/index), text | image, label, time
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart import settings
from headstart.data import folders
from headstart.determinism import file_digest
from headstart.errors import DataError
from headstart.params.data import Data
from headstart.params.section import Modality

SCHEME = "feedback:"
FOLDER = Path("data/feedback")


def models(data: Data) -> list[str]:
    """The models whose feedback the sources name."""
    named = [*data.sources, data.unlabelled or ""]
    return sorted({source.removeprefix(SCHEME) for source in named if source.startswith(SCHEME)})


def file(model: str) -> Path:
    """Where the labelled answers of a model stand."""
    return FOLDER / model / "labelled.parquet"


def locate(source: str) -> Path:
    """The exported file of `feedback:MODEL`.

    Raises:
        DataError: if nothing was exported.
    """
    path = file(source.removeprefix(SCHEME))
    if not path.is_file():
        raise DataError(
            f"{source}: {path} does not exist; it is written from the journal when data is ingested.",
            action="Run headstart data or headstart run, which export it first.",
        )
    return path


def state(source: str) -> Any:
    """What changes when labels may have come or gone: the journal's files of labels and of deletions.

    Taken before an export, so that a label that comes meanwhile is seen the next time.
    """
    journal = settings.find_workspace().journal(source.removeprefix(SCHEME))
    return [folders.stats(place) for place in (journal / "feedback", journal / "deletions") if place.exists()]


def write(model: str, modality: Modality, answers: Iterable[pa.Table], *, policy: str) -> int:
    """Write the answers that have a raw input and a label; how many that are. The same rows give the same bytes.

    Args:
        model: whose answers they are.
        modality: what its inputs are.
        answers: tables in the order of time with `request_id`, `index`, `time`, `raw` and `truth` (null: no label).
        policy: the value of `journal.raw`, for messages.

    Raises:
        DataError: if no answer has both.
    """
    kind = pa.string() if modality == "text" else pa.binary()
    schema = pa.schema({"id": pa.string(), modality: kind, "label": pa.string(), "time": pa.string()})
    labelled = kept = 0
    path = file(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in answers:
                table = table.filter(pc.is_valid(table["truth"]))
                labelled += table.num_rows
                table = table.filter(pc.is_valid(table["raw"]))
                kept += table.num_rows
                if table.num_rows:
                    index = pc.cast(table["index"], pa.string())
                    ids = pc.binary_join_element_wise(table["request_id"], index, "/")
                    times = pa.array([time.isoformat() for time in table["time"].to_pylist()], pa.string())
                    writer.write_table(
                        pa.table([ids, pc.cast(table["raw"], kind), table["truth"], times], schema=schema)
                    )
        if not kept:
            raise _nothing(model, labelled, policy)
        if not path.is_file() or file_digest(path) != file_digest(temporary):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return kept


def _nothing(model: str, labelled: int, policy: str) -> DataError:
    source = f"{SCHEME}{model}"
    if not labelled:
        return DataError(
            f"{source} gives no example: no label has come for an answer of {model} that is still in its journal.",
            action=f"Send labels to POST /feedback/{model}, or take {source} out of data.source in params.yaml.",
        )
    if policy == "sampled":
        return DataError(
            f"{source} gives no example: {labelled} answers have a label, none of them a raw input in the journal "
            "(journal.raw is sampled: journal.raw_share were kept, for journal.raw_days days).",
            action=f"Raise models.{model}.journal.raw_share or raw_days in params.yaml and "
            "restart the server; it counts for answers from then on.",
        )
    return DataError(
        f"{source} gives no example: journal.raw is {policy}: of {labelled} labelled answers the journal keeps no raw "
        "input.",
        action=f"Set models.{model}.journal.raw to sampled in params.yaml and restart the server; it counts for "
        "answers from then on.",
    )

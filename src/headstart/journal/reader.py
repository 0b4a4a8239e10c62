"""Reading the journal: answers of a stretch of time, unsealed ones included, and the labels that came for them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.errors import DataError
from headstart.journal import log
from headstart.journal import schema as rows

ATTEMPTS = 10
REPLACES = b"replaces"
DAY = "day-"  # how the name of a segment begins that holds a whole day


def read(
    folder: Path,
    *,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None = None,
    refusals: bool = False,
    unseen: bool = False,
) -> pa.Table:
    """The answers of a model in `[start, end)`, oldest first, as `schema` describes them.

    Rows of format 1 have status 200 and nulls in the other columns that format 2 brought; `features` are float16
    whatever the format.

    Answers whose deletion was asked for are left out, whether or not they are gone from the disk. An absent folder
    is a journal without answers.

    Args:
        folder: the model's journal, `Workspace.journal(model)`.
        start: aware.
        end: aware.
        columns: the columns wanted; all when left out.
        refusals: whether rows of refused inputs come too; `status` tells them from answers.
        unseen: whether rows come too that no client saw: what a shadow said, and where a canary failed.

    Raises:
        DataError: if a segment has a newer format, or files keep vanishing while they are read.
    """
    within = (pc.field("time") >= _moment(start)) & (pc.field("time") < _moment(end))
    table = patiently(lambda: _gather(folder, "answers", rows.answers(), within), folder)
    status = pc.fill_null(table["status"], pa.scalar(rows.ANSWERED, pa.int16()))
    table = table.set_column(table.column_names.index("status"), "status", status)
    if not refusals:
        table = table.filter(pc.equal(table["status"], rows.ANSWERED))
    if not unseen:
        shadows = pc.fill_null(pc.equal(table["role"], rows.SHADOW), False)
        table = table.filter(pc.invert(pc.or_(shadows, pc.equal(table["status"], rows.FAILED))))
    table = table.sort_by([("time", "ascending"), ("request_id", "ascending"), ("index", "ascending")])
    return table if columns is None else table.select(list(columns))


def request(folder: Path, request_id: str) -> pa.Table:
    """Every row of one request, refusals included, as `read` has them; none where it is unknown or was deleted."""
    asked = pc.field("request_id") == request_id
    table = patiently(lambda: _gather(folder, "answers", rows.answers(), asked), folder)
    status = pc.fill_null(table["status"], pa.scalar(rows.ANSWERED, pa.int16()))
    table = table.set_column(table.column_names.index("status"), "status", status)
    return table.sort_by([("time", "ascending"), ("index", "ascending")])


def labels(folder: Path) -> pa.Table:
    """The labels that came later, one for each request id and index: the one that came last.

    Columns: `request_id`, `index`, `label`, `time`.
    """
    table = patiently(lambda: _gather(folder, "feedback", rows.FEEDBACK, None), folder)
    table = table.append_column("order", pa.array(range(table.num_rows), pa.int64()))
    table = table.sort_by([("time", "ascending"), ("order", "ascending")])
    last = table.group_by(["request_id", "index"], use_threads=False).aggregate([("label", "last"), ("time", "last")])
    last = last.rename_columns({"label_last": "label", "time_last": "time"})
    return last.select(["request_id", "index", "label", "time"]).sort_by(
        [("request_id", "ascending"), ("index", "ascending")]
    )


def with_truth(answers: pa.Table, labels: pa.Table) -> pa.Table:
    """The answers with a column `truth`: the label that came for each, null where none came; order is kept."""
    keys = zip(labels["request_id"].to_pylist(), labels["index"].to_pylist(), strict=True)
    known = dict(zip(keys, labels["label"].to_pylist(), strict=True))
    asked = zip(answers["request_id"].to_pylist(), answers["index"].to_pylist(), strict=True)
    return answers.append_column("truth", pa.array([known.get(key) for key in asked], pa.string()))


def deleted(folder: Path) -> frozenset[str]:
    """The request ids whose deletion was asked for and may not be finished."""
    return frozenset(
        request_id
        for path in sorted((folder / "deletions").glob("*.json"))
        for request_id in artifacts.read_json(path)["request_ids"]
    )


def segments(folder: Path) -> list[Path]:
    """The files that together hold every row once: sealed segments, and logs that have none yet.

    A whole day names the segments it was made of; until those are removed they are passed over here.
    """
    parquet = sorted(folder.glob("[!.]*.parquet"))
    replaced: set[str] = set()
    for path in parquet:
        if path.name.startswith(DAY):
            metadata = pq.read_schema(path).metadata or {}
            replaced.update(metadata.get(REPLACES, b"").decode().split())
    kept = [path for path in parquet if path.stem not in replaced]
    known = {path.stem for path in parquet} | replaced
    return kept + [path for path in sorted(folder.glob(f"[!.]*{log.SUFFIX}")) if path.stem not in known]


def read_segment(path: Path, where: pc.Expression | None = None) -> pa.Table:
    """One segment or log; `where` keeps rows, and skips what a segment's statistics rule out."""
    if path.suffix == log.SUFFIX:
        table = log.read(path).table
        return table if where is None else table.filter(where)
    rows.check_format(pq.read_schema(path), str(path))
    return pq.ParquetFile(path).read() if where is None else pq.read_table(path, filters=where, partitioning=None)


def _gather(folder: Path, kind: str, empty: pa.Schema, where: pc.Expression | None) -> pa.Table:
    """All rows of a kind, less the deleted ones.

    What is to be deleted is read first: a request that is gone by then has been carried out.
    """
    gone = deleted(folder)
    tables = [rows.current(read_segment(path, where)) for path in segments(folder / kind)]
    tables = [empty.empty_table(), *(table for table in tables if table.num_rows)]
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="default")
    if not gone:
        return table
    return table.filter(pc.invert(pc.is_in(table["request_id"], pa.array(sorted(gone), pa.string()))))


def patiently(attempt: Callable[[], pa.Table], folder: Path) -> pa.Table:
    """Try again from the start where a writer sealed or compacted files away in between."""
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except FileNotFoundError:
            continue
    raise DataError(
        f"{folder}: segments kept vanishing while they were read, {ATTEMPTS} times over.",
        action="Is something else deleting files there? Stop it and try again.",
    )


def _moment(time: datetime) -> pa.Scalar:
    """An aware time as the journal holds it.

    Raises:
        DataError: if it has no time zone.
    """
    if time.tzinfo is None:
        raise DataError(f"{time} has no time zone, the journal is in UTC.", action="Pass an aware datetime.")
    return pa.scalar(time, rows.TIME)

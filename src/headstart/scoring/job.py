"""A scoring job: parts, then one file. A job killed anywhere and started again ends in the same bytes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.bundle import manifest_hash
from headstart.data import columns as naming
from headstart.errors import DataError, UsageError
from headstart.params.section import Modality
from headstart.predictor import Predictor
from headstart.progress import bar
from headstart.scoring import answers, reading, writing
from headstart.scoring.parts import Job, Parts

PART_ROWS: Mapping[Modality, int] = {"text": 4096, "image": 256}
"""Rows of a part, and in memory at once: texts of like length are looked for among so many."""


@dataclass(frozen=True)
class Done:
    """What came of a job.

    Attributes:
        rows: `in`, `out`, and how many of those have an `error`.
        seconds: of this process, since the input was opened.
        rows_per_second: of those answered by this process.
        resumed_from: how many rows an earlier process had answered; None where none had.
        already: the same call had come to its end before; nothing was done.
    """

    rows: dict[str, int]
    seconds: float
    rows_per_second: float
    resumed_from: int | None
    already: bool = False


def score(
    bundle: Path,
    source: Path,
    output: Path,
    *,
    model: str,
    version: int,
    records: Path,
    column: str | None = None,
    keep: Sequence[str] | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    part_rows: int | None = None,
) -> Done:
    """Answer every row of a file, in order, into another file.

    The output has the input's columns (images themselves left out), then `predicted_label`, `probability`, `error`
    (null, or why there is no answer) and `model_version`.

    The input's bytes are part of the job. Images that it names by path are not: change those, and delete OUT.parts.

    Args:
        bundle: a sealed folder.
        source: `.parquet`, `.csv`, `.jsonl` or `.jsonl.gz`.
        output: `.parquet`, `.csv` or `.jsonl`.
        model: the bundle's name.
        version: the bundle's version.
        records: a folder in which is kept which jobs are over; the same call again answers from it.
        column: with the raw inputs; `text` or `image` where not given.
        keep: columns to carry along; all where not given.
        probabilities: one a class too, in the column `probabilities`.
        overwrite: replace an output that exists.
        part_rows: see `PART_ROWS`.

    Raises:
        DataError: if the source cannot be read as a whole, or lacks the column.
        UsageError: if the output exists and is not this very job's, is the source, is of another kind, or is being
            written by another process.
        BundleError: if the bundle is not the one that was sealed.
    """
    started = time.perf_counter()
    kind = writing.suffix(output)
    if output.resolve() == source.resolve():
        raise UsageError(f"{output} is the input itself.", action="Write to another file.")
    parts = Parts(output, records)
    if output.exists() and not overwrite and not parts.known():
        parts.refuse_existing()
    rows = reading.look(source)
    predictor = Predictor.load(bundle)
    modality = predictor.contract.modality
    name = _column(rows, column or modality, modality)
    carried = _carried(rows, name, keep)
    kept = [field.name for field in carried]
    schema = pa.schema([*carried, *answers.schema(predictor.labels, probabilities=probabilities)])
    size = part_rows or PART_ROWS[modality]
    job = Job(rows.sha256, rows.count, name, kept, model, version, manifest_hash(bundle), probabilities, size)
    with parts.alone():
        if not overwrite and (counts := parts.finished(job)) is not None:
            seconds = time.perf_counter() - started
            return Done({"in": rows.count, **counts}, seconds, 0.0, rows.count, already=True)
        parts.take_up(job, overwrite=overwrite)
        done = job.parts if parts.counts() else parts.whole(job)
        resumed = min(done * size, rows.count)
        with bar(f"score {model}", "rows", rows.count, resumed) as shown:
            windows = reading.windows(rows, name, start=resumed, size=size) if done < job.parts else ()
            for index, window in enumerate(windows, done):
                found = answers.answer(
                    predictor, window, folder=source.parent, version=version, probabilities=probabilities
                )
                held = [*(window.columns[each] for each in kept), *found.columns]
                with artifacts.replaced(parts.path(index)) as temporary:
                    pq.write_table(pa.table(held, schema=schema), temporary)
                shown.update(len(found))
        counts = _finish(parts, job, kind, schema, _delimiter(rows))
    seconds = time.perf_counter() - started
    rate = (rows.count - resumed) / seconds
    return Done({"in": rows.count, **counts}, seconds, rate, resumed if done else None)


def _finish(parts: Parts, job: Job, kind: str, schema: pa.Schema, delimiter: str) -> dict[str, int]:
    """Join, give the file its name, remove the parts; wherever this is cut off, the same call ends it."""
    counts = parts.counts()
    if counts is None:
        files = [parts.path(index) for index in range(job.parts)]
        with artifacts.replaced(parts.joined) as temporary:
            written, errors = writing.write(temporary, kind, schema, files, delimiter=delimiter)
        if written != job.rows:
            raise DataError(f"{job.rows} rows were there, then {written}.", action="Let nobody write to the input.")
        counts = {"out": written, "errors": errors}
        parts.note(job, counts)
    if parts.joined.exists():
        parts.joined.replace(parts.output)
    parts.end(job, counts)
    return counts


def _column(rows: reading.Rows, name: str, modality: Modality) -> str:
    names = rows.schema.names
    if name in names or not rows.count:
        return name
    raise DataError(
        f"{rows.path} has no column {name!r}{naming.nearest(name, names)}. "
        f"It has {', '.join(map(repr, names)) or 'no column that can be read'}.",
        action=f"Say with --column which one holds the {modality}s.",
    )


def _carried(rows: reading.Rows, column: str, keep: Sequence[str] | None) -> list[pa.Field]:
    """The columns that go along: all but encoded images, or those that were asked for.

    Raises:
        DataError: if one is absent, or is called like a column of the answers.
    """
    names = rows.schema.names
    if absent := [name for name in keep or () if name not in names]:
        raise DataError(
            f"{rows.path} has no column {absent[0]!r}{naming.nearest(absent[0], names)}.", action="Mend --keep."
        )
    fields = [
        field
        for field in rows.schema
        if (field.name in keep if keep is not None else field.name != column or not _is_payload(field))
    ]
    taken = [field.name for field in fields if field.name in answers.schema([], probabilities=True).names]
    if taken:
        raise DataError(
            f"{rows.path} already has a column {taken[0]!r}, and the answers bring one of that name.",
            action="Rename it, or name the columns to carry along: --keep id --keep ...",
        )
    return fields


def _is_payload(field: pa.Field) -> bool:
    """Whether a column holds encoded files, in bytes or {`bytes`, `path`}."""
    if pa.types.is_struct(field.type):
        return any(_is_payload(child) for child in field.type)
    return bool(
        pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
        or pa.types.is_binary_view(field.type)
        or pa.types.is_fixed_size_binary(field.type)
    )


def _delimiter(rows: reading.Rows) -> str:
    """What stands between the fields of CSV that is written: what does in the CSV that was read."""
    return rows.form.delimiter if rows.form is not None and rows.kind == ".csv" else ","

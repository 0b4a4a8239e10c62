"""Forgetting: answers by request id, raw inputs and features by age. Asked for at once, done at compaction."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart import artifacts, determinism
from headstart.journal import log, moments, reader
from headstart.journal import schema as rows

FORMAT = 1
KINDS = ("answers", "feedback")


@dataclass(frozen=True)
class Compaction:
    """What a compaction did.

    Attributes:
        busy: another process was at it; nothing was done.
        segments: how many went into whole days.
        deleted: rows that went for good.
        expired: rows whose raw input or features were removed for their age.
    """

    busy: bool
    segments: int
    deleted: int
    expired: int


def request(folder: Path, request_ids: Sequence[str]) -> None:
    """Ask that every answer and label of these requests be deleted: readers leave them out from now on."""
    ids = sorted(set(request_ids))
    if ids:
        document = {"format": FORMAT, "request_ids": ids}
        artifacts.write_json(folder / "deletions" / f"{determinism.digest(ids)[:32]}.json", document)


def compact(folder: Path, *, now: datetime, raw_days: int) -> Compaction:
    """Join each past day's segments into one, and rewrite what holds deleted requests, or raw inputs too old.

    Features go with raw inputs: much of a text can be guessed from them.

    Safe beside living writers and readers, and to be killed anywhere: run again, it ends the same.
    A request to delete is kept until no open log can hold its rows.

    Args:
        folder: the model's journal.
        now: aware; a day before it is past.
        raw_days: raw inputs and features older than this go.

    Raises:
        OSError: if the disk refuses.
        DataError: if a segment has a newer format.
    """
    if not folder.is_dir():
        return Compaction(False, 0, 0, 0)
    with _alone(folder) as alone:
        if not alone:
            return Compaction(True, 0, 0, 0)
        requests = sorted((folder / "deletions").glob("*.json"))
        open_logs = [path for kind in KINDS for path in (folder / kind).glob(f"[!.]*{log.SUFFIX}")]
        gone = reader.deleted(folder)
        before = now - timedelta(days=raw_days)
        today = f"{now:%Y%m%d}"
        _finish(folder / moments.KIND)
        joined, deleted, expired = _join_days(folder / moments.KIND, today, moments.by_hour), 0, 0
        for kind in KINDS:
            _finish(folder / kind)
            joined += _join_days(folder / kind, today, _in_order)
            for path in reader.segments(folder / kind):
                if path.suffix == ".parquet":
                    counts = _forget(path, gone, before)
                    deleted, expired = deleted + counts[0], expired + counts[1]
        if not open_logs:
            for path in requests:
                path.unlink()
        return Compaction(False, joined, deleted, expired)


def _finish(folder: Path) -> None:
    """Remove segments that a whole day has already taken in."""
    kept = set(reader.segments(folder))
    logs = {path.stem for path in folder.glob(f"[!.]*{log.SUFFIX}")}
    for path in folder.glob("[!.]*.parquet"):
        if path not in kept and path.stem not in logs:
            path.unlink()


def _in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([("time", "ascending"), ("request_id", "ascending"), ("index", "ascending")])


def _join_days(folder: Path, today: str, join: Callable[[pa.Table], pa.Table]) -> int:
    """Make one segment of each past day's, the day's own included; how many went into it.

    A segment whose log still stands beside it (its writer died in between) waits until `recovery` was there.
    """
    days: dict[str, list[Path]] = {}
    for path in reader.segments(folder):
        if path.suffix == ".parquet":
            days.setdefault(path.stem.removeprefix(reader.DAY)[:8], []).append(path)
    joined = 0
    for day, paths in days.items():
        parts = [path for path in paths if not _is_day(path) and not path.with_suffix(log.SUFFIX).exists()]
        if day >= today or not parts:
            continue
        whole = [path for path in paths if _is_day(path)]
        tables = [rows.current(reader.read_segment(path)) for path in [*whole, *parts]]
        names = " ".join(path.stem for path in parts).encode()
        table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="default")
        table = join(table)
        metadata = {**rows.METADATA, reader.REPLACES.decode(): names}
        log.write_segment(folder / f"{reader.DAY}{day}.parquet", table.replace_schema_metadata(metadata))
        for path in parts:
            path.unlink()
        joined += len(parts)
    return joined


def _is_day(path: Path) -> bool:
    return path.name.startswith(reader.DAY)


def _forget(path: Path, gone: frozenset[str], before: datetime) -> tuple[int, int]:
    """Rewrite a segment without what must go; how many rows went, and how many lost raw input or features."""
    old_names = [name for name in ("raw", "features") if name in pq.read_schema(path).names]
    table = pq.ParquetFile(path).read(columns=["request_id", "time", *old_names])
    going = pc.is_in(table["request_id"], pa.array(sorted(gone), pa.string()))
    deleted = pc.sum(going).as_py() or 0
    expired = 0
    if old_names:
        old = pc.and_(pc.less(table["time"], pa.scalar(before, rows.TIME)), pc.invert(going))
        present = [pc.is_valid(table[name]) for name in old_names]
        expired = pc.sum(pc.and_(old, reduce(pc.or_, present))).as_py() or 0
    if not deleted and not expired:
        return 0, 0
    whole = reader.read_segment(path)
    if expired:
        for name in old_names:
            kept = pc.if_else(old, pa.scalar(None, whole[name].type), whole[name])
            whole = whole.set_column(whole.column_names.index(name), name, kept)
    log.write_segment(path, whole.filter(pc.invert(going)))
    return deleted, expired


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else compacts this journal for the length of the block."""
    descriptor = os.open(folder / ".compacting", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield log.lock(descriptor)
    finally:
        os.close(descriptor)

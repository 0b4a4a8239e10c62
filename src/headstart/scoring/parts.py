"""The folder beside an output in which a job keeps its parts: what is whole in it counts, after any kind of end.

OUT.parts/job.json              what is scored with what; parts of another job are not gone on with
OUT.parts/part-00000.parquet    answered rows, whole or not there
OUT.parts/joined                all parts in OUT's format, until it takes OUT's name

What is known of a job that is over stands apart, in a folder of records, so that the same call again finds it done:

RECORDS/<hash of OUT's path>.json    the job, what it counted, SHA-256 of OUT; written before the parts go
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from tqdm import tqdm

from headstart import artifacts
from headstart.determinism import digest, file_digest
from headstart.errors import UsageError

FORMAT = 1
JOB, JOINED, LOCK = "job.json", "joined", "lock"


@dataclass(frozen=True)
class Job:
    """What decides the bytes of the parts.

    Attributes:
        input: SHA-256 of the file of rows.
        rows: how many it has.
        column: with the raw inputs.
        keep: columns that are carried along.
        model: its name.
        version: of the model.
        bundle: hash of the version's manifest.
        probabilities: one a class is asked for too.
        part_rows: rows of a part.
    """

    input: str
    rows: int
    column: str
    keep: list[str]
    model: str
    version: int
    bundle: str
    probabilities: bool
    part_rows: int
    format: int = FORMAT

    @property
    def parts(self) -> int:
        return -(-self.rows // self.part_rows)


class Parts:
    """The folder of one job, kept to this process by `alone`."""

    def __init__(self, output: Path, records: Path) -> None:
        self.output = output
        self.record = records / f"{digest(str(output.resolve()))[:32]}.json"
        self.folder = output.with_name(f"{output.name}.parts")
        self.joined = self.folder / JOINED
        self._job = self.folder / JOB

    def path(self, index: int) -> Path:
        return self.folder / f"part-{index:05}.parquet"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the folder to this process; it goes with the last file in it.

        Raises:
            UsageError: if another process has it, or it holds files that are not parts.
        """
        if self.folder.is_dir() and (odd := [path.name for path in self.folder.iterdir() if not _is_ours(path)]):
            raise UsageError(
                f"{self.folder} holds {odd[0]!r}, which is no part.",
                action="Move it away, or choose another --output.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(f"another process is writing {self.output}.", action="Wait for it, or end it.") from None
        try:
            yield
        finally:
            finished = not any(path.name != LOCK for path in self.folder.iterdir())
            if finished:
                (self.folder / LOCK).unlink(missing_ok=True)
            lock.release()
            if finished:
                with contextlib.suppress(OSError):  # another process has just begun
                    self.folder.rmdir()

    def take_up(self, job: Job, *, overwrite: bool) -> None:
        """Leave the parts of this job where they are; anything else is cleared away, and said.

        Raises:
            UsageError: if the output exists, is not to be replaced, and is not this job's.
        """
        known = artifacts.read_json(self._job) if self._job.exists() else None
        wanted = asdict(job)
        other = [key for key in wanted if known and known.get(key) != wanted[key]]
        named = known is not None and not other and self.counts() is not None and not self.joined.exists()
        if self.output.exists() and not overwrite and not named:
            self.refuse_existing()
        if known is not None and not other and (not named or self.output.exists()):
            return
        if known is not None and other:
            changes = ", ".join(f"{key} was {_short(known.get(key))}, is {_short(wanted[key])}" for key in other)
            tqdm.write(f"{self.folder} holds parts of another job ({changes}): starting anew.", file=sys.stderr)
        self.clear()
        artifacts.write_json(self._job, wanted)

    def refuse_existing(self) -> None:
        """Refuse an output that is not this job's.

        Raises:
            UsageError: saying so.
        """
        raise UsageError(
            f"{self.output} exists already.", action="Choose another --output, or add --overwrite to replace it."
        )

    def known(self) -> bool:
        """Whether a job wrote the output, or may have."""
        return self._job.exists() or self.record.exists()

    def finished(self, job: Job) -> dict[str, int] | None:
        """`out` and `errors`, if this very job is over and its output lies there untouched; else None."""
        if self._job.exists() or not self.record.exists() or not self.output.is_file():
            return None
        document = artifacts.read_json(self.record)
        if any(document.get(key) != value for key, value in asdict(job).items()):
            return None
        return _counted(document) if document["sha256"] == file_digest(self.output) else None

    def whole(self, job: Job) -> int:
        """How many parts from the first on are there, each with as many rows as it should have."""
        for index in range(job.parts):
            expected = min(job.part_rows, job.rows - index * job.part_rows)
            try:
                if pq.read_metadata(self.path(index)).num_rows != expected:
                    return index
            except (OSError, pa.ArrowException):  # not there, or cut short by a power failure
                return index
        return job.parts

    def counts(self) -> dict[str, int] | None:
        """`out` and `errors` of a job whose parts are joined, else None."""
        document = artifacts.read_json(self._job)
        return _counted(document) if "out" in document else None

    def note(self, job: Job, counts: dict[str, int]) -> None:
        """Write down that all parts are joined."""
        artifacts.write_json(self._job, {**asdict(job), **counts})

    def end(self, job: Job, counts: dict[str, int]) -> None:
        """Write down that the output has its name, and remove the parts."""
        artifacts.write_json(self.record, {**asdict(job), **counts, "sha256": file_digest(self.output)})
        self.clear()

    def clear(self) -> None:
        """Remove what is in the folder; `job.json` last, for it says what the rest is."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == JOB):
            if path.name != LOCK:
                path.unlink()


def _counted(document: Mapping[str, int]) -> dict[str, int]:
    return {key: document[key] for key in ("out", "errors")}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _is_ours(path: Path) -> bool:
    return path.is_file() and (
        path.name in (JOB, JOINED, LOCK) or path.name.startswith((".part-", ".job.json.", ".joined.", "part-"))
    )

"""An append log: batches of rows in Arrow's stream format, each written whole or not at all, sealed to Parquet later.

A writer holds a lock on its log as long as it lives; the kernel drops the lock when the process ends, however it
ends. So a log that nobody locks is what a dead writer left, and `recovery` takes it over.
"""

import fcntl
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.journal import schema as rows

SUFFIX = ".arrow"
CHECKSUM = "crc32"


@dataclass(frozen=True)
class Contents:
    """What a log holds: complete batches, and how many bytes of a torn one follow them."""

    table: pa.Table
    torn_bytes: int


class Log:
    """An open log with one writer. Nothing here is thread-safe: one thread writes."""

    def __init__(self, path: Path, descriptor: int, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self.size = 0
        self._descriptor = descriptor
        self._torn = False

    @classmethod
    def create(cls, folder: Path, name: str, schema: pa.Schema) -> "Log":
        """A new log in `folder`, locked, with its schema written; a number follows `name` where it is taken.

        Raises:
            OSError: if the disk refuses; then no log is left behind.
        """
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = folder / f"{name}-{os.getpid()}-{number}{SUFFIX}"
            number += 1
            if sealed(path).exists():
                continue
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            except FileExistsError:
                continue
            if lock(descriptor):
                break
            os.close(descriptor)  # a recovery at work was faster; it removes the empty file
        log = cls(path, descriptor, schema)
        try:
            log._write(header(schema))
        except OSError:
            log.close()
            path.unlink(missing_ok=True)
            raise
        return log

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one batch and force it to the disk.

        Raises:
            OSError: if the disk refuses; whatever it took of the batch is cut off before the next one.
        """
        self._write(message(batch))

    def seal(self) -> None:
        """Make the log its Parquet segment; it stays open, to be closed, or sealed again where the disk refused.

        Raises:
            OSError: if the disk refuses; the log is then whole as before.
        """
        self._mend()
        seal(self.path)

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        self._mend()
        self._torn = True
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)
        self.size += len(data)
        self._torn = False

    def _mend(self) -> None:
        """Cut off what a refused write left."""
        if self._torn:
            os.ftruncate(self._descriptor, self.size)
            self._torn = False


def header(schema: pa.Schema) -> bytes:
    """A schema as it stands at the beginning of a log, with its own CRC-32 in its metadata."""
    return bytes(schema.with_metadata({**(schema.metadata or {}), CHECKSUM: _checksum(schema)}).serialize())


def message(batch: pa.RecordBatch) -> bytes:
    """A batch as it stands in a log: Arrow's stream message, the CRC-32 of the plain message in its metadata.

    A crash may leave zeros where bytes were promised; such a batch has its full length and looks whole.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={CHECKSUM: _checksum(batch)})
        end = sink.tell()
    return bytes(sink.getvalue()[batch.schema.serialize().size : end])  # the schema comes first


def lock(descriptor: int) -> bool:
    """Whether this process now holds the log's lock; False where its writer lives."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sealed(path: Path) -> Path:
    """Where the Parquet segment of a log stands."""
    return path.with_suffix(".parquet")


def read(path: Path) -> Contents:
    """The complete batches of a log, which may be written to meanwhile or be torn at its end.

    Raises:
        FileNotFoundError: if it has been sealed since.
        DataError: if it has another format.
    """
    data = path.read_bytes()
    stream = pa.BufferReader(data)
    batches: list[pa.RecordBatch] = []
    try:
        reader = pa.ipc.open_stream(stream)
        schema, summed = _plain(reader.schema)
    except (pa.ArrowException, OSError):
        return Contents(rows.answers().empty_table(), len(data))
    rows.check_format(schema, str(path))
    complete = stream.tell()
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            batch.validate(full=True)
            batch = batch.replace_schema_metadata(schema.metadata)
            if summed:
                _require_whole(batch, metadata)
        except StopIteration:  # the end, or four zeros, which Arrow takes for it; a log ends where its bytes do
            break
        except (pa.ArrowException, OSError):
            return Contents(pa.Table.from_batches(batches, schema), len(data) - complete)
        batches.append(batch)
        complete = stream.tell()
    return Contents(pa.Table.from_batches(batches, schema), len(data) - complete)


def _plain(schema: pa.Schema) -> tuple[pa.Schema, bool]:
    """The schema without its checksum, and whether it has one: logs of before have none, nor have their batches.

    Raises:
        ArrowInvalid: if it is not the schema that was written.
    """
    metadata = dict(schema.metadata or {})
    stated = metadata.pop(CHECKSUM.encode(), None)
    plain = schema.with_metadata(metadata or None)
    if stated is not None and stated.decode("ascii", "replace") != _checksum(plain):
        raise pa.ArrowInvalid("the schema is not the one that was written")
    return plain, stated is not None


def _require_whole(batch: pa.RecordBatch, metadata: pa.KeyValueMetadata | None) -> None:
    """Refuse, as Arrow refuses a torn message, a batch that is not the one written."""
    stated = metadata.get(CHECKSUM.encode()) if metadata else None
    if stated is None or stated.decode("ascii", "replace") != _checksum(batch):
        raise pa.ArrowInvalid("the batch is not the one that was written")


def _checksum(part: pa.Schema | pa.RecordBatch) -> str:
    return str(zlib.crc32(part.serialize()))


def seal(path: Path) -> Contents:
    """Turn a log into its Parquet segment, then remove it; an empty log is only removed.

    Killed in between, the segment stands beside its log: readers take the segment, and sealing again changes nothing.
    """
    contents = read(path)
    if contents.table.num_rows and not sealed(path).exists():
        write_segment(sealed(path), contents.table)
    path.unlink(missing_ok=True)
    return contents


def write_segment(path: Path, table: pa.Table) -> None:
    """Write a Parquet segment, whole or not at all, forced to the disk before it takes its name."""
    with artifacts.replaced(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

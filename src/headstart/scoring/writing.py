"""Parts of a job joined to one file: Parquet, CSV or JSONL by the file's ending; one part in memory at a time."""

import base64
import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.errors import UsageError
from headstart.scoring.reading import JSON_TEXT

SUFFIXES = (".parquet", ".csv", ".jsonl")
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 26
"""A row group of Parquet ends at whichever comes first."""


def suffix(path: Path) -> str:
    """Which of `SUFFIXES` the name ends with.

    Raises:
        UsageError: if it is none of them.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {path.name} has no ending that is written here.", action=f"Take one of {', '.join(SUFFIXES)}."
        )
    return path.suffix.lower()


def write(path: Path, kind: str, schema: pa.Schema, parts: Iterable[Path], *, delimiter: str = ",") -> tuple[int, int]:
    """Join parts in their order.

    Args:
        path: the file to write.
        kind: one of `SUFFIXES`.
        schema: of every part.
        parts: Parquet files.
        delimiter: of CSV.

    Returns:
        How many rows were written, and how many of them have an error.
    """
    counted = _Counted(pq.read_table(part, schema=schema) for part in parts)
    if kind == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _groups(counted):
                writer.write_table(group)
    elif kind == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            rows.writerow(schema.names)
            for table in counted:
                columns = [[_cell(value) for value in table[name].to_pylist()] for name in schema.names]
                rows.writerows(zip(*columns, strict=True))
    else:
        with path.open("w", encoding="utf-8") as file:
            texts = [field.name for field in schema if field.metadata == JSON_TEXT]
            for table in counted:
                for row in table.to_pylist():
                    row |= {name: json.loads(row[name]) for name in texts if row[name] is not None}
                    file.write(_json(row) + "\n")
    return counted.rows, counted.errors


class _Counted:
    """Tables that pass by, counted."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = tables
        self.rows = self.errors = 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            self.rows += len(table)
            self.errors += len(table) - table["error"].null_count
            yield table


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= GROUP_ROWS or sum(each.nbytes for each in waiting) >= GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _cell(value: Any) -> Any:
    """A value as CSV has it: nothing for null, JSON for what has parts, else what JSONL would have, without quotes."""
    if value is None or isinstance(value, str):
        return value
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _json(row: dict[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # bytes, times, decimals, NaN
        return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes in base64, times in ISO 8601, decimals as strings, NaN as null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

"""The rows of the journal: one for each input, answered or refused, and one for each label that came later.

Columns of an answer: `format` int8, `request_id` string, `index` int32 (place in the request), `time` timestamp
(us, UTC, when it was answered), `model`, `role`, `contract`, `label` string, `version` int64, `probability` double
(of the label), `probabilities` list<float> (in the order of the contract's labels), `latency_ms` float, `features`
list<halffloat> or null, `raw` binary or null, `status` int16 (200, or the HTTP status of a refused input), `reason`
string (why it was refused, else null), `bundle` string (SHA-256 of the manifest of the bundle that answered),
`input_hash` string (keyed, see `writer`), `client` string (who asked, as the client says), and one double column
`property/<name>` for each property of the input. A refused input has no label, probability, probabilities, features
or properties.

While a rollout runs, a request may have rows of two versions for an input: what its client was told (`role` champion or
canary), and what the other version says of it (shadow). Those have no features, raw input, input hash or properties.
Status 500 says that a version of a rollout failed; what it failed at was answered by the champion.

Columns of a label: `format`, `request_id`, `index`, `label`, `time` (when it arrived).

Format 2 has `features` as list<float>.

Format 1 also has no `status`, `reason`, `bundle`, `input_hash` and `client`; its rows are all answers, and `raw_sha256`
(string or null) stands where `journal.raw: hashed` asked for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.errors import DataError

FORMAT = 3
READABLE = (1, 2, 3)
ANSWERED = 200
FAILED = 500  # a version of a rollout gave no answer: of a canary, the champion answered in its place
CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"
PROPERTY = "property/"
ROW_BYTES = 512
FEATURES = pa.list_(pa.float16())
LARGEST = float(np.finfo(np.float16).max)
TIME = pa.timestamp("us", tz="UTC")
FIXED = (
    ("format", pa.int8()),
    ("request_id", pa.string()),
    ("index", pa.int32()),
    ("time", TIME),
    ("model", pa.string()),
    ("version", pa.int64()),
    ("role", pa.string()),
    ("contract", pa.string()),
    ("label", pa.string()),
    ("probability", pa.float64()),
    ("probabilities", pa.list_(pa.float32())),
    ("features", FEATURES),
    ("raw", pa.binary()),
    ("latency_ms", pa.float32()),
    ("status", pa.int16()),
    ("reason", pa.string()),
    ("bundle", pa.string()),
    ("input_hash", pa.string()),
    ("client", pa.string()),
)
METADATA = {"format": str(FORMAT)}
FEEDBACK = pa.schema(
    [("format", pa.int8()), ("request_id", pa.string()), ("index", pa.int32()), ("label", pa.string()), ("time", TIME)],
    metadata=METADATA,
)


@dataclass(slots=True)  # frozen, one takes three times as long to make, and a server makes two an input
class Answer:
    """One answer to one input, or its refusal.

    Attributes:
        time: when it was answered, aware.
        role: `champion`, `canary` (it answered a share of requests) or `shadow` (nobody was told what it said).
        contract: the contract's hash.
        label: None for a refusal, as are `probability` and `probabilities`.
        properties: of the input, by name; empty for a refusal.
        features: what the network computed before its head, float16 once they are to be kept; None where they aren't.
        raw: the input's bytes (text in UTF-8); None where they are not kept.
        latency_ms: from the request's arrival to its answer; of a shadow, how long it computed.
        status: 200, or the HTTP status of the refusal; 500 where a version of a rollout failed.
        reason: of the refusal.
        bundle: SHA-256 of the manifest of the bundle that answered.
        input_hash: a keyed hash of the input; the journal computes it from `raw` where it is None.
        client: who asked, as the client says.
    """

    request_id: str
    index: int
    time: datetime
    model: str
    version: int
    role: str
    contract: str
    label: str | None
    probability: float | None
    probabilities: Sequence[float] | None
    properties: Mapping[str, float]
    latency_ms: float
    features: Sequence[float] | NDArray[np.floating[Any]] | None = None
    raw: bytes | None = None
    status: int = ANSWERED
    reason: str | None = None
    bundle: str | None = None
    input_hash: str | None = None
    client: str | None = None

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        features = 0 if self.features is None else 2 * len(self.features)
        floats = len(self.probabilities or ()) + len(self.properties)
        texts = len(self.raw or b"") + len(self.reason or "") + len(self.client or "")
        return ROW_BYTES + 32 * floats + features + texts


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one answer; joined to it by `request_id` and `index`."""

    request_id: str
    index: int
    label: str
    time: datetime

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        return ROW_BYTES


def answers(properties: Sequence[str] = ()) -> pa.Schema:
    """The columns of answers whose inputs have these properties."""
    more = [(PROPERTY + name, pa.float64()) for name in sorted(properties)]
    return pa.schema([*FIXED, *more], metadata=METADATA)


def half(features: Sequence[float] | NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Features as they are kept; what float16 cannot hold becomes its largest number."""
    return np.clip(np.asarray(features, dtype=np.float32), -LARGEST, LARGEST).astype(np.float16)


def current(table: pa.Table) -> pa.Table:
    """Rows of any readable format with the columns' types of this one; columns that they lack stay absent."""
    if "features" not in table.column_names or table.schema.field("features").type == FEATURES:
        return table
    return table.set_column(
        table.column_names.index("features"), "features", _halved(table["features"].combine_chunks())
    )


def answers_batch(rows: Sequence[Answer]) -> pa.RecordBatch:
    """Answers as columns; a property that a row lacks is null."""
    names = sorted({name for row in rows for name in row.properties})
    columns: dict[str, list[Any]] = {"format": [FORMAT] * len(rows)}
    for name, _ in FIXED[1:]:
        columns[name] = [getattr(row, name) for row in rows]
    columns["features"] = _lists(columns["features"])
    for name in names:
        columns[PROPERTY + name] = [row.properties.get(name) for row in rows]
    return pa.RecordBatch.from_pydict(columns, schema=answers(names))


def labels_batch(rows: Sequence[Label]) -> pa.RecordBatch:
    """Labels as columns."""
    columns: dict[str, list[Any]] = {"format": [FORMAT] * len(rows)}
    for name in FEEDBACK.names[1:]:
        columns[name] = [getattr(row, name) for row in rows]
    return pa.RecordBatch.from_pydict(columns, schema=FEEDBACK)


def check_format(schema: pa.Schema, where: str) -> None:
    """Refuse a segment of another format.

    Raises:
        DataError: if the format is not one this version reads.
    """
    found = (schema.metadata or {}).get(b"format", b"none").decode("ascii", "replace")
    if found not in map(str, READABLE):
        raise DataError(
            f"{where} is a journal segment of format {found}, formats {', '.join(map(str, READABLE))} can be read.",
            action="Read it with the version of headstart that wrote it.",
        )


def _lists(rows: Sequence[Sequence[float] | NDArray[np.floating[Any]] | None]) -> pa.ListArray:
    """A column of features; one array for all values, since Arrow takes lists number by number."""
    lengths = [0 if row is None else len(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = [half(row) for row in rows if row is not None]
    return pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.array(np.concatenate([np.zeros(0, np.float16), *values])),
        mask=pa.array([row is None for row in rows]),
    )


def _halved(features: Any) -> pa.ListArray:
    """A column of features of format 1 or 2 as one of this format."""
    return _lists([None if row is None else np.array(row) for row in features.to_pylist()])

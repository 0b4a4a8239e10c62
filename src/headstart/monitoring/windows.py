"""What was asked and answered in a stretch of time, as the detectors want it: by version, each distinct input once."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart import settings
from headstart.errors import UsageError
from headstart.journal import reader
from headstart.journal.schema import ANSWERED, TIME
from headstart.profile import Features

OTHER_CONTRACT = 409  # status of a refusal: the client was built for another contract
PROPERTY = "property/"
SKEW = timedelta(minutes=1)  # by which another machine's clock may be ahead of ours


@dataclass(frozen=True)
class Window:
    """Answers of one version in `[start, end)`, oldest first, one row for each distinct input.

    An input that was sent five times is one observation, not five: tests that count it five times alarm on clean
    traffic. Rows whose input was not hashed (journal format 1) count as distinct.

    Attributes:
        start: aware.
        end: aware.
        version: of the model that answered; None where it is unknown.
        predicted: the label of each answer.
        confidence: its probability, `(rows,)`.
        properties: input properties by name, `(rows,)` each; NaN where one could not be measured.
        truth: the label that came later for this input; None where none came.
        probabilities: of all classes, `(rows, classes)`; None where a row lacks them.
        answers: how many answers were given, repeats included.
        most_repeated: how many of them went to the input that was sent most often.
        bundles: answers by the hash of the bundle that gave them; answers without one are left out.
        clients: who sent each input first; None where a client did not say.
        features: of the inputs whose features the journal keeps; None where it keeps none.
    """

    start: datetime
    end: datetime
    version: int | None
    predicted: Sequence[str]
    confidence: NDArray[np.float64]
    properties: Mapping[str, NDArray[np.float64]]
    truth: Sequence[str | None]
    probabilities: NDArray[np.float64] | None
    answers: int
    most_repeated: int
    bundles: Mapping[str, int]
    clients: Sequence[str | None] | None = None
    features: Features | None = None

    @property
    def rows(self) -> int:
        """How many distinct inputs were answered."""
        return len(self.predicted)

    @property
    def noun(self) -> str:
        """What `rows` counts."""
        return "answers" if self.rows == self.answers else "distinct inputs"

    @property
    def labelled(self) -> int:
        return sum(label is not None for label in self.truth)

    @property
    def correct(self) -> int:
        """How many of the labelled answers were right."""
        return sum(label == guess for label, guess in zip(self.truth, self.predicted, strict=True) if label is not None)

    def unknown_labels(self, classes: Sequence[str]) -> dict[str, int]:
        """How often each label that is none of `classes` came; the commonest first."""
        known = set(classes)
        counts = Counter(label for label in self.truth if label is not None and label not in known)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class Traffic:
    """All that one model was asked in `[start, end)`.

    Attributes:
        start: aware.
        end: aware.
        windows: one for each version that answered, in ascending order.
        refusals: how many inputs were refused, by reason, the commonest first; numbers in reasons read N.
        later: inputs that came between the window's end and the moment of the look; the next window has them.
        other_contract: how many of the refused inputs came from clients built for another contract (status 409).
    """

    start: datetime
    end: datetime
    windows: Sequence[Window]
    refusals: Mapping[str, int]
    later: int
    other_contract: int = 0

    @property
    def answers(self) -> int:
        return sum(window.answers for window in self.windows)

    @property
    def refused(self) -> int:
        return sum(self.refusals.values())

    def document(self) -> dict[str, Any]:
        """Where the window lies and how much is in it."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "rows": self.answers,
            "distinct": sum(window.rows for window in self.windows),
            "labelled": sum(window.labelled for window in self.windows),
            "refused": self.refused,
            "later": self.later,
            "versions": {str(window.version): window.answers for window in self.windows},
        }


@dataclass(frozen=True)
class Sample:
    """Inputs of a window that the journal kept as they came, each distinct one once.

    Attributes:
        raw: the inputs.
        truth: the label that came later; None where none came.
    """

    raw: Sequence[bytes]
    truth: Sequence[str | None]


def moment(now: str | None) -> datetime:
    """When a look is asked for, in UTC.

    Raises:
        UsageError: if it is not ISO 8601 with an offset, or in the future: what is remembered of a window that is not
            over would hide the looks that come before its end.
    """
    if not now:
        return settings.now()
    try:
        asked = datetime.fromisoformat(now)
        if asked.tzinfo is None:
            raise ValueError("it has no offset")
        asked = asked.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{now!r} is not a moment: {error}.", action="Write it like 2026-03-01T12:00:00+00:00."
        ) from None
    if asked > (clock := settings.now()) + SKEW:
        raise UsageError(
            f"{now} lies in the future: it is {clock:%Y-%m-%d %H:%M:%S} UTC. A window is judged once it is over.",
            action="Leave --now out, or name a moment that has passed.",
        )
    return asked


def minutes(count: float) -> str:
    """`60 minutes`, `1 minute`: a window's length, to follow "the"."""
    return "minute" if count == 1 else f"{count:g} minutes"


def whole_minute(asked: datetime) -> datetime:
    """The end of the window for a look that is asked for at a moment: so windows of a jittery schedule still touch."""
    return asked.replace(second=0, microsecond=0)


def select(journal: Path, *, asked: datetime, minutes: float) -> Traffic:
    """What was asked in the last `minutes` before the last whole minute.

    Args:
        journal: the model's journal, `Workspace.journal(model)`.
        asked: aware; the window ends at its whole minute, which is not in it.
        minutes: its length.

    Raises:
        DataError: if the journal cannot be read.
    """
    end = whole_minute(asked)
    start = end - timedelta(minutes=minutes)
    table = reader.read(journal, start=start, end=asked, refusals=True)
    within = pc.less(table["time"], pa.scalar(end, TIME))
    later = int(pc.sum(pc.invert(within)).as_py() or 0)
    table = table.filter(within)
    answered = pc.equal(table["status"], ANSWERED)
    reasons = Counter(
        re.sub(r"\b\d+\b", "N", reason or "") for reason in table.filter(pc.invert(answered))["reason"].to_pylist()
    )
    answers = reader.with_truth(table.filter(answered), reader.labels(journal))
    versions = sorted(set(answers["version"].to_pylist()), key=lambda version: (version is not None, version))
    return Traffic(
        start=start,
        end=end,
        windows=[_window(answers, version, start, end) for version in versions],
        refusals=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        later=later,
        other_contract=int(pc.sum(pc.equal(table["status"], OTHER_CONTRACT)).as_py() or 0),
    )


def sample(journal: Path, window: Window) -> Sample:
    """The raw inputs of a window, as far as `journal.raw` has them kept.

    Raises:
        DataError: if the journal cannot be read.
    """
    columns = ("request_id", "index", "version", "raw")
    table = reader.read(journal, start=window.start, end=window.end, columns=columns)
    table = table.filter(pc.is_valid(table["raw"]))
    mine = [version == window.version for version in table["version"].to_pylist()]
    table = reader.with_truth(table.filter(pa.array(mine, pa.bool_())), reader.labels(journal))
    truth: dict[bytes, str | None] = {}
    for raw, label in zip(table["raw"].to_pylist(), table["truth"].to_pylist(), strict=True):
        truth[raw] = truth.get(raw) or label
    return Sample(list(truth), list(truth.values()))


def _window(answers: pa.Table, version: int | None, start: datetime, end: datetime) -> Window:
    """The answers of one version, repeats taken together."""
    mine = np.array([number == version for number in answers["version"].to_pylist()], dtype=bool)
    answers = answers.filter(pa.array(mine))
    bundles = answers["bundle"].to_pylist()
    inputs = [
        (bundle, digest) if digest is not None else row
        for row, (bundle, digest) in enumerate(zip(bundles, answers["input_hash"].to_pylist(), strict=True))
    ]
    first: dict[Any, int] = {}
    truth: dict[Any, str] = {}
    for row, (asked, label) in enumerate(zip(inputs, answers["truth"].to_pylist(), strict=True)):
        first.setdefault(asked, row)
        if label is not None:
            truth.setdefault(asked, label)
    distinct = answers.take(pa.array(list(first.values()), pa.int64()))
    names = [name for name in distinct.column_names if name.startswith(PROPERTY)]
    return Window(
        start=start,
        end=end,
        version=version,
        predicted=distinct["label"].to_pylist(),
        confidence=_numbers(distinct, "probability"),
        properties={name.removeprefix(PROPERTY): _numbers(distinct, name) for name in names},
        truth=[truth.get(asked) for asked in first],
        probabilities=_probabilities(distinct),
        answers=len(inputs),
        most_repeated=max(Counter(inputs).values(), default=0),
        bundles=Counter(bundle for bundle in bundles if bundle is not None),
        clients=distinct["client"].to_pylist(),
        features=_features(answers["features"].combine_chunks(), inputs, first),
    )


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)  # nulls become NaN


def _probabilities(table: pa.Table) -> NDArray[np.float64] | None:
    rows = table["probabilities"].to_pylist()
    lengths = {len(row) if row is not None else 0 for row in rows}
    if len(lengths) != 1 or lengths == {0}:
        return None
    return np.array(rows, dtype=np.float64)


def _features(column: Any, inputs: Sequence[Any], distinct: Mapping[Any, int]) -> Features | None:
    """Of each distinct input the first that were kept: repeats of one input have the same.

    Args:
        column: of all answers.
        inputs: what each answer was to.
        distinct: the distinct inputs, in their order.
    """
    place = {asked: number for number, asked in enumerate(distinct)}
    kept: dict[int, int] = {}
    lengths = column.value_lengths().fill_null(0).to_numpy()
    starts = np.cumsum(lengths) - lengths
    for row in np.flatnonzero(lengths).tolist():
        kept.setdefault(place[inputs[row]], row)
    widths = {int(lengths[row]) for row in kept.values()}
    if len(widths) != 1:
        return None
    rows = np.array(sorted(kept), dtype=np.int64)
    (width,) = widths
    taken = starts[[kept[row] for row in rows.tolist()]][:, None] + np.arange(width)
    return Features(rows, column.flatten().to_numpy()[taken])

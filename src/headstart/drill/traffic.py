"""After deployment: damaged requests to the real server on a simulated clock, and what the monitor makes of them."""

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import profile
from headstart.batchnorm.instrumented import GRAPH
from headstart.data.dataset import Dataset
from headstart.errors import ContractError, DataError, OutsideError
from headstart.evaluation import calibration
from headstart.faults.table import Fault
from headstart.journal.writer import Journal
from headstart.monitoring import prior as priors
from headstart.monitoring import recalibration, remedies, watch, windows
from headstart.monitoring.prior import Prior
from headstart.params.workspace import Model
from headstart.predictor import Predictor
from headstart.profile import Profile
from headstart.serving import rehearsal, server
from headstart.serving.fleet import Fleet
from headstart.serving.models import LoadedModel

LOOKS = (50, 100, 200, 500)  # answers after which the monitor looks; a case sends no more than the last
SEVERITY = 4  # of 5
CLEAN_WINDOWS, CLEAN_ANSWERS = 10, 100
BATCH = 10  # inputs between two moments of the clock
START = datetime(2026, 1, 1, tzinfo=UTC)
FLUSH_S = 0.05
PATIENCE_S = 60.0  # for the journal to be written
STREAMS: Mapping[str, Mapping[str, float]] = {
    "class_tripled": {},
    "class_shares_drawn": {"alpha": 1.0},
    "inputs_repeated": {"times": 150},
}


@dataclass(frozen=True)
class Look:
    """One look of the monitor.

    Attributes:
        answers: how many had been given.
        verdict: `ok`, `alert` or `unsure`.
        cause: the likeliest one; None where none was named.
        remedy: the cheapest one for it.
    """

    answers: int
    verdict: str
    cause: str | None
    remedy: str


@dataclass(frozen=True)
class Outcome:
    """What was noticed of a fault.

    Attributes:
        fault: its name.
        meaning: a clause for people.
        expected: the cause that should be named.
        answers: how many inputs were answered; 0 where nothing was sent, and `note` says why.
        detected_after: answers at the first look that alarmed; None where none did.
        named_after: answers at the first look that named the right cause.
        cause: what the last look named; None where it did not alarm.
        remedy: what it proposed.
        accuracy: `clean`, of the same rows without the fault; `broken`; `cured`, after the proposed remedy, None where
            it needs labels or training.
        looks: all of them.
        note: a sentence; empty where there is nothing to say.
    """

    fault: str
    meaning: str
    expected: str
    answers: int
    detected_after: int | None
    named_after: int | None
    cause: str | None
    remedy: str
    accuracy: Mapping[str, float | None]
    looks: Sequence[Look]
    note: str

    def document(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {**asdict(self), "looks": [asdict(look) for look in self.looks]}


class Clock:
    """The time of the drill: it stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now


class Deployment:
    """A version behind its server, with a journal of its own and a monitor that looks at it.

    >>> with deployed(model, reference, params) as deployment:
    ...     deployment.next_window("sound inputs")
    ...     labels = deployment.ask(inputs, done=0.0, share=0.9)
    ...     document = deployment.look()
    """

    def __init__(
        self, name: str, url: str, fleet: Fleet, reference: watch.Reference, params: Model, clock: Clock
    ) -> None:
        self._name, self._reference, self.params = name, reference, params
        self._fleet = fleet
        self._journal, self._clock = fleet.journal(name), clock
        self._url = url
        self._minutes = params.monitor.window_minutes
        self._start = clock.now
        self._subject, self._asked = "", 0
        self._rows = 0

    def next_window(self, subject: str) -> None:
        """Let time pass until no look sees what was asked before.

        Args:
            subject: of the window; its requests are named after it, so that each drill has the same.
        """
        self._subject, self._asked = subject, 0
        self._start += timedelta(minutes=3 * self._minutes)
        self._clock.now = self._start

    def ask(self, inputs: Sequence[Any], *, done: float, share: float) -> list[str | None]:
        """Send inputs over a stretch of the window; the label of each, None where it was refused.

        Args:
            inputs: raw.
            done: how much of the window has passed, below 1.
            share: how much of it these inputs take.

        Raises:
            OutsideError: if the server answers with something else, or the journal is not written.
        """
        labels: list[str | None] = []
        for first in range(0, len(inputs), BATCH):
            passed = (done + share * first / len(inputs)) * self._minutes
            self._clock.now = self._start + timedelta(minutes=passed)
            answers = rehearsal.ask(
                self._url,
                self._name,
                inputs[first : first + BATCH],
                self.params.serve,
                client="drill",
                id_=f"{self._subject}-{self._asked + first:04d}",  # fixed, since the journal samples by it
            )
            labels += [answer.get("label") for answer in answers]
        self._rows += len(inputs)
        self._asked += len(inputs)
        self._wait()
        return labels

    def look(self) -> dict[str, Any]:
        """What the monitor says of the window so far."""
        passed = (self._clock.now - self._start) / timedelta(minutes=1)
        asked = self._start + timedelta(minutes=math.floor(passed) + 1)
        return watch.watch(self._journal.folder, lambda version: self._reference, self.params.monitor, asked).document

    def window(self) -> windows.Window:
        """The answers of the window so far."""
        end = self._start + timedelta(minutes=self._minutes)
        return windows.select(self._journal.folder, asked=end, minutes=self._minutes).windows[0]

    def kept(self) -> windows.Sample:
        """The raw inputs of the window so far that the journal keeps."""
        return windows.sample(self._journal.folder, self.window())

    def _wait(self) -> None:
        """Until the journal holds every row and sum: they are written after the answers are on their way."""
        end = time.monotonic() + PATIENCE_S
        while self._journal.health.written < self._rows:
            self._rest(end)
        self._fleet.drain()
        while not self._journal.settled:
            self._rest(end)

    def _rest(self, end: float) -> None:
        if time.monotonic() > end:
            raise OutsideError(
                f"after {PATIENCE_S:.0f} s the drill's journal holds {self._journal.health.written} of "
                f"{self._rows} rows: {self._journal.health.trouble or 'the machine is too busy'}.",
                action="Try again on a machine that is less busy.",
            )
        time.sleep(FLUSH_S)


@contextmanager
def deployed(model: LoadedModel, reference: watch.Reference, params: Model) -> Iterator[Deployment]:
    """The version behind a server of its own.

    Args:
        model: the version.
        reference: what its monitor compares with.
        params: of the model: `serve`, `journal` and `monitor` hold as in production.
    """
    clock = Clock(START)
    with tempfile.TemporaryDirectory() as temporary:
        journal = Journal(
            Path(temporary), params.journal.model_copy(update={"flush_s": FLUSH_S}), clock=clock, key=b"drill"
        )
        with server.in_background(model, params.serve, journal, clock=clock) as (url, fleet):
            yield Deployment(model.name, url, fleet, reference, params, clock)


def clean(deployment: Deployment, held_out: Dataset, *, seed: int) -> dict[str, Any]:
    """How many windows of sound traffic alarm: {`windows`, `answers` of each, `alarms`, `causes`}.

    No row comes twice, so a small set gives few windows.

    Args:
        deployment: of the version.
        held_out: rows that are not in its profile.
        seed: of the rows' order.
    """
    order = np.random.default_rng(seed).permutation(len(held_out))
    size = min(CLEAN_ANSWERS, len(held_out))
    documents = []
    for first in range(0, min(CLEAN_WINDOWS * size, len(order) - size + 1), max(1, size)):
        deployment.next_window(f"clean-{first}")
        deployment.ask([held_out.inputs[row] for row in order[first : first + size]], done=0.0, share=0.9)
        documents.append(deployment.look())
    alarms = [document for document in documents if document["verdict"] == "alert"]
    causes = sorted({document["causes"][0]["cause"] for document in alarms})
    return {"windows": len(documents), "answers": size, "alarms": len(alarms), "causes": causes}


@dataclass(frozen=True)
class HeldOut:
    """Rows that the version has not learned from, and what it says to them without a fault.

    Attributes:
        bundle: of the version.
        predictor: of the same version.
        profile: likewise.
        prior: the class shares it was made for, where they are not its test split's.
        rows: the rows, those of validation first.
        validation: how many these are.
        probabilities: `(rows, classes)`.
        labels: the most probable class of each.
        sent: places of the rows that may be sent, all where not given.
    """

    bundle: Path
    predictor: Predictor
    profile: Profile
    prior: Prior | None
    rows: Dataset
    validation: int
    probabilities: NDArray[np.float64]
    labels: Sequence[str]
    sent: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, bundle: Path, rows: Dataset, *, validation: int) -> "HeldOut":
        """The rows, of which the first are of validation, with the answers of the bundle."""
        predictor = Predictor.load(bundle)
        predictions = predictor.predict(list(rows.inputs))
        probabilities = np.array([each.probabilities for each in predictions], dtype=np.float64)
        labels = [each.label for each in predictions]
        seen, made_for = profile.read(bundle), priors.read(bundle)
        return cls(bundle, predictor, seen, made_for, rows, validation, probabilities, labels)

    def at(self, shares: Mapping[str, float], rows: NDArray[np.int64]) -> list[str]:
        """The labels of rows with the prior set to class shares, as the stage `evaluate` sets it."""
        classes = self.predictor.labels
        plain = np.log(np.maximum(self.probabilities, np.finfo(float).tiny))
        if self.prior is not None:
            plain -= np.array([self.prior.correction[name] for name in classes])
        plain -= np.logaddexp.reduce(plain, axis=1, keepdims=True)
        old = np.exp(plain[: self.validation]).mean(axis=0)
        new = np.array([shares[name] for name in classes])
        moved = np.log(np.maximum(new, calibration.RAREST)) - np.log(np.maximum(old, calibration.RAREST))
        return [classes[place] for place in (plain[rows] + moved).argmax(axis=1)]

    @property
    def places(self) -> NDArray[np.int64]:
        """Of the rows that may be sent."""
        return np.arange(len(self.rows)) if self.sent is None else self.sent

    def expected(
        self, fault: Fault, inputs: Sequence[Any], truth: Sequence[str], accuracy: Mapping[str, Any], tolerated: float
    ) -> str:
        """The cause that should be named, by its definition: drift is what re-estimated BatchNorm statistics cure.

        Labels decide, which the monitor does not have: drift is the cause where accuracy fell by more than is tolerated
        and half of it or more comes back under statistics of these inputs; else the inputs just look different.

        Args:
            fault: that was planted.
            inputs: with it.
            truth: their labels.
            accuracy: `clean` and `broken`.
            tolerated: `monitor.accuracy_drop`.
        """
        if fault.cause != "batchnorm_drift":
            return fault.cause
        lost = accuracy["clean"] - accuracy["broken"]
        if not (self.bundle / GRAPH).is_file() or lost <= tolerated:
            return "covariate_shift"
        cured = _right(recalibration.answered(self.bundle, self.profile, inputs, inputs), truth)
        return "batchnorm_drift" if cured - accuracy["broken"] >= lost / 2 else "covariate_shift"


def plant(fault: Fault, deployment: Deployment, held: HeldOut, *, seed: int, severity: int = SEVERITY) -> Outcome:
    """Send a window with a fault, look while it fills, and try the remedy that the last look proposes.

    Args:
        fault: of a text, an image or a stream.
        deployment: of the version.
        held: rows to send, each once at most.
        seed: of the rows that are drawn and of the damage.
        severity: of the damage, 1 to 5.
    """
    random = np.random.default_rng(seed)
    rows, note = held.rows, ""
    at = held.places[_drawn(fault, [rows.labels[row] for row in held.places], random)]
    inputs = [rows.inputs[row] for row in at]
    needed = deployment.params.monitor.rows
    if fault.cause == "label_shift" and len(at) < needed:
        note = f"held-out rows give {len(at)} inputs in these shares; a monitor judges {needed} (monitor.rows)."
        at = at[:0]
    if fault.target != "stream":
        damaged = [fault.inject(raw, severity, random) for raw in inputs]
        if not _changes(held.predictor, inputs, damaged):
            at, note = at[:0], "it changes nothing for this model."
        inputs = damaged
    if not len(at):
        nothing = {"clean": None, "broken": None, "cured": None}
        why = note or "there are not enough held-out rows."
        return Outcome(fault.name, fault.meaning, fault.cause, 0, None, None, None, "none", nothing, [], why)
    deployment.next_window(fault.name)
    looks, labels, document = [], [], {}
    for before, size in zip((0, *LOOKS), LOOKS, strict=False):
        if before >= len(at):
            break
        part = inputs[before : min(size, len(at))]
        labels += deployment.ask(part, done=0.9 * before / len(at), share=0.9 * len(part) / len(at))
        document = deployment.look()
        cause = document["causes"][0]["cause"] if document["causes"] else None
        named = cause if document["verdict"] == "alert" else None
        looks.append(Look(len(labels), document["verdict"], named, document["remedy"]))
    truth = [rows.labels[row] for row in at]
    accuracy = {
        "clean": _right([held.labels[row] for row in at], truth),
        "broken": _right(labels, truth),
        "cured": None,
    }
    expected = held.expected(fault, inputs, truth, accuracy, deployment.params.monitor.accuracy_drop)
    if looks[-1].cause:
        healed = cured(document, held, at, inputs, deployment)
        accuracy["cured"] = None if healed is None else _right(healed, truth)
    return Outcome(
        fault=fault.name,
        meaning=fault.meaning,
        expected=expected,
        answers=len(at),
        detected_after=next((look.answers for look in looks if look.verdict == "alert"), None),
        named_after=next((look.answers for look in looks if look.cause == expected), None),
        cause=looks[-1].cause,
        remedy=looks[-1].remedy if looks[-1].cause else "none",
        accuracy=accuracy,
        looks=looks,
        note=_sentence(document),
    )


def _drawn(fault: Fault, labels: Sequence[str], random: np.random.Generator) -> NDArray[np.int64]:
    """Rows to send, none of them twice unless that is the fault; fewer where a class has no more of them."""
    if fault.target != "stream":
        return random.permutation(len(labels))[: LOOKS[-1]]
    if fault.name == "inputs_repeated":
        return np.asarray(fault.inject(LOOKS[-1], len(labels), random, **STREAMS[fault.name]), dtype=np.int64)
    unused: dict[str, list[int]] = {}
    for row in random.permutation(len(labels)).tolist():
        unused.setdefault(labels[row], []).append(row)
    chosen: list[int] = []
    for row in fault.inject(labels, LOOKS[-1], random, **STREAMS[fault.name]).tolist():
        if not unused[labels[row]]:
            break
        chosen.append(unused[labels[row]].pop())
    return np.array(chosen, dtype=np.int64)


def _changes(predictor: Predictor, before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether the network is given anything else."""
    for first, second in zip(before, after, strict=True):
        try:
            ours, theirs = predictor.preprocessor.prepare([first])[0], predictor.preprocessor.prepare([second])[0]
        except ContractError:
            return True
        if ours.shape != theirs.shape or not np.array_equal(ours, theirs):
            return True
    return False


def cured(
    document: Mapping[str, Any],
    held: HeldOut,
    at: NDArray[np.int64],
    inputs: Sequence[Any],
    deployment: Deployment,
) -> Sequence[str] | None:
    """The labels of the same window once the proposed remedy is applied; None where that needs labels or training."""
    remedy = document["remedy"]
    if remedy == "fix_client":
        return [held.labels[row] for row in at]
    if remedy == "correct_prior":
        seen = remedies.Recorded(deployment.window(), held.profile, held.prior, deployment.params.monitor)
        try:
            return held.at(remedies.correct_prior(seen).effect["prior"], at)
        except DataError:  # too few inputs, or shares that cannot be told
            return None
    if remedy == "recalibrate_batchnorm":
        try:
            return recalibration.answered(held.bundle, held.profile, deployment.kept().raw, inputs)
        except DataError:  # too few images
            return None
    return None


def _right(labels: Sequence[str | None], truth: Sequence[str]) -> float:
    return sum(said == label for said, label in zip(labels, truth, strict=True)) / len(truth)


def _sentence(document: Mapping[str, Any]) -> str:
    return str(document["causes"][0]["evidence"].get("meaning") or "") if document["causes"] else ""

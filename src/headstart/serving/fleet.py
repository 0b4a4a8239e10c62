"""The models one server serves: each with its queue and its journal, replaced as a whole when its champion changes.

While a rollout runs, a model's challenger is at work beside its champion (`candidates`).
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from headstart import determinism
from headstart.errors import BundleError, ContractError, HeadstartError
from headstart.journal.writer import Journal
from headstart.params.operation import Canary, Serve
from headstart.registry.rollouts import Rollout
from headstart.rollout import slow_above
from headstart.serving.batching import Batcher, Raw, RetiredError
from headstart.serving.candidates import Candidate, Copies, Latencies
from headstart.serving.models import LoadedModel, Outcome
from headstart.serving.refusals import RefusedError, shown
from headstart.serving.sampling import SHARE, Answering, Offered, Sampler

PATIENCE = 10  # a canary may take a tenth of `serve.timeout_s`, or
USUAL = 5  # times the champion's 95th percentile, and half of the limit at most: the champion needs the rest
logger = logging.getLogger("headstart.serving")


@dataclass(frozen=True)
class Slot:
    """What one model of the fleet keeps while its versions come and go."""

    params: Serve
    journal: Journal


@dataclass(frozen=True)
class ActiveModel:
    """A version at work."""

    model: LoadedModel
    batcher: Batcher[Outcome]


@dataclass(frozen=True)
class Trouble:
    """Why a model's champion is not at work, or is no longer to be trusted.

    Attributes:
        sentence: what is wrong and what to do.
        artifact: whether the bundle is wrong: not the one registered, or with other answers than its golden ones.
    """

    sentence: str
    artifact: bool = False

    @classmethod
    def of(cls, error: Exception, before: str = "") -> "Trouble":
        """What an error says, after the words `before`."""
        if isinstance(error, BundleError | ContractError):
            return cls(f"model_artifact: {before}{error}", artifact=True)
        sentence = str(error) if isinstance(error, HeadstartError) else f"{type(error).__name__}: {error}"
        return cls(f"{before}{sentence}")


NO_CHAMPION = Trouble(
    "it has no champion in the registry. Make one (headstart run) or promote a version (headstart promote): it is "
    "served as soon as it is champion."
)


def cannot_serve(version: int) -> str:
    """How the sentence of a champion begins that does not come to work."""
    return f"version {version}, the champion, cannot be served: "


class Fleet:
    """Named models that answer; thread-safe."""

    def __init__(
        self, models: Mapping[str, LoadedModel], slots: Mapping[str, Slot], *, workers: int, sampled: float = SHARE
    ) -> None:
        """Take up loaded models; nothing runs before `start()`.

        Args:
            models: by name.
            slots: by name, of models that are not loaded too: `note` says why they are not.
            workers: threads a model.
            sampled: share of one core, at most, that measures what enters layers.
        """
        self._models = dict(models)
        self._slots = dict(slots)
        self._workers = workers
        self._samplers = {name: Sampler(name, slot.journal, share=sampled) for name, slot in slots.items()}
        self._active: dict[str, ActiveModel] = {}
        self._candidates: dict[str, Candidate] = {}
        self._ending: list[threading.Thread] = []
        self._latencies = {name: Latencies() for name in slots}
        self._troubles: dict[str, Trouble] = {}
        self.copies = {name: Copies(name) for name in slots}
        self.rollouts: dict[str, Rollout] = {}
        self.canary_answers = dict.fromkeys(slots, 0)
        self.canary_failures = dict.fromkeys(slots, 0)
        self.reload_failures = dict.fromkeys(slots, 0)

    @property
    def names(self) -> list[str]:
        return list(self._slots)

    @property
    def cold(self) -> list[str]:
        """The models that do not answer yet and have no trouble: they are warming up."""
        return [name for name in self._slots if name not in self._active and name not in self._troubles]

    @property
    def ready(self) -> bool:
        """Whether every model answers that can be served, and at least one does."""
        return not self.cold and bool(self._active)

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by model; models without trouble are left out."""
        return {name: trouble.sentence for name, trouble in list(self._troubles.items())}

    def start(self) -> None:
        """Start the journals, then put each model to work that gives its golden answers.

        One that does not is not served, and the others are.

        Raises:
            BundleError: if none can be served for that reason.
        """
        for slot in self._slots.values():
            slot.journal.start()
        refused: list[HeadstartError] = []
        for model in self._models.values():
            try:
                self.post(model)
            except HeadstartError as error:
                refused.append(error)
                self.note(model.name, Trouble.of(error, cannot_serve(model.version)))
        if refused and not self._active and len(self._troubles) == len(refused):
            raise refused[0]

    def post(self, model: LoadedModel) -> None:
        """Let a version answer from now on; what the one before has taken on, it still answers.

        Its golden answers are asked for first, the way requests are answered.

        Raises:
            BundleError: if an answer is not the expected one; then nothing changes.
        """
        model.require_golden_answers()
        batcher = self._batcher(model)
        before = self._active.get(model.name)
        self._active[model.name] = ActiveModel(model, batcher)
        logger.info("%s: version %d answers", model.name, model.version)
        self.note(model.name, None)
        if before:
            before.batcher.close()

    def accompany(self, model: LoadedModel, rollout: Rollout) -> None:
        """Let a challenger be at work beside the champion, in the step that runs.

        Raises:
            BundleError: if it does not give its golden answers; then nothing changes.
        """
        model.require_golden_answers()
        step = rollout.running
        assert step is not None
        is_canary = isinstance(step, Canary)
        model = replace(model, role="canary" if is_canary else "shadow")
        candidate = Candidate(rollout, model, self._batcher(model) if is_canary else None)
        self.leave(model.name)
        self._candidates[model.name] = candidate
        logger.info("%s: version %d is at work as %s", model.name, model.version, model.role)

    def leave(self, name: str) -> None:
        """Let no challenger be at work beside the champion; what it has taken on, it still answers."""
        before = self._candidates.pop(name, None)
        if before:
            logger.info("%s: version %d is no longer at work as %s", name, before.model.version, before.model.role)
            if before.batcher:
                ending = threading.Thread(target=before.batcher.close, daemon=True)  # it may hang
                ending.start()
                self._ending.append(ending)

    def withdraw(self, name: str) -> None:
        """Let a model answer no more; what it has taken on, it still answers."""
        before = self._active.pop(name, None)
        if before:
            before.batcher.close()

    def note(self, name: str, trouble: Trouble | None) -> bool:
        """Remember what is wrong with a model, None for nothing; said in the log once, when it changes.

        Returns:
            Whether it changed.
        """
        if trouble == self._troubles.get(name):
            return False
        if trouble is None:
            del self._troubles[name]
            logger.warning("%s: what was wrong is over; version %s answers", name, self.version(name))
            return True
        self._troubles[name] = trouble
        version = self.version(name)
        going_on = f"version {version} goes on answering" if version else "nothing answers for it"
        logger.error("%s: %s Meanwhile %s.", name, trouble.sentence, going_on)
        return True

    def close(self) -> None:
        """Answer what waits, then write and seal the journals."""
        for name, slot in self._slots.items():
            self.leave(name)
            self.copies[name].close()
            for ending in self._ending:
                ending.join(slot.params.timeout_s)
        for active in self._active.values():
            active.batcher.close()
        for sampler in self._samplers.values():
            sampler.close()
        for slot in self._slots.values():
            slot.journal.close()

    def slot(self, name: str) -> Slot:
        """A model's limits and journal.

        Raises:
            RefusedError: 404 if there is no such model.
        """
        if name not in self._slots:
            served = ", ".join(sorted(self._slots))
            raise RefusedError(404, f"There is no model {shown(name)} here.", action=f"Served are: {served}.")
        return self._slots[name]

    def active(self, name: str, version: str | None = None) -> ActiveModel:
        """A model's version at work.

        Raises:
            RefusedError: 404 if there is no such model, or another version of it is served; 503 if it is not warm yet,
                or cannot be served.
        """
        self.slot(name)
        active = self._active.get(name)
        if active is None and name in self._troubles:
            raise RefusedError(
                503,
                f"{name} is not served at present; GET /health says why.",
                action="Try again later, or tell whoever runs this server.",
                headers={"Retry-After": "60"},
            )
        if active is None:
            raise RefusedError(503, f"{name} is warming up.", action="Try again in 1 s.", headers={"Retry-After": "1"})
        if version is not None and version != str(active.model.version):
            raise RefusedError(
                404,
                f"Version {shown(version)} of {name} is not served.",
                action=f"Served is version {active.model.version}; leave the version out to get whichever is champion.",
            )
        return active

    def submit(
        self,
        name: str,
        version: str | None,
        inputs: Sequence[Raw],
        afterwards: Callable[[LoadedModel, list[Outcome]], None],
        *,
        places: Sequence[int] | None = None,
        check: Callable[[LoadedModel], None] = lambda model: None,
    ) -> "tuple[LoadedModel, Future[list[Outcome]]]":
        """Queue inputs with the version at work; which one, and the future of their outcomes.

        `check` may refuse the version that is about to answer: what it raises is passed on, and nothing is queued.

        Raises:
            RefusedError: as `posted`.
            QueueFullError: if there is no room for the inputs.
        """
        while True:
            active = self.active(name, version)
            check(active.model)
            try:
                return active.model, active.batcher.submit(inputs, partial(afterwards, active.model), places=places)
            except RetiredError:
                if self._active.get(name) is active:
                    raise

    def candidate(self, name: str) -> Candidate | None:
        """The challenger at work beside the champion; None where there is none."""
        return self._candidates.get(name)

    def canary(self, name: str, key: Callable[[], str]) -> Candidate | None:
        """The canary, if it is to answer the request with this key; the same for every request with it."""
        candidate = self._candidates.get(name)
        if candidate is None or candidate.batcher is None or candidate.guard.trouble:
            return None
        drawn = determinism.fraction(f"{candidate.model.version}:{key()}", seed=0)
        return candidate if drawn < candidate.share else None

    def copied_to(self, name: str, answered: LoadedModel) -> LoadedModel | None:
        """Who gets a copy of what a version answered; None for nobody."""
        candidate, active = self._candidates.get(name), self._active.get(name)
        if candidate is None or active is None:
            return None
        if candidate.batcher is None:
            return candidate.model if answered is active.model else None
        return replace(active.model, role="shadow") if answered is candidate.model else None

    def patience_s(self, name: str) -> float:
        """For how long a canary may compute before the champion answers in its place."""
        timeout_s = self._slots[name].params.timeout_s
        usual = self._latencies[name].p95 or 0.0
        return min(timeout_s / 2, max(timeout_s / PATIENCE, USUAL * usual))

    def champion_answered(self, name: str, seconds: float) -> None:
        """Note how long an answer of the champion took."""
        self._latencies[name].add(seconds)

    def canary_answered(self, name: str, canary: Candidate, seconds: float) -> None:
        """Note how long an answer of the canary took."""
        self.canary_answers[name] += 1
        usual = self._latencies[name].p95
        limit_s = None if usual is None else slow_above(1000 * usual, canary.rollout.latency) / 1000
        canary.guard.answered(seconds, limit_s)

    def canary_failed(self, name: str, canary: Candidate, reason: str, *, late_s: float | None = None) -> None:
        """Note a request that the champion has to answer in the canary's place.

        Args:
            name: of the model.
            canary: at work.
            reason: why.
            late_s: how long it had, where it is too late; None where it failed.
        """
        self.canary_failures[name] += 1
        logger.warning("%s: version %d failed as canary: %s", name, canary.model.version, reason)
        if late_s is None:
            canary.guard.failed(reason)
        else:
            canary.guard.late(late_s)

    def waiting(self, name: str) -> int:
        """How many inputs wait."""
        active = self._active.get(name)
        return active.batcher.waiting if active else 0

    def version(self, name: str) -> int | None:
        """The version at work; None while there is none."""
        active = self._active.get(name)
        return active.model.version if active else None

    def at_work(self, name: str) -> LoadedModel | None:
        """The version at work; None while there is none."""
        active = self._active.get(name)
        return active.model if active else None

    def artifact_is_wrong(self, name: str) -> bool:
        """Whether the champion's bundle failed a check."""
        trouble = self._troubles.get(name)
        return trouble is not None and trouble.artifact

    def sample(self, model: LoadedModel, when: datetime, inputs: Sequence[Offered]) -> None:
        """Let what entered the layers for inputs that a version just answered be summed in the background."""
        measured = [each for each in inputs if model.instrumented is not None or each.moments is not None]
        if measured:
            self._samplers[model.name].offer(Answering(model.instrumented, model.version, model.bundle), when, measured)

    def drain(self) -> None:
        """Wait until the sums of all measured inputs are on their way to the journals."""
        for sampler in self._samplers.values():
            sampler.drain()

    def journal(self, name: str) -> Journal:
        return self._slots[name].journal

    def _batcher(self, model: LoadedModel) -> Batcher[Outcome]:
        params = self._slots[model.name].params
        return Batcher(
            model.answer,
            name=f"{model.name} v{model.version}",
            batch=params.batch,
            capacity=params.queue,
            workers=self._workers,
            by_length=model.contract.modality == "text",
        )

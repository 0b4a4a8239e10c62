"""The models one server serves: each with its queue and its journal, replaced as a whole when its champion changes.

While a rollout runs, a model's challenger is at work beside its champion (`candidates`).
"""

import logging
import threading
import time
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
from headstart.serving.batching import Batcher, Raw, RetiredError
from headstart.serving.candidates import Candidate, Copies, Latencies
from headstart.serving.models import LoadedModel, Outcome
from headstart.serving.refusals import RefusedError, shown
from headstart.serving.sampling import SHARE, Answering, Offered, Sampler

INSPECT_S = 3600.0  # a check costs under a second of one core: a damaged model answers for an hour at most
MOST_SKIPPED = 60  # looks at the registry between two attempts at a champion that cannot be served: a minute
REPLAY_S = 3.0  # between two questions of golden inputs to a canary: half of them, so all in 6 s
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
        canary.guard.answered(seconds, None if usual is None else canary.rollout.latency * usual)

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


@dataclass(frozen=True)
class Rollouts:
    """What a server asks the registry of rollouts, and tells it.

    Attributes:
        current: a model's rollout, whatever it is at; None where none was begun, or it is over.
        last: the one that was taken back last; None where none was.
        load: a version, loaded.
        take_back: ends a rollout, for a reason.
    """

    current: Callable[[str], Rollout | None]
    last: Callable[[str], Rollout | None]
    load: Callable[[str, int], LoadedModel]
    take_back: Callable[[str, Rollout, str], object]


class ReloadWatcher:
    """A thread that follows the registry: a new champion goes to work, and the one at work is checked each hour.

    A champion that cannot be served changes nothing, and is tried again at growing distances: each time costs the
    loading of a whole bundle.

    Each hour the version at work answers its golden inputs again, and the registry's copy is compared with what was
    registered. Where only the copy is damaged, the server goes on: what it holds in memory is proven right, and the
    log asks to restore the copy before the next start needs it. Where the golden answers are wrong, the version is
    loaded anew from the registry. If that fails too, the model answers no more (503): an answer that is known to be
    wrong, at full confidence, does more harm than none, and other servers can take the traffic. It comes back as soon
    as a champion passes its checks.

    A rollout is followed at the same pace. A challenger that is damaged, and a canary that its guard condemns, is out
    of work at once and is taken back in the registry, from which other servers learn it; where the registry is away,
    that is tried again at each look.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        champion: Callable[[str], int | None],
        load: Callable[[str], LoadedModel],
        every_s: float,
        registered: Callable[[str, int], str] | None = None,
        inspect_s: float = INSPECT_S,
        rollouts: Rollouts | None = None,
    ) -> None:
        """Nothing runs before `start()`.

        Args:
            fleet: the models.
            champion: a model's champion; None where it has none.
            load: the champion's version, loaded.
            every_s: seconds between two looks.
            registered: the hash of the manifest that the registry holds for a version, once all of its files are
                compared; raises BundleError where one differs. None: the copy is not checked.
            inspect_s: seconds between two inspections of what is at work.
            rollouts: None: none is followed.
        """
        self._fleet = fleet
        self._champion = champion
        self._load = load
        self._every_s = every_s
        self._registered = registered
        self._inspect_s = inspect_s
        self._rollouts = rollouts
        self._unfollowed: dict[str, str] = {}
        self._replay_due: dict[str, float] = {}
        self._condemned: dict[str, tuple[Rollout, str]] = {}  # what was at work here, and why it is not any more
        self._failed: dict[str, tuple[int, int, int]] = {}  # version, attempts, looks to skip
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; a version that is being loaded is finished first."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def refresh(self) -> list[str]:
        """Look once; the names of the models that changed. A version that cannot be loaded changes nothing."""
        changed = [name for name in self._fleet.names if self._follow(name)]
        if self._rollouts:
            for name in self._fleet.names:
                self._accompany(name, self._rollouts)
        return changed

    def inspect(self) -> None:
        """Check what is at work once: golden answers, and the registry's copy."""
        for name in self._fleet.names:
            model = self._fleet.at_work(name)
            if model is None:
                continue
            if not self._tried(name, model.require_golden_answers):
                if not self._tried(name, partial(self._replace, name)):
                    self._fleet.reload_failures[name] += 1
                    self._fleet.withdraw(name)
            elif self._tried(name, partial(self._compare, model)):
                self._fleet.note(name, None)

    def _follow(self, name: str) -> bool:
        served = self._fleet.version(name)
        asked: list[int | None] = []
        if not self._tried(name, lambda: asked.append(self._champion(name))):
            return False
        (wanted,) = asked
        if wanted is None:
            self._fleet.note(name, NO_CHAMPION)
            return False
        if wanted == served:
            rival_failed = self._failed.pop(name, None) is not None
            if rival_failed or not self._fleet.artifact_is_wrong(name):  # else the next inspection decides
                self._fleet.note(name, None)
            return False
        version, attempts, skip = self._failed.get(name, (wanted, 0, 0))
        if version == wanted and skip > 0:
            self._failed[name] = (version, attempts, skip - 1)
            return False
        if self._tried(name, partial(self._replace, name), cannot_serve(wanted)):
            self._failed.pop(name, None)
            return True
        attempts = attempts + 1 if version == wanted else 1
        self._failed[name] = (wanted, attempts, min(2**attempts, MOST_SKIPPED))
        self._fleet.reload_failures[name] += 1
        return False

    def _accompany(self, name: str, rollouts: Rollouts) -> None:
        """Bring what is at work beside the champion in line with the registry; a failure is tried again next time."""
        try:
            self._judge(name)
            current = rollouts.current(name)
            self._remember(name, current, rollouts)
            if current and current.failed:  # somebody was killed while taking it back
                rollouts.take_back(name, current, current.failed)
            if current and self._is_condemned(name, current):
                rollouts.take_back(name, current, self._condemned[name][1])
                self._remember(name, None, rollouts)
            if current and self._is_at_work(name, current):
                self._employ(name, current, rollouts)
            else:
                self._fleet.leave(name)
            self._unfollowed.pop(name, None)
        except HeadstartError as error:
            self._is_news(name, error)
        except Exception as error:
            if self._is_news(name, error):
                logger.exception("%s: the traceback", name)

    def _is_news(self, name: str, error: Exception) -> bool:
        """Say in the log, once, why a rollout is not followed; whether it had not been said."""
        news = self._unfollowed.get(name) != str(error)
        if news:
            logger.error("%s: its rollout is not followed: %s", name, error)
            self._unfollowed[name] = str(error)
        return news

    def _judge(self, name: str) -> None:
        """Ask a canary some golden inputs, and let one that its guard condemns be out of work."""
        candidate = self._fleet.candidate(name)
        if candidate is None or candidate.batcher is None:
            return
        if candidate.guard.trouble is None and time.monotonic() >= self._replay_due.get(name, 0.0):
            candidate.replay()
            self._replay_due[name] = time.monotonic() + REPLAY_S
        if candidate.guard.trouble:
            self._condemn(name, candidate.rollout, candidate.guard.trouble)

    def _condemn(self, name: str, rollout: Rollout, reason: str) -> None:
        logger.error("%s: version %d is taken back: %s", name, rollout.version, reason)
        self._condemned[name] = (rollout, reason)
        self._fleet.leave(name)

    def _is_at_work(self, name: str, current: Rollout) -> bool:
        """Whether the challenger has something to do here: its step runs, against the champion that this server has."""
        is_champion = self._fleet.version(name) == current.champion
        return current.running is not None and is_champion and not self._is_condemned(name, current)

    def _is_condemned(self, name: str, current: Rollout) -> bool:
        held = self._condemned.get(name)
        return held is not None and (held[0].version, held[0].began) == (current.version, current.began)

    def _remember(self, name: str, current: Rollout | None, rollouts: Rollouts) -> None:
        """Keep the rollout for whoever asks, its end too."""
        before = self._fleet.rollouts.get(name)
        if current:
            self._fleet.rollouts[name] = current
        elif before and before.name not in ("passed", "failed"):
            ended = rollouts.last(name)
            if ended and ended.version == before.version:
                self._fleet.rollouts[name] = ended
            elif self._champion(name) == before.version:
                self._fleet.rollouts[name] = replace(before, champion_now=before.version)
            else:
                del self._fleet.rollouts[name]

    def _employ(self, name: str, current: Rollout, rollouts: Rollouts) -> None:
        """Let the challenger be at work in the step that runs."""
        candidate = self._fleet.candidate(name)
        if candidate and candidate.rollout == current:
            return
        try:
            loaded = candidate.model if candidate else None
            if loaded is None or loaded.version != current.version:
                loaded = rollouts.load(name, current.version)
            self._fleet.accompany(loaded, current)
        except (BundleError, ContractError) as error:
            self._condemn(name, current, f"It cannot be served: {error.message}")

    def _replace(self, name: str) -> None:
        self._fleet.post(self._load(name))

    def _compare(self, model: LoadedModel) -> None:
        """Hold the registry's copy of the version at work against what was registered, and against what was loaded.

        Raises:
            BundleError: if they differ.
        """
        if self._registered is None:
            return
        arrived = self._registered(model.name, model.version)
        if model.bundle != arrived:
            raise BundleError(
                f"version {model.version} was loaded from the bundle {model.bundle}; the registry now has {arrived}.",
                action="Find out who changed the registry's tag `bundle`; a version is never changed.",
            )

    def _tried(self, name: str, step: Callable[[], None], before: str = "") -> bool:
        """Whether a step succeeded; what went wrong is noted, with a traceback, once, where it is not a refusal."""
        try:
            step()
            return True
        except HeadstartError as error:
            self._fleet.note(name, Trouble.of(error, before))
        except Exception as error:
            if self._fleet.note(name, Trouble.of(error, before)):
                logger.exception("%s: the traceback", name)
        return False

    def _run(self) -> None:
        due = time.monotonic() + self._inspect_s
        while not self._stopping.wait(self._every_s):
            self.refresh()
            if time.monotonic() >= due:
                self.inspect()
                due = time.monotonic() + self._inspect_s

"""What keeps a server in step with the registry: new champions, rollouts, and checks of what is at work."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from headstart.errors import BundleError, ContractError, HeadstartError
from headstart.registry.rollouts import Rollout
from headstart.serving.fleet import NO_CHAMPION, Fleet, Trouble, cannot_serve
from headstart.serving.models import LoadedModel

INSPECT_S = 3600.0  # a check costs under a second of one core: a damaged model answers for an hour at most
MOST_SKIPPED = 60  # looks at the registry between two attempts at a champion that cannot be served: a minute
REPLAY_S = 3.0  # between two questions of golden inputs to a canary: half of them, so all in 6 s
logger = logging.getLogger("headstart.serving")


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

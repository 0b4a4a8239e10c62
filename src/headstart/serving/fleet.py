"""The models one server serves: each with its queue and its journal, replaced as a whole when its champion changes."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from headstart.journal.writer import Journal
from headstart.params.operation import Serve
from headstart.serving.batching import Batcher, Raw, RetiredError
from headstart.serving.models import Answered, LoadedModel
from headstart.serving.refusals import RefusedError, shown

logger = logging.getLogger("headstart.serving")


@dataclass(frozen=True)
class Berth:
    """What one model of the fleet keeps while its versions come and go."""

    params: Serve
    journal: Journal


@dataclass(frozen=True)
class Posted:
    """A version at work."""

    model: LoadedModel
    batcher: Batcher[Answered]


class Fleet:
    """Named models that answer; thread-safe."""

    def __init__(self, models: Mapping[str, LoadedModel], berths: Mapping[str, Berth], *, workers: int) -> None:
        """Take up loaded models; nothing runs before `start()`.

        Args:
            models: by name.
            berths: by the same names.
            workers: threads a model.
        """
        self._models = dict(models)
        self._berths = dict(berths)
        self._workers = workers
        self._posted: dict[str, Posted] = {}
        self.reload_failures = dict.fromkeys(models, 0)

    @property
    def names(self) -> list[str]:
        return list(self._models)

    @property
    def cold(self) -> list[str]:
        """The models that do not answer yet."""
        return [name for name in self._models if name not in self._posted]

    def start(self) -> None:
        """Start the journals, then answer each model's examples and put it to work.

        Raises:
            ContractError: if a bundle's contract refuses its own examples.
        """
        for berth in self._berths.values():
            berth.journal.start()
        for model in self._models.values():
            self.post(model)

    def post(self, model: LoadedModel) -> None:
        """Warm a version up and let it answer from now on; what the one before has taken on, it still answers.

        Raises:
            ContractError: if the bundle's contract refuses its own examples; then nothing changes.
        """
        model.warm()
        params = self._berths[model.name].params
        batcher = Batcher(
            model.answer,
            name=f"{model.name} v{model.version}",
            batch=params.batch,
            capacity=params.queue,
            workers=self._workers,
            by_length=model.contract.modality == "text",
        )
        before = self._posted.get(model.name)
        self._posted[model.name] = Posted(model, batcher)
        logger.info("%s: version %d answers", model.name, model.version)
        if before:
            before.batcher.close()

    def close(self) -> None:
        """Answer what waits, then write and seal the journals."""
        for posted in self._posted.values():
            posted.batcher.close()
        for berth in self._berths.values():
            berth.journal.close()

    def berth(self, name: str) -> Berth:
        """A model's limits and journal.

        Raises:
            RefusedError: 404 if there is no such model.
        """
        if name not in self._berths:
            served = ", ".join(sorted(self._berths))
            raise RefusedError(404, f"There is no model {shown(name)} here.", action=f"Served are: {served}.")
        return self._berths[name]

    def posted(self, name: str, version: str | None = None) -> Posted:
        """A model's version at work.

        Raises:
            RefusedError: 404 if there is no such model, or another version of it is served; 503 if it is not warm yet.
        """
        self.berth(name)
        posted = self._posted.get(name)
        if posted is None:
            raise RefusedError(503, f"{name} is warming up.", action="Try again in 1 s.", headers={"Retry-After": "1"})
        if version is not None and version != str(posted.model.version):
            raise RefusedError(
                404,
                f"Version {shown(version)} of {name} is not served.",
                action=f"Served is version {posted.model.version}; leave the version out to get whichever is champion.",
            )
        return posted

    def submit(
        self,
        name: str,
        version: str | None,
        inputs: Sequence[Raw],
        afterwards: Callable[[LoadedModel, list[Answered]], None],
    ) -> "tuple[LoadedModel, Future[list[Answered]]]":
        """Queue inputs with the version at work; which one, and the future of its answers.

        Raises:
            RefusedError: as `posted`.
            QueueFullError: if there is no room for the inputs.
        """
        while True:
            posted = self.posted(name, version)
            try:
                return posted.model, posted.batcher.submit(inputs, partial(afterwards, posted.model))
            except RetiredError:
                if self._posted.get(name) is posted:
                    raise

    def waiting(self, name: str) -> int:
        """How many inputs wait."""
        posted = self._posted.get(name)
        return posted.batcher.waiting if posted else 0

    def version(self, name: str) -> int | None:
        """The version at work; None while there is none."""
        posted = self._posted.get(name)
        return posted.model.version if posted else None

    def journal(self, name: str) -> Journal:
        return self._berths[name].journal


class Follower:
    """A thread that asks which version is champion, and puts a new one to work once it is loaded and warm."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        champion: Callable[[str], int],
        load: Callable[[str], LoadedModel],
        every_s: float,
    ) -> None:
        self._fleet = fleet
        self._champion = champion
        self._load = load
        self._every_s = every_s
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
        changed = []
        for name in self._fleet.names:
            served = self._fleet.version(name)
            try:
                if served is not None and self._champion(name) != served:
                    self._fleet.post(self._load(name))
                    changed.append(name)
            except Exception:
                self._fleet.reload_failures[name] += 1
                logger.exception("%s: the new champion cannot be served; version %s goes on", name, served)
        return changed

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.refresh()

"""One server process, from loading champions to flushing the journals."""

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import uvicorn
from fastapi import FastAPI

from headstart import determinism, settings
from headstart.errors import HeadstartError, OutsideError, UsageError
from headstart.journal.writer import Journal
from headstart.params.operation import Serve
from headstart.serving.access import KeyFile
from headstart.serving.app import create_app
from headstart.serving.fleet import NO_CHAMPION, Fleet, Slot, Trouble, cannot_serve
from headstart.serving.models import LoadedModel
from headstart.serving.watcher import ReloadWatcher, Rollouts
from headstart.serving.wire import BoundedProtocol

FOLLOW_S = 1.0  # a rollback is to be answered by the version before within 5 s, and its command takes 2.5 of them
logger = logging.getLogger("headstart.serving")


def serve(
    names: Sequence[str],
    *,
    host: str,
    port: int,
    load: Callable[[str], LoadedModel],
    champion: Callable[[str], int | None],
    params: Mapping[str, Serve],
    journals: Mapping[str, Journal],
    listening: Callable[[str, Sequence[str]], None],
    registered: Callable[[str, int], str] | None = None,
    keys: KeyFile | None = None,
    follow_s: float = FOLLOW_S,
    rollouts: Rollouts | None = None,
) -> None:
    """Load the champions, warm them up, and answer until a signal (TERM, INT) ends it.

    A model without a champion is served as soon as it has one; a champion whose bundle is not the one registered, or
    does not give its golden answers, is not served at all, and the other models are.

    On the signal: no new connection is taken, what was asked is answered, the journals are flushed and sealed.

    Args:
        names: of the models.
        host: address to listen on.
        port: to listen on; 0 lets the system choose.
        load: the champion's version, loaded.
        champion: the champion's version number, None for none; asked every `follow_s`, a new one replaces the old
            without a gap.
        params: limits by model.
        journals: by model.
        listening: called with the URL and the models that answer, once the first request can be answered.
        registered: see `watcher.ReloadWatcher`.
        keys: of those who may call; None lets everybody.
        follow_s: seconds between two looks at the registry.
        rollouts: see `watcher.ReloadWatcher`.

    Raises:
        OutsideError: if the port cannot be listened on.
        UsageError: if no model has a champion.
        HeadstartError: if no model can be served: what `load` raised.
    """
    with _bound(host, port) as listener:
        models, troubles = _load(names, champion, load)
        slots = {name: Slot(params[name], journals[name]) for name in names}
        fleet = Fleet(models, slots, workers=determinism.threads())
        for name, trouble in troubles.items():
            fleet.note(name, trouble)
        watcher = ReloadWatcher(
            fleet, champion=champion, load=load, registered=registered, every_s=follow_s, rollouts=rollouts
        )
        app = create_app(fleet, clock=settings.now, keys=keys)
        config = _config(app, patience_s=max(params[name].timeout_s for name in names))
        with contextlib.ExitStack() as stack:
            stack.callback(fleet.close)
            fleet.start()
            stack.callback(watcher.close)
            watcher.start()
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when it has ended
                    stack.callback(signal.signal, number, signal.signal(number, _already_ended))
            answering = [name for name in names if fleet.version(name)]
            listening(_listen(listener, host, config.backlog), answering)
            uvicorn.Server(config).run(sockets=[listener])
            logger.info("no more requests; writing the journals")


@contextlib.contextmanager
def in_background(
    model: LoadedModel, params: Serve, journal: Journal, *, clock: Callable[[], datetime]
) -> Iterator[tuple[str, Fleet]]:
    """Serve one version from a thread of this process, on a free port of this machine; its URL, and the fleet.

    The journal is flushed and sealed when the block ends.

    Args:
        model: answers under its name.
        params: its limits.
        journal: started here.
        clock: the time in the journal, aware.

    Raises:
        BundleError: if the version does not give its golden answers.
    """
    fleet = Fleet({model.name: model}, {model.name: Slot(params, journal)}, workers=determinism.threads(), sampled=1.0)
    with _bound("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        stack.callback(fleet.close)
        fleet.start()
        config = _config(create_app(fleet, clock=clock), patience_s=params.timeout_s)
        server = uvicorn.Server(config)
        url = _listen(listener, "127.0.0.1", config.backlog)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
        thread.start()
        try:
            yield url, fleet
        finally:
            server.should_exit = True
            thread.join()


def _config(app: FastAPI, *, patience_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(patience_s)),
    )


def _load(
    names: Sequence[str], champion: Callable[[str], int | None], load: Callable[[str], LoadedModel]
) -> tuple[dict[str, LoadedModel], dict[str, Trouble]]:
    """The champions that can be loaded, and what keeps the others.

    Raises:
        UsageError: if no model has a champion.
        HeadstartError: if none can be loaded.
    """
    models: dict[str, LoadedModel] = {}
    troubles: dict[str, Trouble] = {}
    errors: list[HeadstartError] = []
    for name in names:
        version = None
        try:
            version = champion(name)
            if version is None:
                troubles[name] = NO_CHAMPION
            else:
                models[name] = load(name)
        except HeadstartError as error:
            errors.append(error)
            troubles[name] = Trouble.of(error, cannot_serve(version) if version else "")
    if not models:
        raise (
            errors[0]
            if errors
            else UsageError(f"{', '.join(names)}: no champion to serve.", action=f"Make one: headstart run {names[0]}.")
        )
    return models, troubles


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet: nobody connects before the models are warm.

    Raises:
        OutsideError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise _taken(host, port, error) from None
    return listener


def _listen(listener: socket.socket, host: str, backlog: int) -> str:
    """Start listening; the URL.

    Raises:
        OutsideError: if somebody else began to listen there since.
    """
    port = listener.getsockname()[1]
    try:
        listener.listen(backlog)
    except OSError as error:
        raise _taken(host, port, error) from None
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _taken(host: str, port: int, error: Exception) -> OutsideError:
    return OutsideError(
        f"{host}:{port} cannot be listened on: {getattr(error, 'strerror', None) or error}.",
        action="Choose another port with --port, or end what listens there.",
    )


def _already_ended(number: int, frame: object) -> None:
    """Uvicorn has seen the signal and ended; the journals are closed next."""

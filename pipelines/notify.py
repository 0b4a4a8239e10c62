"""Tell people, through apprise, wherever `HEADSTART_ALERT_URL` says; nothing is sent without it.

python -m pipelines.notify    sends a test message

A message that cannot be delivered never stops what it is about: it is tried twice, the failure is shown, and the next
look or training tries again. An address holds passwords and tokens, so it is named by its service and place in the list
only, and what a library says of it is masked.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock

from headstart import artifacts, settings
from headstart.errors import GateError, HeadstartError
from headstart.monitoring import notices
from headstart.monitoring.notices import Notice, State
from headstart.params.workspace import Model
from headstart.report import messages
from headstart.report.messages import Message
from headstart.settings import Workspace

PAUSE_S = 2.0  # before the second try
SHORTEST_SECRET = 4  # characters; masking shorter parts of an address would garble every sentence
PRIVATE_LOGS = ("apprise", "urllib3.connectionpool")  # addresses stand in them


@dataclass(frozen=True)
class Delivery:
    """What became of a message: `state` as Prefect shows it, and a clause."""

    state: str
    said: str


OFF = Delivery("Off", "HEADSTART_ALERT_URL is not set")
NOTHING = Delivery("Nothing to tell", "nothing happened that was not told before")
DELIVERED, PARTLY, UNDELIVERED = "Delivered", "Partly delivered", "Not delivered"


def look(workspace: Workspace, name: str, document: dict[str, Any]) -> Delivery:
    """Tell of an alert that begins, changes, lasts or ends, or of a look that failed; the document says what became."""

    def news(known: State) -> tuple[State, Message | None]:
        if document["window"]["start"] is None and (error := document.get("error")):
            state, notice = notices.of_repeat(known, "look", error["message"], settings.now())
            return state, messages.of_failed_look(name, error, notice.folded) if notice else None
        state, notice = notices.of_look(notices.forget(known, "look"), document)
        return state, _of_look(name, document, notice) if notice else None

    delivery = told(workspace, name, news)
    if delivery not in (OFF, NOTHING):
        document["notification"] = {"state": delivery.state, "said": delivery.said}
        artifacts.write_json(workspace.monitor(name) / "latest.json", document)
    return delivery


def rolled(workspace: Workspace, name: str, document: dict[str, Any]) -> Delivery:
    """Tell that a rollout went on, promoted or took back; a step that just goes on is no news."""
    if document["verdict"] == "unsure":
        return NOTHING if settings.alert_url() else OFF

    def news(known: State) -> tuple[State, Message | None]:
        state, notice = notices.of_repeat(known, "rollout", document["outcome"], settings.now())
        return state, messages.of_rollout(name, document) if notice else None

    return told(workspace, name, news)


def trained(workspace: Workspace, name: str, params: Model, error: HeadstartError | None) -> Delivery:
    """Tell how a training ended that released something, was rejected, or failed."""

    def news(known: State) -> tuple[State, Message | None]:
        if error is not None and not isinstance(error, GateError):
            about = {"message": error.message, "action": error.action}
            state, notice = notices.of_repeat(known, "training", f"failed: {error.message}", settings.now())
            return state, messages.of_failed_run(name, about, notice.folded) if notice else None
        run = artifacts.read_json(artifacts.release(name) / "run.json")
        outcome = messages.outcome_of(run, params.release.approval)
        checks = sorted(gate["check"] for gate in run["gates"] if gate["verdict"] != "pass")
        same = checks if outcome in ("rejected", "unsure") else [run["version"]]
        state, notice = notices.of_repeat(known, "training", f"{outcome}: {same}", settings.now())
        page = artifacts.release(name) / "report.html"
        shown = str(page.resolve()) if page.is_file() and error is None else ""
        return state, messages.of_run(name, outcome, run, notice.folded, shown) if notice else None

    return told(workspace, name, news)


def told(workspace: Workspace, name: str, news: Callable[[State], tuple[State, Message | None]]) -> Delivery:
    """Send what is new to people, and remember that they know it once any address took it.

    Args:
        workspace: of the model.
        name: the model.
        news: what to tell, given what they know, and what they know then.
    """
    if not settings.alert_url():
        return OFF
    path = workspace.monitor(name) / "notices.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # a look by hand may run beside the scheduled one
            state, message = news(_read(path))
            delivery = NOTHING if message is None else send(message)
            if delivery.state != UNDELIVERED:
                artifacts.write_json(path, state)
    except Exception as error:  # noqa: BLE001 - what is told of goes on; that nobody was told is shown
        delivery = Delivery(UNDELIVERED, masked(f"{type(error).__name__}: {error}"))
    if delivery.state in (UNDELIVERED, PARTLY):
        print(f"{name}: message {delivery.state.lower()}: {delivery.said}", file=sys.stderr)
    return delivery


def send(message: Message) -> Delivery:
    """Send a message to every address, each tried twice."""
    import apprise

    took: list[str] = []
    refused: list[str] = []
    with _overheard() as heard:
        servers = list(apprise.Apprise(servers=settings.alert_url()))
        for place, server in enumerate(servers, start=1):
            who = f"{server.service_name} (address {place} of {len(servers)})"
            target = apprise.Apprise()
            target.add(server)
            why = _tried(target, message, heard)
            if why is None:
                took.append(who)
            else:
                refused.append(f"{who}: {why}")
    if not servers:
        return Delivery(UNDELIVERED, "HEADSTART_ALERT_URL holds no address that apprise knows (https://appriseit.com)")
    said = "; ".join([*([f"sent to {', '.join(took)}"] if took else []), *refused])
    return Delivery((PARTLY if took else UNDELIVERED) if refused else DELIVERED, said)


def masked(text: str) -> str:
    """`text` in which every part of the addresses that may be a secret is masked."""
    parts = {part for part in re.split(r"[/:@?&=,;\s]+", settings.alert_url()) if len(part) >= SHORTEST_SECRET}
    for part in sorted(parts | {unquote(part) for part in parts}, key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _tried(target: Any, message: Message, heard: "_Lines") -> str | None:
    """None once the message was taken, else why it was not."""
    for attempt in range(2):
        if attempt:
            time.sleep(PAUSE_S)
        heard.lines.clear()
        if target.notify(body=message.text, title=message.title, notify_type=message.kind, body_format="text"):
            return None
    return f"tried twice: {masked(' '.join(heard.lines[:2])) or 'it did not say why'}"


class _Lines(logging.Handler):
    """Keeps warnings as text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _overheard() -> Iterator[_Lines]:
    """Hear what the libraries say of a failure, and let nobody else: addresses stand in their logs."""
    heard, loggers = _Lines(), [logging.getLogger(name) for name in PRIVATE_LOGS]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        logger.addHandler(heard)
    try:
        yield heard
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(heard)
            logger.propagate = propagate
            logger.setLevel(level)


def _of_look(name: str, document: dict[str, Any], notice: Notice) -> Message:
    return messages.of_look(name, document, notice.event, notice.since, notice.folded)


def _read(path: Path) -> State:
    """What people know; anew where that cannot be read: at worst they are told twice."""
    try:
        known = artifacts.read_json(path)
        if known["format"] == notices.FORMAT:
            return dict(known)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return notices.unknown()


def main() -> int:
    """Send a test message; 0 if every address took it."""
    settings.disable_telemetry()
    os.chdir(settings.find_workspace(Path(__file__).parent).root)
    if not settings.alert_url():
        print("HEADSTART_ALERT_URL is not set: nobody is told of anything.", file=sys.stderr)
        return 2
    body = "What happened: somebody tests whether messages arrive.\nWhat to do: nothing."
    delivery = send(Message("info", "headstart: a test message", body))
    print(f"{delivery.state}: {delivery.said}")
    return 0 if delivery.state == DELIVERED else 3


if __name__ == "__main__":
    sys.exit(main())

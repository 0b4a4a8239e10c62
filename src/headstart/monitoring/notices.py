"""What people are told of, and what is folded into a later message because they know it already.

One message for each event: an alert begins, gets another cause, lasts (a reminder, at most once a day), ends. Repeated
results of trainings and failures of looks are folded by their key. The state of a model:

    {`format`, `end` of the newest window, `alert`: null or {`since`, `told` {cause: when}, `folded`, `quiet`},
     `repeats` {slot: {`key`, `told`, `folded`}}}

The clock of looks is the end of their windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

FORMAT = 1
REMINDER = timedelta(days=1)
Document = Mapping[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Notice:
    """An event that people are told of.

    Attributes:
        event: what happened to the alert, or `happened` for anything else.
        since: the start of the first window that alarmed; empty for anything else.
        folded: how many more times the same was seen since the last message.
    """

    event: Literal["begins", "changes", "lasts", "ends", "happened"]
    since: str = ""
    folded: int = 0


def unknown() -> State:
    """The state of a model that nobody was told anything of."""
    return {"format": FORMAT, "end": None, "alert": None, "repeats": {}}


def of_look(known: State, document: Document) -> tuple[State, Notice | None]:
    """The state after a look, and what to tell; a window older than the newest one says nothing new.

    An alert is over once two windows without overlap are ok, so one that comes and goes is one alert. An unsure window
    counts neither way. A cause that was named before in the same alert is no news.
    """
    end = document["window"]["end"]
    if known["end"] is not None and _at(end) <= _at(known["end"]):
        return known, None
    state = {**known, "end": end}
    if document["verdict"] == "alert":
        return _alarmed(state, document)
    if document["verdict"] == "ok" and known["alert"] is not None:
        return _quiet(state, document)
    return state, None


def of_repeat(known: State, slot: str, key: str, now: datetime) -> tuple[State, Notice | None]:
    """The state after something happened that is no alert; the same key within a day is folded.

    Args:
        known: the state before.
        slot: the kind of event, like `training`; only the last key of a slot is compared.
        key: what is equal for events that say the same.
        now: when it happened.
    """
    last = known["repeats"].get(slot)
    if last is None or last["key"] != key:
        entry, notice = {"key": key, "told": now.isoformat(), "folded": 0}, Notice("happened")
    elif now - _at(last["told"]) >= REMINDER:
        entry, notice = {"key": key, "told": now.isoformat(), "folded": 0}, Notice("happened", folded=last["folded"])
    else:
        entry, notice = {**last, "folded": last["folded"] + 1}, None
    return {**known, "repeats": {**known["repeats"], slot: entry}}, notice


def forget(known: State, slot: str) -> State:
    """The state once a slot's trouble is over: the same again is news."""
    return {**known, "repeats": {name: entry for name, entry in known["repeats"].items() if name != slot}}


def cause_of(document: Document) -> str:
    """The likeliest cause of an alert."""
    return str(document["causes"][0]["cause"]) if document["causes"] else "unknown_shift"


def _alarmed(state: State, document: Document) -> tuple[State, Notice | None]:
    window, cause, open_alert = document["window"], cause_of(document), state["alert"]
    if open_alert is None:
        alert = {"since": window["start"], "told": {cause: window["end"]}, "folded": 0, "quiet": None}
        return {**state, "alert": alert}, Notice("begins", window["start"])
    since, told, folded = open_alert["since"], open_alert["told"], open_alert["folded"]
    if cause in told and _at(window["end"]) - max(map(_at, told.values())) < REMINDER:
        return {**state, "alert": {**open_alert, "folded": folded + 1, "quiet": None}}, None
    alert = {"since": since, "told": {**told, cause: window["end"]}, "folded": 0, "quiet": None}
    return {**state, "alert": alert}, Notice("lasts" if cause in told else "changes", since, folded)


def _quiet(state: State, document: Document) -> tuple[State, Notice | None]:
    window, alert = document["window"], state["alert"]
    if alert["quiet"] is None:
        return {**state, "alert": {**alert, "quiet": window["end"]}}, None
    if _at(window["start"]) < _at(alert["quiet"]):
        return state, None
    return {**state, "alert": None}, Notice("ends", alert["since"], alert["folded"])


def _at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)

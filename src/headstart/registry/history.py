"""What the ledger answers: who was champion at a moment, and why a version was allowed to answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from headstart.registry.ledger import Entry

KEYS = ("sequence", "time", "event", "version", "who", "reason")


def champion_at(entries: Sequence[Entry], moment: datetime) -> dict[str, Any] | None:
    """The champion at a moment, and why it was allowed to be; None where there was none, or it is not recorded.

    Entries in a row that name one champion (a provisional one that a person settled) are one time as champion. Before
    the ledger was opened, the champion of that day is known to have been one since it says.

    Returns:
        As `allowed`, with `since` and `until` (None where it still is).
    """
    moves = [entry for entry in entries if "champion" in entry.details]
    so_far = [entry for entry in moves if _time(entry) <= moment]
    if not so_far and moves and moves[0].details["champion"] is not None and moves[0].details.get("since"):
        so_far = moves[:1] if datetime.fromisoformat(moves[0].details["since"]) <= moment else []
    if not so_far or so_far[-1].details["champion"] is None:
        return None
    last, number = so_far[-1], len(so_far)
    version = int(last.details["champion"])
    while number > 1 and moves[number - 2].details["champion"] == version:
        number -= 1
    first = moves[number - 1]
    after = (entry.time for entry in moves[len(so_far) :] if entry.details["champion"] != version)
    return {
        "version": version,
        "since": first.details.get("since", first.time),
        "until": next(after, None),
        **allowed(entries, version, max(moment, _time(last))),
    }


def allowed(entries: Sequence[Entry], version: int, moment: datetime, *, role: str = "champion") -> dict[str, Any]:
    """Why a version was allowed to answer at a moment.

    Args:
        entries: oldest first.
        version: that answered.
        moment: when; aware.
        role: `champion`, or the step of a rollout that it was in.

    Returns:
        `allowed_by`: the entry that let it answer, None where there is none; `gates`: {`verdict`, `checks`, `sequence`,
        `time`} of its last judgement before, None where none is recorded; `overridden`: why it was promoted although
        its gates had not passed, else empty; `provisional`; `approval`: who approved it, None where nobody had to.
    """
    past = [entry for entry in entries if _time(entry) <= moment and entry.version == version]
    if role == "champion":
        past_moves = [entry for entry in past if entry.details.get("champion") == version]
    else:
        past_moves = [entry for entry in past if entry.event == "rollout_step"]
    opened = entries[0] if entries and entries[0].details.get("champion") == version else None
    by = past_moves[-1] if past_moves else opened
    promoted = next((entry for entry in reversed(past) if entry.event == "promoted"), opened)
    judged = next((entry for entry in reversed(past) if entry.event == "judged"), None)
    told = promoted.details if promoted else {}
    gates: dict[str, Any] | None = None
    if judged is not None:
        gates = {"sequence": judged.sequence, "time": judged.time}
        gates |= {key: judged.details[key] for key in ("verdict", "checks")}
    elif told.get("verdict"):
        gates = {"sequence": None, "time": None, "verdict": told["verdict"], "checks": []}
    passed_since = promoted is not None and any(
        entry.event == "judged" and entry.details.get("verdict") == "pass"
        for entry in past
        if entry.sequence > promoted.sequence
    )
    overridden = told.get("overridden") or (promoted.reason if promoted and told.get("verdict") != "pass" else "")
    return {
        "allowed_by": brief(by) if by else None,
        "gates": gates,
        "overridden": overridden,
        "provisional": bool(told.get("provisional")) and not passed_since,
        "approval": _approval(promoted) if promoted and told.get("approval") else None,
    }


def brief(entry: Entry) -> dict[str, Any]:
    """What tells an entry from others, and who made it."""
    document = entry.document()
    return {key: document[key] for key in KEYS} | {"who": str(entry.who)}


def _approval(promoted: Entry) -> str:
    """Who approved: the account, or the name typed on Prefect's page and the account that took it from there."""
    typed = promoted.details.get("approved_by")
    return f"{typed} (name typed in Prefect; recorded by {promoted.who})" if typed else str(promoted.who)


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.time)

"""When an alert is acted on: it lasts, it is still there, a training or cure helps, and the last one had time to help.

A cure (`table.CARRIED_OUT`) is cheap, and waits for the same cooldown: one that did not help would be tried every hour.
It changes what production answers with nothing new learnt, so each window that lasted has to name it.

What was seen before is kept beside the monitor's pages: {`format`, `looks` [{`start`, `end`, `verdict`, `remedy`}],
`started`}. Format 1 has no remedies; its alerts count as ones that training cures.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from headstart import artifacts
from headstart.errors import UsageError
from headstart.faults.table import CARRIED_OUT, UNTRAINED
from headstart.params.operation import Retrain

FORMAT = 2
READABLE = (1, 2)
KEPT = 1000  # looks; at one an hour, six weeks


def lasting(verdicts: Sequence[str]) -> int:
    """How many windows that could be judged alarmed in a row, up to the newest; 0 where that one is no alert.

    Args:
        verdicts: of windows that do not overlap, oldest first; `unsure` ones count neither way, but after an unsure
            newest one nobody knows whether the trouble is still there.
    """
    if not verdicts or verdicts[-1] != "alert":
        return 0
    judged = [verdict for verdict in verdicts if verdict != "unsure"]
    quiet = [place for place, verdict in enumerate(judged) if verdict != "alert"]
    return len(judged) - 1 - max(quiet, default=-1)


def cooled_down(last: datetime | None, *, now: datetime, days: float) -> bool:
    """Whether `days` have passed since the last training or cure that an alert started; True where there was none."""
    return last is None or now - last >= timedelta(days=days)


def remember(history: Path, document: Mapping[str, Any]) -> None:
    """Keep the verdict of a look; a second look at the same window replaces the first.

    Args:
        history: a file, made where there is none.
        document: from `watch.watch`.
    """
    with _locked(history):
        _remember(history, document)


def _locked(history: Path) -> FileLock:
    """Held while the file is read, changed and written: a look by hand may run beside the scheduled one."""
    history.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(history.with_suffix(".lock"))


def _remember(history: Path, document: Mapping[str, Any]) -> None:
    known = _read(history)
    look = {name: document["window"][name] for name in ("start", "end")}
    look |= {"verdict": document["verdict"], "remedy": document["remedy"]}
    looks = [entry for entry in known["looks"] if entry["end"] != look["end"]]
    looks = sorted([*looks, look], key=lambda entry: datetime.fromisoformat(entry["end"]))
    artifacts.write_json(history, {**known, "looks": looks[-KEPT:]})


def looks(history: Path) -> list[dict[str, str]]:
    """What was seen before, oldest first: {`start`, `end`, `verdict`, `remedy`}, the last without one in format 1."""
    return list(_read(history)["looks"])


def due(history: Path, params: Retrain, end: datetime, document: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the looks up to the window that ends at `end` ask for a training or cure, and why (not), as a clause.

    Args:
        history: the looks, this one included.
        params: the section `retrain`.
        end: of the newest window.
        document: of the newest window.
    """
    if document["verdict"] != "alert":
        return False, f"the verdict is {document['verdict']}"
    if document["remedy"] in UNTRAINED:
        return False, f"training is not the remedy, {document['remedy']} is"
    known = _read(history)
    looks = [look for look in known["looks"] if datetime.fromisoformat(look["end"]) <= end]
    lasted = lasting(apart(looks))
    if document["remedy"] in CARRIED_OUT and (named := lasting(apart(looks, cure=document["remedy"]))) < params.windows:
        return False, (
            f"{document['remedy']} has been the remedy of {named} of {params.windows} alerts in a row, in windows that "
            "do not overlap (retrain.windows)"
        )
    if lasted < params.windows:
        return False, f"the alert has lasted {lasted} of {params.windows} windows that do not overlap (retrain.windows)"
    last = datetime.fromisoformat(known["started"]) if known["started"] else None
    if last is not None and not cooled_down(last, now=end, days=params.cooldown_days):
        again = last + timedelta(days=params.cooldown_days)
        return False, (
            f"the last training or cure that an alert started was on {last:%Y-%m-%d %H:%M} UTC, the next may start on "
            f"{again:%Y-%m-%d %H:%M} (retrain.cooldown_days)"
        )
    return True, f"the alert has lasted {lasted} windows, and its remedy is {document['remedy']}"


def outlived(history: Path, params: Retrain, since: str, end: datetime) -> str:
    """Why the champion is too old, as a clause; empty where it is not, or the last training had no time to help.

    Args:
        history: the looks.
        params: the section `retrain`.
        since: when it became champion, ISO 8601 with an offset.
        end: of the newest window.
    """
    if params.after_days is None:
        return ""
    age = end - datetime.fromisoformat(since)
    known = _read(history)
    last = datetime.fromisoformat(known["started"]) if known["started"] else None
    if age < timedelta(days=params.after_days) or not cooled_down(last, now=end, days=params.cooldown_days):
        return ""
    return (
        f"the champion is {age / timedelta(days=1):.1f} days old, more than {params.after_days:g} (retrain.after_days)"
    )


def started(history: Path, now: datetime) -> None:
    """Remember that an alert started a training or a cure at `now`; the cooldown begins."""
    with _locked(history):
        artifacts.write_json(history, {**_read(history), "started": now.isoformat()})


def apart(looks: Sequence[Mapping[str, str]], *, cure: str | None = None) -> list[str]:
    """Verdicts of the newest look and of earlier ones that share no minute with each other, oldest first.

    Looking three times within an hour is not trouble that lasted three windows. An alert that training does not cure
    says nothing about whether one is needed: it counts as `unsure`.

    Args:
        looks: oldest first.
        cure: whether this one is needed is asked, and not whether a training is: an alert with another remedy says that
            it is not, and counts as `ok`.
    """
    verdicts: list[str] = []
    before: datetime | None = None
    for look in reversed(looks):
        if before is None or datetime.fromisoformat(look["end"]) <= before:
            verdicts.append(_counts_as(look, cure))
            before = datetime.fromisoformat(look["start"])
    return verdicts[::-1]


def _counts_as(look: Mapping[str, str], cure: str | None) -> str:
    verdict, remedy = look["verdict"], look.get("remedy")
    if verdict != "alert":
        return verdict
    if cure is not None:
        return "alert" if remedy == cure else "ok"
    return "unsure" if remedy in UNTRAINED else "alert"


def _read(history: Path) -> dict[str, Any]:
    if not history.is_file():
        return {"format": FORMAT, "looks": [], "started": None}
    known: dict[str, Any] = artifacts.read_json(history)
    if known.get("format") not in READABLE:
        raise UsageError(
            f"{history} has format {known.get('format')!r}; this headstart reads {' and '.join(map(str, READABLE))}.",
            action="Remove it: only how long an alert has lasted is forgotten.",
        )
    return {**known, "format": FORMAT}

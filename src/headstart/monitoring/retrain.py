"""When an alert is worth a training: it lasts, it is still there, and the last training has had time to help.

What was seen before is kept beside the monitor's pages: {`format`, `looks` [{`start`, `end`, `verdict`}], `started`}.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.errors import UsageError
from headstart.params.operation import Retrain

FORMAT = 1
KEPT = 1000  # looks; at one an hour, six weeks


def should_retrain(verdicts: Sequence[str], *, needed: int) -> bool:
    """Whether the last `needed` windows that could be judged all alarmed, the newest one included.

    Args:
        verdicts: of windows that do not overlap, oldest first; `unsure` ones count neither way, but an unsure newest
            one starts nothing.
        needed: how many windows an alert has to last.
    """
    if not verdicts or verdicts[-1] != "alert":
        return False
    judged = [verdict for verdict in verdicts if verdict != "unsure"]
    return len(judged) >= needed and all(verdict == "alert" for verdict in judged[-needed:])


def cooled_down(last: datetime | None, *, now: datetime, days: float) -> bool:
    """Whether `days` have passed since the last training that an alert started; True where there was none."""
    return last is None or now - last >= timedelta(days=days)


def remember(history: Path, document: Mapping[str, Any]) -> None:
    """Keep the verdict of a look; a second look at the same window replaces the first.

    Args:
        history: a file, made where there is none.
        document: from `watch.watch`.
    """
    known = _read(history)
    look = {name: document["window"][name] for name in ("start", "end")} | {"verdict": document["verdict"]}
    looks = [entry for entry in known["looks"] if entry["end"] != look["end"]]
    looks = sorted([*looks, look], key=lambda entry: datetime.fromisoformat(entry["end"]))
    artifacts.write_json(history, {**known, "looks": looks[-KEPT:]})


def due(history: Path, params: Retrain, now: datetime) -> bool:
    """Whether the remembered looks up to `now` ask for a training, and the last one lies far enough back."""
    known = _read(history)
    looks = [look for look in known["looks"] if datetime.fromisoformat(look["end"]) <= now]
    last = datetime.fromisoformat(known["started"]) if known["started"] else None
    lasting = should_retrain(apart(looks), needed=params.windows)
    return lasting and cooled_down(last, now=now, days=params.cooldown_days)


def started(history: Path, now: datetime) -> None:
    """Remember that an alert started a training at `now`; the cooldown begins."""
    artifacts.write_json(history, {**_read(history), "started": now.isoformat()})


def apart(looks: Sequence[Mapping[str, str]]) -> list[str]:
    """Verdicts of the newest look and of earlier ones that share no minute with each other, oldest first.

    Looking three times within an hour is not trouble that lasted three windows.
    """
    verdicts: list[str] = []
    before: datetime | None = None
    for look in reversed(looks):
        if before is None or datetime.fromisoformat(look["end"]) <= before:
            verdicts.append(look["verdict"])
            before = datetime.fromisoformat(look["start"])
    return verdicts[::-1]


def _read(history: Path) -> dict[str, Any]:
    if not history.is_file():
        return {"format": FORMAT, "looks": [], "started": None}
    known: dict[str, Any] = artifacts.read_json(history)
    if known.get("format") != FORMAT:
        raise UsageError(
            f"{history} has format {known.get('format')!r}; this headstart reads {FORMAT}.",
            action="Remove it: only how long an alert has lasted is forgotten.",
        )
    return known

"""When an alert is worth a training: it lasts, it is still there, and the last training has had time to help."""

from collections.abc import Sequence
from datetime import datetime, timedelta


def should_retrain(verdicts: Sequence[str], *, needed: int) -> bool:
    """Whether the last `needed` windows that could be judged all alarmed, the newest one included.

    Args:
        verdicts: of windows that do not overlap, oldest first (`history.disjoint`); `unsure` ones count neither way,
            but an unsure newest one starts nothing.
        needed: how many windows an alert has to last.
    """
    if not verdicts or verdicts[-1] != "alert":
        return False
    judged = [verdict for verdict in verdicts if verdict != "unsure"]
    return len(judged) >= needed and all(verdict == "alert" for verdict in judged[-needed:])


def cooled_down(last: datetime | None, *, now: datetime, days: float) -> bool:
    """Whether `days` have passed since the last training that an alert started; True where there was none."""
    return last is None or now - last >= timedelta(days=days)

"""`serve`, `journal`, `monitor`, `retrain`: life after deployment. Nothing here retrains by being edited."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from headstart.params.section import Count, Positive, Section, Share

EVERY = 10**9  # rows an hour: more than there are


def _rows(value: Any) -> Any:
    """`features` of an older file as a number of rows."""
    return (EVERY if value else 0) if isinstance(value, bool) else value


class Serve(Section):
    """Limits of one server process."""

    items: Count
    megabytes: Count
    batch: Count
    queue: Count
    timeout_s: Positive


class Journal(Section):
    """What is kept of each answer, and for how long raw inputs are.

    `raw: hashed` is an older file's: every row has a keyed hash of its input now, so it means `off`. So are
    `features: false`, which means 0, and `true`, which means all.
    """

    flush_s: Positive
    seal_minutes: Positive
    seal_megabytes: Count
    raw: Literal["off", "sampled", "hashed"]
    raw_share: Share
    raw_days: Count
    features: Annotated[int, Field(ge=0), BeforeValidator(_rows)]


class Monitor(Section):
    """When a window alarms: the budget is bought, the thresholds follow."""

    window_minutes: Count
    rows: Count
    false_alarms_a_year: Positive
    labels: Count
    accuracy_drop: Share
    refused_share: Share
    repeated_share: Share


class Retrain(Section):
    """An alert that lasts starts a training or a cure, not more often than the cooldown allows."""

    windows: Count
    cooldown_days: Positive


class Schedules(Section):
    """Cron expressions, UTC."""

    training: str
    monitoring: str

"""`rollout`, `serve`, `journal`, `monitor`, `retrain`: deployment and after. Nothing here retrains by being edited."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.section import Amount, Count, Level, Positive, Section, Share

EVERY = 10**9  # rows an hour: more than there are


def _rows(value: Any) -> Any:
    """`features` of an older file as a number of rows."""
    return (EVERY if value else 0) if isinstance(value, bool) else value


class Shadow(Section):
    """A step in which the challenger gets copies of requests and answers nobody."""

    requests: Count
    hours: Amount


class Canary(Section):
    """A step in which the challenger answers a share of requests."""

    share: Level
    requests: Count
    hours: Amount


class Step(Section):
    """One step of a rollout: exactly one of the two."""

    shadow: Shadow | None = None
    canary: Canary | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Step":
        if (self.shadow is None) == (self.canary is None):
            raise ValueError("either shadow or canary")
        return self


class Rollout(Section):
    """What a challenger goes through before it is promoted; without steps it is promoted at once."""

    steps: list[Step]
    key: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")] | None
    disagreement: Level | None
    latency: Annotated[float, Field(ge=1.0)]


class Serve(Section):
    """Limits of one server process; `requests_a_minute` is a client's, 0 for any number."""

    items: Count
    megabytes: Count
    batch: Count
    queue: Count
    timeout_s: Positive
    requests_a_minute: Annotated[int, Field(ge=0)]


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
    """An alert that lasts, or a champion's age, starts a training or a cure, as often as the cooldown allows."""

    windows: Count
    cooldown_days: Positive
    after_days: Positive | None = None


class Schedules(Section):
    """Cron expressions, UTC."""

    training: str
    monitoring: str

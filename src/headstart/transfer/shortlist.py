"""Which strategies training tries, by a few rules on what the plan measured.

    linear_probe            always
    nothing else            where the probe may already be good enough
    fine_tune               from `LABELS_PER_CLASS` labels a class on
    adapt_then_fine_tune    likewise, where there are unlabelled examples
    lora                    likewise, where memory holds no gradients of all layers
    scratch                 never: it is the baseline of `headstart compare`

Training picks among them on validation (`selection`). That costs less than finding out on part of the labels: a race
of all four on a quarter and half of train, which this replaces, had the mean regret of always fine-tuning (0.94 points
over 26 benchmark cases, worst 5.3 against 5.1), and with the training that followed cost 1.1 times training all of
them. The better of probe and fine-tuning has a regret of 0.31 there, and 0.10 with adaptation where unlabelled texts
are given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.params.section import Strategy as Name
from headstart.statistics.interval import Interval, wilson
from headstart.transfer.strategies import STRATEGIES
from headstart.transfer.strategies.strategy import Reason

LABELS_PER_CLASS = 4
"""Of the median class. Started from the probe, fine-tuning was better than it by 1.8 points at 4 labels a class, by 4.1
at 8 and by 7.3 at 16 (six data sets, 19 cases); fewer were not measured."""

GOOD_ENOUGH_LEVEL = 0.9  # two-sided confidence of the interval whose upper end is held against `plan.good_enough`


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Attributes:
        accuracy: of the linear probe, cross-validated; counted by rows, since groups only widen its interval.
        majority: share of the commonest class.
        per_class: labels of the median class.
        obstacles: why strategies are impossible here.
        work: of each strategy on all of train, in `unit`.
        memory: bytes that each needs for weights, gradients and AdamW's moments.
        available: bytes that there are.
        unit: of work.
    """

    accuracy: Interval
    majority: float
    per_class: float
    obstacles: Mapping[Name, Reason]
    work: Mapping[Name, int]
    memory: Mapping[Name, int]
    available: int
    unit: str


def choose(facts: Facts, *, good_enough: float, budget: int) -> tuple[dict[Name, Reason], dict[Name, Reason]]:
    """The strategies to train, cheapest first, and all others, each with its reason."""
    listed: dict[Name, Reason] = {"linear_probe": {"code": "always"}}
    excluded: dict[Name, Reason] = {}
    for name in STRATEGIES:
        if name == "linear_probe":
            continue
        if name == "scratch":
            excluded[name] = {"code": "baseline"}
        elif reason := _excluded(name, facts, good_enough, budget):
            excluded[name] = reason
        else:
            listed[name] = _listed(name, facts)
    order = sorted(listed, key=lambda name: (name != "linear_probe", facts.work[name]))
    return {name: listed[name] for name in order}, excluded


def _excluded(name: Name, facts: Facts, good_enough: float, budget: int) -> Reason | None:
    """Why a strategy that trains layers is not tried; None where it is."""
    reached = facts.accuracy
    within = wilson(reached.value * reached.n, reached.n, GOOD_ENOUGH_LEVEL)
    up_to = within.high
    if obstacle := facts.obstacles.get(name):
        return obstacle
    if up_to >= good_enough and within.low > facts.majority:  # to be right as often as the commonest class is nothing
        return {"code": "probe_good_enough", "accuracy": reached.value, "up_to": up_to, "good_enough": good_enough}
    if facts.per_class < LABELS_PER_CLASS:
        return {"code": "too_few_labels", "per_class": facts.per_class, "least": LABELS_PER_CLASS}
    if facts.work[name] > budget:
        return {"code": "over_budget", "work": facts.work[name], "budget": budget, "unit": facts.unit}
    short = _short_of_memory(facts, "fine_tune")
    if name == "lora":
        too_large = _short_of_memory(facts, name)
        return {**too_large, "code": "memory"} if too_large else None if short else {"code": "all_layers_fit"}
    return {**short, "code": "memory"} if short else None


def _listed(name: Name, facts: Facts) -> Reason:
    """Why a strategy that trains layers is tried."""
    if name == "lora":
        return {**(_short_of_memory(facts, "fine_tune") or {}), "code": "memory_for_adapters"}
    if name == "adapt_then_fine_tune":
        return {"code": "unlabelled_examples"}
    return {"code": "enough_labels", "per_class": facts.per_class, "least": LABELS_PER_CLASS}


def _short_of_memory(facts: Facts, name: Name) -> dict[str, Any] | None:
    """What a strategy needs and what there is, in megabytes, where that is not enough."""
    needed = facts.memory[name]
    if needed <= facts.available:
        return None
    return {"needed_mb": round(needed / 1e6), "available_mb": round(facts.available / 1e6)}

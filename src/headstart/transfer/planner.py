"""Which strategy, by a measured rule, with its reason, its runner-up and the score it predicts.

    linear_probe   if its held-out accuracy may already be good enough,
                   or a class (the median one) has too few labels to fine-tune on,
                   or fine-tuning would cost more than its budget
    fine_tune      else

A fine-tune that turns out no better than the probe hands the probe on, so the rule may be brave.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.params.section import Strategy
from headstart.params.transfer import Choice, Plan
from headstart.transfer.evidence import Evidence, gather

FORMAT = 1


@dataclass(frozen=True)
class Decision:
    """The strategy and why, for a person to read."""

    strategy: Strategy
    runner_up: Strategy
    reason: str


def plan(params: Plan, *, backbone: Path, data: Path, cache: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The document `plan.json`, and seconds by part, which stay out of it."""
    evidence, seconds = gather(params, backbone=backbone, data=data, cache=cache)
    decision = choose(evidence, params.choice)
    document = {
        "format": FORMAT,
        "strategy": decision.strategy,
        "runner_up": decision.runner_up,
        "reason": decision.reason,
        "predicted": predict(decision.strategy, evidence, params.choice),
        "evidence": evidence.document(),
    }
    return document, seconds


def choose(evidence: Evidence, choice: Choice) -> Decision:
    """The rule above; `choice.strategy` overrides it, and the reason says so."""
    reached, per_class, work = evidence.probe, evidence.examples["per_class"]["median"], evidence.work
    strategy: Strategy = "linear_probe"
    if reached.high >= choice.good_enough:
        reason = (
            f"The linear probe is right on {reached.value:.3f} of held-out examples (up to {reached.high:.3f}), "
            f"and {choice.good_enough:g} is good enough."
        )
    elif per_class < choice.examples_per_class:
        reason = (
            f"The median class has {per_class:g} training examples; fine-tuning is tried from "
            f"{choice.examples_per_class} on."
        )
    elif work.fine_tune > work.budget:
        reason = f"Fine-tuning would cost {work.fine_tune:,} {work.unit}; the budget is {work.budget:,}."
    else:
        strategy = "fine_tune"
        reason = (
            f"The linear probe is right on {reached.value:.3f} of held-out examples (up to {reached.high:.3f}), short "
            f"of {choice.good_enough:g}; the median class has {per_class:g} examples, and fine-tuning costs "
            f"{work.fine_tune:,} of {work.budget:,} {work.unit}."
        )
    if choice.strategy == strategy:
        reason = f"params.yaml asks for it, and the plan agrees: {reason}"
    elif choice.strategy != "auto":
        reason = f"params.yaml asks for {choice.strategy}. Left to itself, the plan would say {strategy}: {reason}"
        strategy = choice.strategy
    return Decision(strategy, "fine_tune" if strategy == "linear_probe" else "linear_probe", reason)


def predict(strategy: Strategy, evidence: Evidence, choice: Choice) -> dict[str, Any]:
    """The accuracy to expect: `{metric, value, low, high}`.

    The probe's is what it reached on held-out folds. Fine-tuning at worst hands the probe on; it is expected to mend
    the share `choice.mended` of the probe's errors, `choice.mended_at_most` at most, or what it mended with few labels
    where that is more.
    """
    reached, few = evidence.probe, evidence.few_labels
    usual, most = 0.0, 0.0
    if strategy == "fine_tune":
        seen = (few.transfer.value - few.probe.value) / max(1.0 - few.probe.value, 1e-9)
        usual, most = max(choice.mended, seen), max(choice.mended_at_most, seen)
    value, high = 1.0 - (1.0 - reached.value) * (1.0 - usual), 1.0 - (1.0 - reached.high) * (1.0 - most)
    return {"metric": "accuracy", "value": value, "low": reached.low, "high": high}

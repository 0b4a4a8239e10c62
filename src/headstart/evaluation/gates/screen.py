"""The gate before export, on validation data: stops what is hopeless, so that it never looks at the test set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import GateError
from headstart.findings import Finding
from headstart.params.transfer import Screen

CALM = "Lower fine_tune.learning_rate and fine_tune.head_learning_rate, or choose plan.choice.strategy: linear_probe."


@dataclass(frozen=True)
class Kept:
    """What training handed on, on validation data; NaN where training did not say."""

    name: str
    start: float
    loss: float
    accuracy: float


def judge(history: Mapping[str, Any], params: Screen, majority_share: float) -> list[Finding]:
    """Findings `nonfinite`, `diverged` and `above_majority` from what training wrote down (`history.json`).

    Judged is the model that is handed on: the probe where `strategy_used` is `linear_probe`, else the trained
    network of `best_epoch`. Point estimates are enough here: what lies near a bar is left to the gates after export,
    which have intervals. What is missing fails.

    Args:
        history: the document, before it is written (NaN) or after (null).
        params: the bars.
        majority_share: of the commonest class in the validation split, in [0, 1].
    """
    kept = _kept(history)
    return [
        _nonfinite(history, kept),
        _diverged(kept, params.loss_growth),
        _above_majority(kept, majority_share, params.above_majority),
    ]


def _nonfinite(history: Mapping[str, Any], kept: Kept) -> Finding:
    """Every number that training met must be one; steps count only if the network handed on went through them."""
    missing = [name for name, value in (("loss", kept.loss), ("accuracy", kept.accuracy)) if not math.isfinite(value)]
    if missing:
        reason = f"{kept.name} has no finite validation {' and no finite validation '.join(missing)}."
        return Finding("nonfinite", "fail", float(len(missing)), 0.0, reason, CALM)
    steps = _learned_from(history)
    broken = [step for step in steps if not (_is_finite(step, "loss") and _is_finite(step, "gradient_norm"))]
    if broken:
        reason = (
            f"{len(broken)} of {len(steps)} training steps had a loss or a gradient that is not a number, "
            f"the first at step {broken[0].get('step')}."
        )
        action = f"{CALM} With fine_tune.precision bfloat16, try float32."
        return Finding("nonfinite", "fail", float(len(broken)), 0.0, reason, action)
    reason = f"{kept.name} and its {len(steps)} training steps have finite losses and gradients."
    return Finding("nonfinite", "pass", 0.0, 0.0, reason)


def _learned_from(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps up to the best epoch, whose weights are kept; none where the probe is handed on."""
    if history.get("strategy_used") == "linear_probe":
        return []
    steps, best = history.get("steps") or [], history.get("best_epoch")
    return [step for step in steps if best is None or step.get("epoch", 0) <= best + 1e-9]


def _diverged(kept: Kept, growth: float) -> Finding:
    if not (math.isfinite(kept.start) and math.isfinite(kept.loss)) or kept.start <= 0:
        reason = f"Whether training diverged can't be told: {kept.name} lacks a validation loss at its start or end."
        return Finding("diverged", "fail", None, growth, reason, CALM)
    ratio = kept.loss / kept.start
    told = f"validation loss went from {kept.start:.3f} to {kept.loss:.3f}, {ratio:.2f} times its start"
    if ratio > growth:
        return Finding("diverged", "fail", ratio, growth, f"Training diverged: {told}; {growth:g} is allowed.", CALM)
    return Finding("diverged", "pass", ratio, growth, f"{kept.name}: {told}; up to {growth:g} is allowed.")


def _above_majority(kept: Kept, share: float, margin: float) -> Finding:
    """A model that always gives the commonest class reaches `share` exactly, so equality fails."""
    bar = share + margin
    if not math.isfinite(kept.accuracy):
        reason = f"{kept.name} has no finite validation accuracy to hold against {bar:.3f}."
        return Finding("above_majority", "fail", None, bar, reason, CALM)
    told = (
        f"{kept.name} is right on {kept.accuracy:.3f} of validation; always giving the commonest class on {share:.3f}"
    )
    if kept.accuracy > bar:
        return Finding("above_majority", "pass", kept.accuracy, bar, f"{told}.")
    reason = f"{told}{f', and {margin:g} more is asked' if margin else ''}: nothing useful was learned."
    action = "Look at the labels (headstart data), add examples, or take a backbone nearer to your data."
    return Finding("above_majority", "fail", kept.accuracy, bar, reason, action)


def require(document: Mapping[str, Any]) -> None:
    """Refuse to go on with a candidate whose `screen.json` does not pass.

    Raises:
        GateError: with the reasons and the findings.
    """
    if document["verdict"] != "pass":
        refused = [finding for finding in document["findings"] if finding["verdict"] != "pass"]
        reasons = " ".join(f"{finding['check']}: {finding['reason']}" for finding in refused)
        actions = " ".join(dict.fromkeys(finding["action"] for finding in refused))
        raise GateError(f"the candidate is not exported. {reasons}", action=actions, findings=document["findings"])


def _kept(history: Mapping[str, Any]) -> Kept:
    """The model that is handed on; layers are trained from a probe, so the loss of that probe is their start."""
    probe: Mapping[str, Any] = history.get("probe") or {}
    if history.get("strategy_used") == "linear_probe":
        loss = _number(probe, "validation/loss")
        return Kept("The linear probe", loss, loss, _number(probe, "validation/accuracy"))
    epochs = history.get("epochs") or []
    best: Mapping[str, Any] = next((entry for entry in epochs if entry.get("epoch") == history.get("best_epoch")), {})
    best = history.get("fine_tune") or best  # what was handed on, where training measured it once more
    start = _number(history.get("start") or probe, "validation/loss")
    if not math.isfinite(start) and epochs:
        start = _number(epochs[0], "validation/loss")
    return Kept("The trained network", start, _number(best, "validation/loss"), _number(best, "validation/accuracy"))


def _number(document: Mapping[str, Any], key: str) -> float:
    value = document.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _is_finite(document: Mapping[str, Any], key: str) -> bool:
    return math.isfinite(_number(document, key))

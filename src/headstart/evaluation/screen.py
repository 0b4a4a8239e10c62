"""The gate before export, on validation data: stops what is hopeless, so that it never looks at the test set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.determinism import digest
from headstart.errors import GateError
from headstart.evaluation import metrics
from headstart.findings import Finding, Verdict
from headstart.params.evaluation import Override
from headstart.params.transfer import Screen


@dataclass(frozen=True)
class Kept:
    """What training handed on (`probe` or `network`), on validation data; NaN where training did not say."""

    name: str
    start: float
    loss: float
    accuracy: float
    macro_f1: float


def judge(
    history: Mapping[str, Any], params: Screen, targets: NDArray[np.int64], classes: int, *, by_class: bool
) -> list[Finding]:
    """Findings `nonfinite`, `diverged` and `above_majority` from what training wrote down (`history.json`).

    Judged is the model that is handed on: the probe where `strategy_used` is `linear_probe`, else the trained
    network of `best_epoch`. Point estimates are enough here: what lies near a bar is left to the gates after export,
    which have intervals. What is missing fails.

    Args:
        history: the document, before it is written (NaN) or after (null).
        params: the bars.
        targets: class indices of the validation split.
        classes: how many there are.
        by_class: whether training was asked to count every class alike (balanced class weights, or `stop_on` is
            macro_f1). It gives up accuracy for that, so macro-F1 is asked for, else accuracy.
    """
    kept = _kept(history)
    return [
        _nonfinite(history, kept),
        _diverged(kept, params.loss_growth),
        _above_majority(kept, targets, classes, by_class=by_class),
    ]


def _nonfinite(history: Mapping[str, Any], kept: Kept) -> Finding:
    """Every number that training met must be one; steps count only if the network handed on went through them."""
    missing = [name for name, value in (("loss", kept.loss), ("accuracy", kept.accuracy)) if not math.isfinite(value)]
    steps = _learned_from(history)
    broken = [step for step in steps if not (_is_finite(step, "loss") and _is_finite(step, "gradient_norm"))]
    evidence = {
        "model": kept.name,
        "missing": missing,
        "steps": len(steps),
        "first": broken[0].get("step") if broken else None,
    }
    count = float(len(missing) or len(broken))
    return Finding("nonfinite", "fail" if count else "pass", count, 0.0, evidence=evidence)


def _learned_from(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps up to the best epoch, whose weights are kept; none where the probe is handed on."""
    if history.get("strategy_used") == "linear_probe":
        return []
    steps, best = history.get("steps") or [], history.get("best_epoch")
    return [step for step in steps if best is None or step.get("epoch", 0) <= best + 1e-9]


def _diverged(kept: Kept, growth: float) -> Finding:
    if not (math.isfinite(kept.start) and math.isfinite(kept.loss)) or kept.start <= 0:
        return Finding("diverged", "fail", None, growth, evidence={"model": kept.name})
    ratio = kept.loss / kept.start
    evidence = {"model": kept.name, "start": kept.start, "loss": kept.loss}
    return Finding("diverged", "fail" if ratio > growth else "pass", ratio, growth, evidence=evidence)


def _above_majority(kept: Kept, targets: NDArray[np.int64], classes: int, *, by_class: bool) -> Finding:
    """A model that always gives the commonest class reaches the bar exactly, so equality fails."""
    commonest = np.full(len(targets), np.bincount(targets, minlength=classes).argmax())
    if by_class:
        value, least = kept.macro_f1, metrics.macro_f1(commonest, targets, classes)
    else:
        value, least = kept.accuracy, metrics.accuracy(commonest, targets)
    known = math.isfinite(value)
    evidence = {"model": kept.name, "by_class": by_class, "commonest": least}
    verdict: Verdict = "pass" if known and value > least else "fail"
    return Finding("above_majority", verdict, value if known else None, least, evidence=evidence)


def candidate(document: Mapping[str, Any]) -> str:
    """Which candidate a `screen.json` is about: 12 hex digits of its findings."""
    return digest(document["findings"])[:12]


def require(document: Mapping[str, Any], override: Override | None, model: str) -> None:
    """Refuse to go on with a candidate whose `screen.json` does not pass, unless it was overridden with a reason.

    Raises:
        GateError: with the findings.
    """
    if document["verdict"] == "pass" or (override and override.candidate == candidate(document)):
        return
    also = f" The override in params.yaml is for another candidate ({override.candidate})." if override else ""
    raise GateError(
        f"the candidate is not exported.{also}",
        action=f"To export it all the same, with a reason that is recorded: headstart run {model} --reason WHY.",
        findings=document["findings"],
    )


def _kept(history: Mapping[str, Any]) -> Kept:
    """The model that is handed on; layers are trained from a probe, so the loss of that probe is their start."""
    probe: Mapping[str, Any] = history.get("probe") or {}
    if history.get("strategy_used") == "linear_probe":
        loss = _number(probe, "validation/loss")
        return Kept("probe", loss, loss, *_scores(probe))
    epochs = history.get("epochs") or []
    best: Mapping[str, Any] = next((entry for entry in epochs if entry.get("epoch") == history.get("best_epoch")), {})
    best = history.get("fine_tune") or best  # what was handed on, where training measured it once more
    start = _number(history.get("start") or probe, "validation/loss")
    if not math.isfinite(start) and epochs:
        start = _number(epochs[0], "validation/loss")
    return Kept("network", start, _number(best, "validation/loss"), *_scores(best))


def _scores(document: Mapping[str, Any]) -> tuple[float, float]:
    return _number(document, "validation/accuracy"), _number(document, "validation/macro_f1")


def _number(document: Mapping[str, Any], key: str) -> float:
    value = document.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _is_finite(document: Mapping[str, Any], key: str) -> bool:
    return math.isfinite(_number(document, key))

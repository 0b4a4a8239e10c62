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
    """The model that training kept (`probe` or `network`), on validation data; NaN where training did not say."""

    name: str
    start: float
    loss: float
    accuracy: float
    macro_f1: float


def judge(
    history: Mapping[str, Any], params: Screen, targets: NDArray[np.int64], classes: int, *, by_class: bool
) -> list[Finding]:
    """Findings `nonfinite`, `diverged` and `above_majority` from what training wrote down (`history.json`).

    Judged is the candidate that was kept, after mitigation where there was one. Point estimates are enough here: what
    lies near a bar is left to the gates after export, which have intervals. What is missing fails.

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
    """Every number that training met must be one; steps count only if the network that was kept went through them."""
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
    """The steps up to the best epoch, whose weights are kept; none where no layer was trained."""
    training = _entry(history).get("training") or {}
    steps, best = training.get("steps") or [], training.get("best_epoch")
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
    raise GateError(
        "the candidate is not exported."
        + (f" The override in params.yaml is for another candidate ({override.candidate})." if override else ""),
        action=f"To export it all the same, with a reason that is recorded: headstart run {model} --reason WHY.",
        findings=document["findings"],
    )


def _entry(history: Mapping[str, Any]) -> Mapping[str, Any]:
    """The kept candidate's part of the history; empty where it has none."""
    entries: list[Mapping[str, Any]] = history.get("candidates") or []
    return next((entry for entry in entries if entry.get("strategy") == history.get("kept")), {})


def _kept(history: Mapping[str, Any]) -> Kept:
    """The candidate that was kept; a probe is solved, not trained, so it starts where it ends."""
    entry = _entry(history)
    validation: Mapping[str, Any] = entry.get("validation") or {}
    loss = _number(validation, "loss")
    scores = (_number(validation.get(name) or {}, "value") for name in ("accuracy", "macro_f1"))
    if entry.get("training") is None:
        return Kept("probe", loss, loss, *scores)
    return Kept("network", _number(entry, "start_loss"), loss, *scores)


def _number(document: Mapping[str, Any], key: str) -> float:
    value = document.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _is_finite(document: Mapping[str, Any], key: str) -> bool:
    return math.isfinite(_number(document, key))

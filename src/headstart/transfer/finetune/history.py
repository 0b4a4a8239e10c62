"""How a training run went, read off the log that `Trainer` keeps and its checkpoints carry.

When to stop and which epoch to keep follow from that log alone, so a run resumed from a checkpoint decides like one
that was never stopped.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from headstart.params.transfer import FineTune
from headstart.transfer import device
from headstart.transfer.finetune.rates import Rate

Log = list[dict[str, Any]]
Note = dict[str, Any]  # a code and its numbers, of which `report.training` makes a sentence
STOPPED = "guard_stop"  # key of the log entry with which the guard ended a run


@dataclass(frozen=True)
class Attempt:
    """A run that was given up, and its settings.

    Attributes:
        step: the optimizer step at which it was stopped.
        reason: why.
        learning_rate: of the topmost backbone layer.
        head_learning_rate: of the head.
        layer_decay: from one layer to the one below.
        checks: what the guard measured.
    """

    step: int
    reason: Note
    learning_rate: float
    head_learning_rate: float
    layer_decay: float
    checks: Log

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class History:
    """How training went.

    Attributes:
        rates: of each layer group, input first.
        steps: `{step, epoch, loss, gradient_norm, learning_rate}`; the rate is the head's. Null: not finite.
        epochs: `{epoch, loss, validation/loss, validation/accuracy, validation/macro_f1}`; the last three where there
            is validation data.
        best_epoch: the one whose weights were kept, from 1; None without validation data, or if no loss was finite.
        precision: of the passes.
        checks: what the guard measured within epochs: `{step, epoch, accuracy, fixed, regressed, gradient_norms}`.
        attempts: runs that were given up before this one.
        notes: what else a person should know.
        log: all that the above was read from.
    """

    rates: list[Rate]
    steps: Log
    epochs: Log
    best_epoch: int | None
    precision: device.Precision
    checks: Log = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    log: Log = field(default_factory=list, repr=False)


def finished(log: Log, params: FineTune) -> bool:
    """Whether training is over: all epochs done, patience exhausted, a loss not finite, or stopped by the guard."""
    done = len(evaluations(log))
    late = done >= params.epochs or done - (best(log, params) or 0) >= params.patience
    return late or not finite(log) or any(STOPPED in entry for entry in log)


def finite(log: Log) -> bool:
    return all(math.isfinite(entry[name]) for entry in log for name in ("loss", "eval_nll") if name in entry)


def nonfinite(log: Log) -> dict[str, Any] | None:
    """`{step, reason}` of the first loss that was NaN or infinite, which ended the run; None if all were finite."""
    for entry in log:
        if not finite([entry]):
            what = "training" if "loss" in entry else "validation"
            step = entry["step"]
            return {"step": step, "reason": {"code": "loss_not_finite", "of": what, "step": step}}
    return None


def evaluations(log: Log) -> Log:
    return [entry for entry in log if "eval_nll" in entry]


def best(log: Log, params: FineTune) -> int | None:
    """The first epoch, from 1, that is best by `stop_on`; ties go to the lowest loss. None if no loss was finite.

    The loss is the one after temperature scaling, because that is what is served.
    """
    found = evaluations(log)
    ranked = [
        (-entry[f"eval_{params.stop_on}"] if params.stop_on != "loss" else 0.0, entry["eval_nll"], epoch)
        for epoch, entry in enumerate(found, start=1)
        if math.isfinite(entry["eval_nll"])
    ]
    return min(ranked)[2] if ranked else None


def steps(log: Log) -> Log:
    return [
        {
            "step": entry["step"],
            "epoch": entry["epoch"],
            "loss": _number(entry["loss"]),
            "gradient_norm": _number(entry["grad_norm"]),
            "learning_rate": entry["learning_rate"],
        }
        for entry in log
        if "loss" in entry
    ]


def epochs(log: Log) -> Log:
    """One entry an epoch: the mean training loss of its steps, and the validation scores where there are any."""
    result: Log = []
    found = evaluations(log)
    losses: dict[int, list[float]] = {}
    for entry in log:
        if "loss" in entry:
            losses.setdefault(math.ceil(entry["epoch"] - 1e-9), []).append(entry["loss"])
    for epoch, values in losses.items():
        document: dict[str, Any] = {"epoch": epoch, "loss": _number(sum(values) / len(values))}
        if epoch <= len(found):
            document["validation/loss"] = _number(found[epoch - 1]["eval_nll"])
            document["validation/accuracy"] = found[epoch - 1]["eval_accuracy"]
            document["validation/macro_f1"] = found[epoch - 1]["eval_macro_f1"]
        result.append(document)
    return result


def _number(value: float) -> float | None:
    """The value, or None where it is not finite, which JSON cannot say."""
    return value if math.isfinite(value) else None

"""Fine-tuning: every layer learns, each at its own rate, from the weights and the head the network comes with.

transformers' `Trainer` runs the loop. What is ours goes in through its doors: optimizer and schedule, batches,
loss, and callbacks that watch the validation loss, keep the best weights and mark finished checkpoints.

Checkpoints are taken at the ends of epochs only, where `Trainer` restores order, dropout and augmentation exactly
(in the middle of an epoch with length grouping it does not), so a killed run ends in the bytes of one never stopped.
"""

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.backbones.silence import quiet
from headstart.params.transfer import FineTune
from headstart.transfer import device, rates
from headstart.transfer.examples import Examples
from headstart.transfer.probe import calibrated_loss
from headstart.transfer.progress import bar
from headstart.transfer.rates import Rate

DONE = "COMPLETE"  # written into a checkpoint last
BEST = "best.safetensors"
STATE = "trainer_state.json"

Log = list[dict[str, Any]]


@dataclass(frozen=True)
class Watch:
    """What decides when to stop, and where a run that is killed goes on.

    Attributes:
        validation: examples whose loss is measured after each epoch.
        partial: folder of checkpoints and best weights; belongs to this run alone.
    """

    validation: Examples
    partial: Path


@dataclass(frozen=True)
class Course:
    """How training went.

    Attributes:
        rates: of each layer group, input first.
        steps: `{step, epoch, loss, gradient_norm, learning_rate}`; the rate is the head's. Null: not finite.
        epochs: `{epoch, loss, validation/loss, validation/accuracy}`; the last two only if watched.
        best_epoch: the one whose weights were kept, from 1; None if unwatched, or none was finite.
        precision: of the passes.
    """

    rates: list[Rate]
    steps: Log
    epochs: Log
    best_epoch: int | None
    precision: device.Precision


def run(network: Network, examples: Examples, params: FineTune, *, watch: Watch | None, progress: str) -> Course:
    """Train `network` in place; watched, it ends with the weights of the epoch of least validation loss.

    Unwatched it trains all `params.epochs` and keeps the last weights, and a killed run starts anew.
    """
    if watch is not None:
        return _run(network, examples, params, watch.partial, watch, progress)
    with tempfile.TemporaryDirectory() as folder:
        return _run(network, examples, params, Path(folder), None, progress)


def _run(
    network: Network, examples: Examples, params: FineTune, folder: Path, watch: Watch | None, progress: str
) -> Course:
    with quiet():
        trainer, assigned, precision = _trainer(network, examples, params, folder, watch)
    checkpoint = _latest(folder)
    log = artifacts.read_json(checkpoint / STATE)["log_history"] if checkpoint else []
    if not _finished(log, params):
        steps = math.ceil(len(examples) / params.batch_size) * params.epochs
        with bar(steps, progress, "steps") as advance:
            advance(sum("loss" in entry for entry in log))
            trainer.add_callback(_Steps(advance))
            with quiet():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        log = trainer.state.log_history
    best = _best(log)
    if watch is not None and best is not None:
        network.load_state_dict(load_file(folder / BEST))
    network.eval()
    return Course(assigned, _steps(log), _epochs(log), best, precision)


def _trainer(
    network: Network, examples: Examples, params: FineTune, folder: Path, watch: Watch | None
) -> tuple[Trainer, list[Rate], device.Precision]:
    """A silent `Trainer` that learns as `params` say."""
    precision = device.precision(params.precision)
    update, assigned = rates.optimizer(network, params)
    total = math.ceil(len(examples) / params.batch_size) * params.epochs
    factor = torch.optim.lr_scheduler.LambdaLR(update, rates.schedule(total, params.warmup))
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size,
        per_device_eval_batch_size=4 * params.batch_size,
        max_grad_norm=params.clip_norm,
        seed=params.seed,
        bf16=precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length" if network.modality == "text" else "random",
        eval_strategy="epoch" if watch else "no",
        save_strategy="epoch" if watch else "no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    trainer = Trainer(
        model=_WithLoss(network),
        args=arguments,
        data_collator=_as_it_is,
        train_dataset=examples,
        eval_dataset=watch.validation if watch else None,
        compute_metrics=_metrics,
        optimizers=(update, factor),
        callbacks=[_Watcher(network, params, folder)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, assigned, precision


class _WithLoss(nn.Module):
    """A network as `Trainer` wants it: labels in, loss out, and nothing it would gather in vain."""

    accepts_loss_kwargs = False

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        logits = self.network(**inputs)["logits"].float()
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


class _Watcher(TrainerCallback):
    """Keeps the best weights, stops in time, and marks checkpoints that are whole.

    It remembers nothing itself: all it decides follows from the log, which checkpoints carry.
    """

    def __init__(self, network: Network, params: FineTune, folder: Path) -> None:
        self._network, self._params, self._folder = network, params, folder

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not _finite(state.log_history[-1:]):
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if _best(state.log_history) == len(_evaluations(state.log_history)):
            weights = {name: value.detach().cpu().contiguous() for name, value in self._network.state_dict().items()}
            with artifacts.replaced(self._folder / BEST) as temporary:
                save_file(weights, temporary)
        if _finished(state.log_history, self._params):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        artifacts.write_text(self._folder / f"checkpoint-{state.global_step}" / DONE, "")
        _latest(self._folder)


class _Steps(TrainerCallback):
    """Moves a progress bar."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._advance(1)


def _latest(folder: Path) -> Path | None:
    """The newest whole checkpoint; every other one, half-written ones first of all, is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / DONE).is_file()]
    for path in found:
        if path not in whole[-1:]:
            shutil.rmtree(path)
    return whole[-1] if whole else None


def _as_it_is(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`Examples` makes whole batches itself; a copy, since `Trainer` takes labels out of what it gets."""
    return dict(batch)


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits, targets = prediction.predictions.astype("float64"), prediction.label_ids
    return {"accuracy": float((logits.argmax(axis=1) == targets).mean()), "nll": calibrated_loss(logits, targets)}


def _finished(log: Log, params: FineTune) -> bool:
    """Whether no further epoch is due: all are done, patience is at its end, or a number is not finite."""
    done = len(_evaluations(log))
    return done >= params.epochs or done - (_best(log) or 0) >= params.patience or not _finite(log)


def _finite(log: Log) -> bool:
    return all(math.isfinite(entry[name]) for entry in log for name in ("loss", "eval_nll") if name in entry)


def _evaluations(log: Log) -> Log:
    return [entry for entry in log if "eval_nll" in entry]


def _best(log: Log) -> int | None:
    """The first epoch, from 1, with the least validation loss; None while there is none."""
    losses = [entry["eval_nll"] for entry in _evaluations(log)]
    finite = [loss for loss in losses if math.isfinite(loss)]
    return losses.index(min(finite)) + 1 if finite else None


def _steps(log: Log) -> Log:
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


def _epochs(log: Log) -> Log:
    """One entry an epoch: mean training loss of its steps, and validation where it was watched."""
    result: Log = []
    evaluations = _evaluations(log)
    losses: dict[int, list[float]] = {}
    for entry in log:
        if "loss" in entry:
            losses.setdefault(math.ceil(entry["epoch"] - 1e-9), []).append(entry["loss"])
    for epoch, values in losses.items():
        document: dict[str, Any] = {"epoch": epoch, "loss": _number(sum(values) / len(values))}
        if epoch <= len(evaluations):
            document["validation/loss"] = _number(evaluations[epoch - 1]["eval_nll"])
            document["validation/accuracy"] = evaluations[epoch - 1]["eval_accuracy"]
        result.append(document)
    return result


def _number(value: float) -> float | None:
    """The value, or None where it is not finite: JSON has no word for that."""
    return value if math.isfinite(value) else None

"""Fine-tuning: every layer learns, each at its own rate, from the weights and the head the network comes with.

transformers' `Trainer` runs the loop. Optimizer and schedule, batches, loss, and the callbacks that guard training,
keep the best weights and mark finished checkpoints are passed to it.

Checkpoints are taken at the ends of epochs only, where `Trainer` restores order, dropout and augmentation exactly
(in the middle of an epoch with length grouping it does not), so a killed run ends in the bytes of one never stopped.
"""

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.backbones.quiet_logging import quiet
from headstart.params.transfer import FineTune
from headstart.progress import bar
from headstart.transfer import device, probe
from headstart.transfer.context import Validation
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import checkpoints, guard, history, memory, rates
from headstart.transfer.finetune.batching import GroupedTrainer
from headstart.transfer.finetune.checkpoints import Checkpoints
from headstart.transfer.finetune.guard import Guard
from headstart.transfer.finetune.history import Attempt, History
from headstart.transfer.finetune.objective import Objective, Pull

CLIP_NORM = 1.0  # of all gradients together, `Trainer`'s own default
RETRY_SHARE = {"text": 0.03, "image": 0.12}  # of both rates at the second try of a run that diverged
RETRY_LAYER_DECAY = 0.85  # and its layer decay, at most

PIECES = "pieces.json"  # into how many pieces a batch had to be cut
GIVEN_UP = "given-up.json"  # why an attempt was stopped


@dataclass(frozen=True)
class _Job:
    """One attempt: what is trained on what, how, and where its checkpoints lie."""

    network: Network
    examples: Examples
    params: FineTune
    folder: Path
    validation: Validation | None
    progress: str

    @property
    def epoch_steps(self) -> int:
        """Optimizer steps of an epoch."""
        return math.ceil(self.params.passes(len(self.examples)) * len(self.examples) / self.params.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of all epochs."""
        return self.epoch_steps * self.params.epochs


def run(
    network: Network, examples: Examples, params: FineTune, *, validation: Validation | None, progress: str
) -> History:
    """Train `network` in place; with validation data it ends with the weights of the best epoch.

    Such a run that diverges, or hits NaN or inf before the first valid epoch, is stopped, reset to its start, and tried
    once more at `RETRY_SHARE` of its rates; the history says so. Without validation data all `params.epochs` are
    trained, the last weights are kept, and a killed run starts over. A batch that does not fit into memory is cut into
    pieces whose gradients are accumulated.
    """
    start = _Snapshot.of(network)
    if validation is None:
        with tempfile.TemporaryDirectory() as folder:
            return _fitted(_Job(network, examples, params, Path(folder), None, progress), start)
    first, second = (validation.checkpoints / f"attempt-{number}" for number in (1, 2))
    job = _Job(network, examples, params, first, validation, progress)
    given_up = artifacts.read_json(first / GIVEN_UP) if (first / GIVEN_UP).is_file() else None
    if given_up is None:
        result = _fitted(job, start)
        nonfinite = history.nonfinite(result.log)
        stopped = guard.stopped(result.log) or (nonfinite if result.best_epoch is None else None)
        if stopped is None:
            kept = {"code": "stopped_early", "epoch": result.best_epoch}
            return replace(result, notes=[*result.notes, *([{**kept, **nonfinite}] if nonfinite else [])])
        own = {name: getattr(params, name) for name in ("learning_rate", "head_learning_rate", "layer_decay")}
        given_up = Attempt(**stopped, **own, checks=result.checks).document()
        artifacts.write_json(first / GIVEN_UP, given_up)
    start.restore(network)
    result = _fitted(replace(job, params=retry(params, network.modality), folder=second), start)
    again = guard.stopped(result.log) or history.nonfinite(result.log)
    notes = [*result.notes, *([{"code": "stopped_again", **again}] if again else [])]
    return replace(result, attempts=[Attempt(**given_up)], notes=notes)


def retry(params: FineTune, modality: str) -> FineTune:
    """The settings of a second try, at lower rates."""
    share = RETRY_SHARE[modality]
    changes = {
        "learning_rate": share * params.learning_rate,
        "head_learning_rate": share * params.head_learning_rate,
        "layer_decay": min(params.layer_decay, RETRY_LAYER_DECAY),
    }
    return params.model_copy(update=changes)


@dataclass(frozen=True)
class _Snapshot:
    """Weights at the start of a run, and which of them learn: what a second try is reset to."""

    weights: dict[str, Tensor]
    learning: dict[str, bool]

    @classmethod
    def of(cls, network: Network) -> "_Snapshot":
        weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return cls(weights, {name: parameter.requires_grad for name, parameter in network.named_parameters()})

    def restore(self, network: Network) -> None:
        network.load_state_dict(self.weights)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self.learning[name])


def _fitted(job: _Job, start: _Snapshot) -> History:
    """`_run`, in batches as large as memory allows.

    Pieces of a batch add up to its step, except for an epoch's last, shorter batch and for weighted classes: each
    piece is averaged by itself.
    """
    cut = job.folder / PIECES
    pieces = artifacts.read_json(cut)["pieces"] if cut.is_file() else 1
    while True:
        try:
            result = _run(job, pieces)
            cut_note = {"code": "batch_in_pieces", "batch": job.params.batch_size, "pieces": pieces}
            return replace(result, notes=[*([cut_note] if pieces > 1 else []), *result.notes])
        except (MemoryError, RuntimeError) as error:
            if not memory.ran_out(error) or pieces == job.params.batch_size:
                raise
        pieces = memory.more(job.params.batch_size, pieces)
        memory.release()
        start.restore(job.network)
        shutil.rmtree(job.folder, ignore_errors=True)  # checkpoints remember the batch that did not fit
        artifacts.write_json(cut, {"pieces": pieces})


def _run(job: _Job, pieces: int) -> History:
    network, params = job.network, job.params
    checkpoint = checkpoints.latest(job.folder)
    log = checkpoints.log(checkpoint)
    with quiet():
        trainer, assigned, precision = _trainer(job, pieces)
    if not history.finished(log, params):
        with bar(job.progress, "steps", job.steps) as shown:
            shown.update(sum("loss" in entry for entry in log))
            trainer.add_callback(_Advance(shown.update))
            with quiet():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        log = trainer.state.log_history
    best = history.best(log, params)
    if job.validation is not None and best is not None:
        network.load_state_dict(load_file(job.folder / checkpoints.weights(best)))
    network.eval()
    return History(assigned, history.steps(log), history.epochs(log), best, precision, guard.checks(log), log=log)


def _trainer(job: _Job, pieces: int) -> tuple[Trainer, list[rates.Rate], device.Precision]:
    """A silent `Trainer` that learns as the job's `params` say."""
    network, params, validation = job.network, job.params, job.validation
    precision = device.precision(params.precision)
    update, assigned = rates.optimizer(network, params)
    schedule = torch.optim.lr_scheduler.LambdaLR(update, rates.Schedule(job.steps))
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size // pieces,
        gradient_accumulation_steps=pieces,
        per_device_eval_batch_size=4 * params.batch_size // pieces,
        max_grad_norm=CLIP_NORM,
        seed=params.seed,
        bf16=precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length" if network.modality == "text" else "random",
        eval_strategy="epoch" if validation else "no",
        save_strategy="epoch" if validation else "no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    callbacks: list[TrainerCallback] = [Checkpoints(network, params, job.folder)]
    if validation:
        callbacks.append(Guard(network, validation.examples, steps=job.epoch_steps, epochs=params.epochs))
    callbacks += [Pull(network, update, params.pull)] if params.pull else []
    trainer = GroupedTrainer(
        model=Objective(network, job.examples.targets, balanced=params.class_weights == "balanced"),
        args=arguments,
        data_collator=_copied,
        train_dataset=job.examples,
        eval_dataset=validation.examples if validation else None,
        compute_metrics=partial(_metrics, balanced=params.balanced),
        optimizers=(update, schedule),
        callbacks=callbacks,
    )
    trainer.passes = params.passes(len(job.examples))
    trainer.remove_callback(PrinterCallback)
    return trainer, assigned, precision


class _Advance(TrainerCallback):
    """Moves a progress bar."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._advance(1)


def _copied(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`Examples` collates whole batches itself; a copy, because `Trainer` pops the labels from what it gets."""
    return dict(batch)


def _metrics(prediction: EvalPrediction, *, balanced: bool) -> dict[str, float]:
    from sklearn.metrics import f1_score

    logits, targets = prediction.predictions.astype("float64"), prediction.label_ids
    answers = logits.argmax(axis=1)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, average="macro", zero_division=0.0)),
        "nll": probe.calibrated_loss(logits, targets, probe.balanced_weights(targets) if balanced else None),
    }

"""Fine-tuning: every layer learns, each at its own rate, from the weights and the head the network comes with.

transformers' `Trainer` runs the loop. What is ours goes in through its doors: optimizer and schedule, batches,
loss, and callbacks that watch validation, keep the best weights and mark finished checkpoints.

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
from headstart.backbones.silence import quiet
from headstart.params.transfer import FineTune
from headstart.transfer import device, probe
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import checkpoints, course, frozen, guard, memory, rates, soup
from headstart.transfer.finetune.batching import GroupedTrainer
from headstart.transfer.finetune.checkpoints import Keeper
from headstart.transfer.finetune.course import Attempt, Course
from headstart.transfer.finetune.guard import Guard
from headstart.transfer.finetune.objective import Objective
from headstart.transfer.finetune.pull import Pull
from headstart.transfer.finetune.schedule import ELAPSED, Deadline, Schedule, elapsed
from headstart.transfer.finetune.start import Start
from headstart.transfer.finetune.unfreezing import Gradual
from headstart.transfer.progress import bar

PIECES = "pieces.json"  # how many a batch is cut into, where it had to be
GIVEN_UP = "given-up.json"  # of an attempt: what was wrong with it


@dataclass(frozen=True)
class Watch:
    """What decides when to stop, and where a run that is killed goes on.

    Attributes:
        validation: examples whose loss is measured after each epoch.
        partial: folder of checkpoints and best weights; belongs to this run alone.
        spent: seconds that runs before this one took of a deadline they share.
    """

    validation: Examples
    partial: Path
    spent: float = 0.0


@dataclass(frozen=True)
class _Job:
    """One attempt: what is trained on what, how, and where its checkpoints lie."""

    network: Network
    examples: Examples
    params: FineTune
    folder: Path
    watch: Watch | None
    progress: str

    @property
    def steps(self) -> int:
        """Optimizer steps of all epochs."""
        return math.ceil(len(self.examples) / self.params.batch_size) * self.params.epochs


def run(network: Network, examples: Examples, params: FineTune, *, watch: Watch | None, progress: str) -> Course:
    """Train `network` in place; watched, it ends with the weights of the best epoch.

    A watched run that diverges, or meets a number that is none before an epoch was good, is stopped, put back to its
    start, and tried once more at `guard.gentler` of its rates; the course says so. Unwatched it trains all
    `params.epochs` and keeps the last weights, and a killed run starts anew. A batch that does not fit into memory is
    cut in pieces whose gradients are added up.
    """
    start = Start.of(network)
    if watch is None:
        with tempfile.TemporaryDirectory() as folder:
            return _fitted(_Job(network, examples, params, Path(folder), None, progress), start)
    job = _Job(network, examples, params, watch.partial / "attempt-1", watch, progress)
    given_up = artifacts.read_json(job.folder / GIVEN_UP) if (job.folder / GIVEN_UP).is_file() else None
    if given_up is None:
        result = _fitted(job, start)
        broken = course.broken(result.log)
        stopped = guard.stopped(result.log) or (broken if result.best_epoch is None else None)
        if stopped is None:
            kept = [f"{broken['reason']} The weights of epoch {result.best_epoch} are kept."] if broken else []
            return replace(result, notes=[*result.notes, *kept])
        own = {name: getattr(params, name) for name in ("learning_rate", "head_learning_rate", "layer_decay")}
        attempt = Attempt(**stopped, **own, checks=result.checks).document()
        given_up = {"attempt": attempt, ELAPSED: elapsed(result.log)}
        artifacts.write_json(job.folder / GIVEN_UP, given_up)
    start.restore(network)
    watch = replace(watch, spent=given_up[ELAPSED])
    result = _fitted(replace(job, params=gentler(params), folder=watch.partial / "attempt-2", watch=watch), start)
    again = guard.stopped(result.log) or course.broken(result.log)
    notes = [*result.notes, *([f"The second try was stopped too: {again['reason']}"] if again else [])]
    return replace(result, attempts=[Attempt(**given_up["attempt"])], notes=notes)


def gentler(params: FineTune) -> FineTune:
    """The settings of a second try: both rates at `guard.gentler`, layers decayed at least as `guard` says."""
    share = params.guard.gentler
    changes = {
        "learning_rate": share * params.learning_rate,
        "head_learning_rate": share * params.head_learning_rate,
        "layer_decay": min(params.layer_decay, params.guard.gentler_decay),
    }
    return params.model_copy(update=changes)


def _fitted(job: _Job, start: Start) -> Course:
    """`_run`, in batches as large as memory allows.

    Pieces of a batch add up to its step, but for an epoch's last, shorter batch, and for weighted classes: each piece
    is averaged by itself.
    """
    cut = job.folder / PIECES
    pieces = artifacts.read_json(cut)["pieces"] if cut.is_file() else 1
    while True:
        try:
            result = _run(job, pieces)
            return replace(result, notes=[*memory.note(job.params.batch_size, pieces), *result.notes])
        except (MemoryError, RuntimeError) as error:
            if not memory.ran_out(error) or pieces == job.params.batch_size:
                raise
        pieces = memory.more(job.params.batch_size, pieces)
        memory.release()
        start.restore(job.network)
        shutil.rmtree(job.folder, ignore_errors=True)  # checkpoints remember the batch that did not fit
        artifacts.write_json(cut, {"pieces": pieces})


def _run(job: _Job, pieces: int) -> Course:
    network, params = job.network, job.params
    checkpoint = checkpoints.latest(job.folder)
    log = checkpoints.log(checkpoint)
    with quiet():
        trainer, assigned, precision, deadline = _trainer(job, pieces, begun=log)
    if not course.finished(log, params):
        with bar(job.steps, job.progress, "steps") as advance:
            advance(sum("loss" in entry for entry in log))
            trainer.add_callback(_Advance(advance))
            with quiet():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        log = trainer.state.log_history
    notes = []
    best = course.best(log, params)
    if job.watch is not None and best is not None:
        paths = [job.folder / checkpoints.weights(epoch) for epoch in checkpoints.kept(log, params)]
        weights, count = load_file(paths[0]), 1
        if params.averaging == "soup":
            weights, count = soup.greedy(paths, lambda tried: _score(trainer, network, tried, params.stop_on))
        network.load_state_dict(weights)
        notes += [f"The weights are the average of its {count} best epochs."] if count > 1 else []
    if deadline and deadline.cut:
        notes.append(deadline.told([entry["eval_accuracy"] for entry in course.evaluations(log)]))
    network.eval()
    done = Course(assigned, course.steps(log), course.epochs(log), best, precision, guard.checks(log), log=log)
    return replace(done, notes=notes)


def _trainer(
    job: _Job, pieces: int, *, begun: course.Log
) -> tuple[Trainer, list[rates.Rate], device.Precision, Deadline | None]:
    """A silent `Trainer` that learns as the job's `params` say."""
    network, params, watch = job.network, job.params, job.watch
    precision = device.precision(params.precision)
    update, assigned = rates.optimizer(network, params)
    schedule = Schedule(job.steps, params.warmup, params.schedule)
    deadline = None
    if params.deadline_minutes and watch:
        deadline = Deadline(schedule, params.deadline_minutes, spent=watch.spent)
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size // pieces,
        gradient_accumulation_steps=pieces,
        per_device_eval_batch_size=4 * params.batch_size // pieces,
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
    callbacks: list[TrainerCallback] = [Keeper(network, params, job.folder)]
    if watch:
        steps, epochs = job.steps // params.epochs, params.epochs
        callbacks.append(Guard(network, watch.validation, params.guard, steps=steps, epochs=epochs))
    callbacks += [deadline] if deadline else []
    callbacks += [Gradual(network, params.frozen_layers)] if params.unfreezing == "gradual" else []
    callbacks += [Pull(network, update, params.pull)] if params.pull else []
    kept = frozen.keep(network, 0 if course.finished(begun, params) else params.frozen_layers, job.examples)
    trainer = GroupedTrainer(
        model=Objective(network, job.examples.targets, params, kept and kept[0]),
        args=arguments,
        data_collator=_as_it_is,
        train_dataset=kept[1] if kept else job.examples,
        eval_dataset=watch.validation if watch else None,
        compute_metrics=partial(_metrics, alike=params.classes_alike),
        optimizers=(update, torch.optim.lr_scheduler.LambdaLR(update, schedule)),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, assigned, precision, deadline


class _Advance(TrainerCallback):
    """Moves a progress bar."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._advance(1)


def _as_it_is(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`Examples` makes whole batches itself; a copy, since `Trainer` takes labels out of what it gets."""
    return dict(batch)


def _metrics(prediction: EvalPrediction, *, alike: bool) -> dict[str, float]:
    from sklearn.metrics import f1_score

    logits, targets = prediction.predictions.astype("float64"), prediction.label_ids
    answers = logits.argmax(axis=1)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, average="macro", zero_division=0.0)),
        "nll": probe.calibrated_loss(logits, targets, probe.alike(targets) if alike else None),
    }


def _score(trainer: Trainer, network: Network, weights: soup.Weights, by: str) -> tuple[float, float]:
    """How bad `weights` are on validation `by` what epochs are chosen by, then by their loss."""
    network.load_state_dict(weights)
    with quiet():
        found = trainer.predict(trainer.eval_dataset).metrics
    return -found[f"test_{by}"] if by != "loss" else 0.0, found["test_nll"]

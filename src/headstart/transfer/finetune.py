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
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.backbones.silence import quiet
from headstart.params.transfer import FineTune
from headstart.transfer import course, device, guard, memory, rates, soup
from headstart.transfer.course import Attempt, Course, Log
from headstart.transfer.examples import Examples
from headstart.transfer.guard import Guard
from headstart.transfer.objective import Objective
from headstart.transfer.probe import calibrated_loss
from headstart.transfer.progress import bar
from headstart.transfer.pull import Pull
from headstart.transfer.schedule import Deadline, Schedule
from headstart.transfer.start import Start
from headstart.transfer.unfreezing import Gradual

DONE = "COMPLETE"  # written into a checkpoint last
STATE = "trainer_state.json"
PIECES = "pieces.json"  # how many a batch is cut into, where it had to be
GIVEN_UP = "given-up.json"  # of an attempt: what was wrong with it


@dataclass(frozen=True)
class Watch:
    """What decides when to stop, and where a run that is killed goes on.

    Attributes:
        validation: examples whose loss is measured after each epoch.
        partial: folder of checkpoints and best weights; belongs to this run alone.
    """

    validation: Examples
    partial: Path


def run(network: Network, examples: Examples, params: FineTune, *, watch: Watch | None, progress: str) -> Course:
    """Train `network` in place; watched, it ends with the weights of the best epoch.

    A watched run that diverges is stopped, put back to its start, and tried once more at `guard.gentler` of its rates;
    the course says so. Unwatched it trains all `params.epochs` and keeps the last weights, and a killed run starts
    anew. A batch that does not fit into memory is cut in halves whose gradients are added up.
    """
    start = Start.of(network)
    if watch is None:
        with tempfile.TemporaryDirectory() as folder:
            return _fitted(network, examples, params, Path(folder), None, progress, start)
    first = watch.partial / "attempt-1"
    given_up = artifacts.read_json(first / GIVEN_UP) if (first / GIVEN_UP).is_file() else None
    if given_up is None:
        result = _fitted(network, examples, params, first, watch, progress, start)
        if (stopped := guard.stopped(result.log)) is None:
            return result
        own = {name: getattr(params, name) for name in ("learning_rate", "head_learning_rate", "layer_decay")}
        given_up = Attempt(**stopped, **own, checks=result.checks).document()
        artifacts.write_json(first / GIVEN_UP, given_up)
    start.restore(network)
    share = params.guard.gentler
    gentle = params.model_copy(
        update={
            "learning_rate": share * params.learning_rate,
            "head_learning_rate": share * params.head_learning_rate,
            "layer_decay": min(params.layer_decay, params.guard.gentler_decay),
        }
    )
    result = _fitted(network, examples, gentle, watch.partial / "attempt-2", watch, progress, start)
    again = guard.stopped(result.log)
    notes = [*result.notes, *([f"The second try was stopped too: {again['reason']}"] if again else [])]
    return replace(result, attempts=[Attempt(**given_up)], notes=notes)


def _fitted(
    network: Network,
    examples: Examples,
    params: FineTune,
    folder: Path,
    watch: Watch | None,
    progress: str,
    start: Start,
) -> Course:
    """`_run`, in batches as large as memory allows; halves of a batch add up to the same step."""
    pieces = artifacts.read_json(folder / PIECES)["pieces"] if (folder / PIECES).is_file() else 1
    while True:
        try:
            result = _run(network, examples, params, folder, watch, progress, pieces)
            return replace(result, notes=[*memory.note(params.batch_size, pieces), *result.notes])
        except (MemoryError, RuntimeError) as error:
            if not memory.ran_out(error) or params.batch_size % (2 * pieces):
                raise
        pieces *= 2
        memory.release()
        start.restore(network)
        shutil.rmtree(folder, ignore_errors=True)  # checkpoints remember the batch that did not fit
        artifacts.write_json(folder / PIECES, {"pieces": pieces})


def _run(
    network: Network,
    examples: Examples,
    params: FineTune,
    folder: Path,
    watch: Watch | None,
    progress: str,
    pieces: int,
) -> Course:
    with quiet():
        trainer, assigned, precision, deadline = _trainer(network, examples, params, folder, watch, pieces)
    checkpoint = _latest(folder)
    log = artifacts.read_json(checkpoint / STATE)["log_history"] if checkpoint else []
    if not course.finished(log, params):
        with bar(_steps(examples, params), progress, "steps") as advance:
            advance(sum("loss" in entry for entry in log))
            trainer.add_callback(_Advance(advance))
            with quiet():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        log = trainer.state.log_history
    notes = []
    best = course.best(log, params)
    if watch is not None and best is not None:
        paths = [folder / _weights(epoch) for epoch in _ranked(log, params)]
        weights, count = (load_file(paths[0]), 1)
        if params.averaging == "soup":
            weights, count = soup.greedy(paths, lambda tried: _score(trainer, network, tried))
        network.load_state_dict(weights)
        notes += [f"The weights are the average of its {count} best epochs."] if count > 1 else []
    if deadline and deadline.cut:
        notes.append(deadline.told([entry["eval_accuracy"] for entry in course.evaluations(log)]))
    network.eval()
    done = Course(assigned, course.steps(log), course.epochs(log), best, precision, guard.checks(log), log=log)
    return replace(done, notes=notes)


def _trainer(
    network: Network, examples: Examples, params: FineTune, folder: Path, watch: Watch | None, pieces: int
) -> tuple[Trainer, list[rates.Rate], device.Precision, Deadline | None]:
    """A silent `Trainer` that learns as `params` say."""
    precision = device.precision(params.precision)
    update, assigned = rates.optimizer(network, params)
    schedule = Schedule(_steps(examples, params), params.warmup, params.schedule)
    deadline = Deadline(schedule, params.deadline_minutes) if params.deadline_minutes and watch else None
    arguments = TrainingArguments(
        output_dir=str(folder),
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
    callbacks: list[TrainerCallback] = [_Watcher(network, params, folder)]
    if watch:
        steps = math.ceil(len(examples) / params.batch_size)
        callbacks.append(Guard(network, watch.validation, params.guard, steps=steps, epochs=params.epochs))
    callbacks += [deadline] if deadline else []
    callbacks += [Gradual(network, params.frozen_layers)] if params.unfreezing == "gradual" else []
    callbacks += [Pull(network, update, params.pull)] if params.pull else []
    trainer = Trainer(
        model=Objective(network, examples.targets, params),
        args=arguments,
        data_collator=_as_it_is,
        train_dataset=examples,
        eval_dataset=watch.validation if watch else None,
        compute_metrics=_metrics,
        optimizers=(update, torch.optim.lr_scheduler.LambdaLR(update, schedule)),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, assigned, precision, deadline


class _Watcher(TrainerCallback):
    """Keeps the weights of the best epochs, stops in time, and marks checkpoints that are whole.

    It remembers nothing itself: all it decides follows from the log, which checkpoints carry.
    """

    def __init__(self, network: Network, params: FineTune, folder: Path) -> None:
        self._network, self._params, self._folder = network, params, folder

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not course.finite(state.log_history[-1:]):
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epoch, kept = len(course.evaluations(state.log_history)), _ranked(state.log_history, self._params)
        if epoch in kept:
            weights = {name: value.detach().cpu().contiguous() for name, value in self._network.state_dict().items()}
            with artifacts.replaced(self._folder / _weights(epoch)) as temporary:
                save_file(weights, temporary)
        if course.finished(state.log_history, self._params):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        artifacts.write_text(self._folder / f"checkpoint-{state.global_step}" / DONE, "")
        _latest(self._folder)
        kept = {_weights(epoch) for epoch in _ranked(state.log_history, self._params)}
        for path in self._folder.glob("epoch-*.safetensors"):
            if path.name not in kept:
                path.unlink()


class _Advance(TrainerCallback):
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
    from sklearn.metrics import f1_score

    logits, targets = prediction.predictions.astype("float64"), prediction.label_ids
    answers = logits.argmax(axis=1)
    return {
        "accuracy": float((answers == targets).mean()),
        "macro_f1": float(f1_score(targets, answers, average="macro", zero_division=0.0)),
        "nll": calibrated_loss(logits, targets),
    }


def _score(trainer: Trainer, network: Network, weights: soup.Weights) -> tuple[float, float]:
    """(share of wrong answers, loss) of `weights` on validation."""
    network.load_state_dict(weights)
    with quiet():
        found = trainer.predict(trainer.eval_dataset).metrics
    return 1.0 - found["test_accuracy"], found["test_nll"]


def _ranked(log: Log, params: FineTune) -> list[int]:
    """Epochs whose weights are kept, the best first: one, or as many as a soup takes."""
    rest, ranked = list(log), list[int]()
    found = course.evaluations(log)
    while len(ranked) < (soup.INGREDIENTS if params.averaging == "soup" else 1):
        if (best := course.best(rest, params)) is None:
            break
        ranked.append(best)
        found = [{**entry, "eval_nll": math.nan} if at + 1 == best else entry for at, entry in enumerate(found)]
        rest = found
    return ranked


def _weights(epoch: int) -> str:
    return f"epoch-{epoch:03d}.safetensors"


def _steps(examples: Examples, params: FineTune) -> int:
    return math.ceil(len(examples) / params.batch_size) * params.epochs

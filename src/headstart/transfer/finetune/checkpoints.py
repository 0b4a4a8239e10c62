"""What a run leaves on disk while it is at work: whole checkpoints, and the weights of its best epochs.

checkpoint-120/         `Trainer`'s own, at the end of an epoch; `COMPLETE` is written into it last
epoch-003.safetensors   weights of an epoch that is among the best
"""

import math
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import TrainerCallback

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.params.transfer import FineTune
from headstart.transfer.finetune import course, soup
from headstart.transfer.finetune.course import Log

DONE = "COMPLETE"
STATE = "trainer_state.json"


class Keeper(TrainerCallback):
    """Keeps the weights of the best epochs, stops in time, and marks checkpoints that are whole.

    It remembers nothing itself: all it decides follows from the log, which checkpoints carry.
    """

    def __init__(self, network: Network, params: FineTune, folder: Path) -> None:
        self._network, self._params, self._folder = network, params, folder

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not course.finite(state.log_history[-1:]):
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epoch = len(course.evaluations(state.log_history))
        if epoch in kept(state.log_history, self._params):
            values = {name: value.detach().cpu().contiguous() for name, value in self._network.state_dict().items()}
            with artifacts.replaced(self._folder / weights(epoch)) as temporary:
                save_file(values, temporary)
        if course.finished(state.log_history, self._params):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        artifacts.write_text(self._folder / f"checkpoint-{state.global_step}" / DONE, "")
        latest(self._folder)
        names = {weights(epoch) for epoch in kept(state.log_history, self._params)}
        for path in self._folder.glob("epoch-*.safetensors"):
            if path.name not in names:
                path.unlink()


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint; every other one, half-written ones first of all, is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / DONE).is_file()]
    for path in found:
        if path not in whole[-1:]:
            shutil.rmtree(path)
    return whole[-1] if whole else None


def log(checkpoint: Path | None) -> Log:
    """The log that a checkpoint carries; empty where there is none."""
    return list(artifacts.read_json(checkpoint / STATE)["log_history"]) if checkpoint else []


def kept(entries: Log, params: FineTune) -> list[int]:
    """Epochs whose weights are kept, the best first: one, or as many as a soup takes."""
    rest, ranked = list(entries), list[int]()
    found = course.evaluations(entries)
    while len(ranked) < (soup.INGREDIENTS if params.averaging == "soup" else 1):
        if (best := course.best(rest, params)) is None:
            break
        ranked.append(best)
        found = [{**entry, "eval_nll": math.nan} if at + 1 == best else entry for at, entry in enumerate(found)]
        rest = found
    return ranked


def weights(epoch: int) -> str:
    """The file of an epoch's weights."""
    return f"epoch-{epoch:03d}.safetensors"

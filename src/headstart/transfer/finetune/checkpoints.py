"""What a run leaves on disk while it trains: whole checkpoints, and the weights of its best epoch.

checkpoint-120/         `Trainer`'s own, at the end of an epoch; `COMPLETE` is written into it last
epoch-003.safetensors   weights of the best epoch so far
"""

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import TrainerCallback

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.params.transfer import FineTune
from headstart.transfer.finetune import history
from headstart.transfer.finetune.history import Log

DONE = "COMPLETE"
STATE = "trainer_state.json"


class Checkpoints(TrainerCallback):
    """Keeps the weights of the best epoch, stops training when it is over, and marks checkpoints that are whole.

    It has no state of its own: all it decides follows from the log, which checkpoints carry.
    """

    def __init__(self, network: Network, params: FineTune, folder: Path) -> None:
        self._network, self._params, self._folder = network, params, folder

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not history.finite(state.log_history[-1:]):
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epoch = len(history.evaluations(state.log_history))
        if epoch == history.best(state.log_history, self._params):
            values = {name: value.detach().cpu().contiguous() for name, value in self._network.state_dict().items()}
            with artifacts.replaced(self._folder / weights(epoch)) as temporary:
                save_file(values, temporary)
        if history.finished(state.log_history, self._params):
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        artifacts.write_text(self._folder / f"checkpoint-{state.global_step}" / DONE, "")
        latest(self._folder)
        best = history.best(state.log_history, self._params)
        for path in self._folder.glob("epoch-*.safetensors"):
            if best is None or path.name != weights(best):
                path.unlink()


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint; every other one is removed, half-written ones first."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / DONE).is_file()]
    for path in found:
        if path not in whole[-1:]:
            shutil.rmtree(path)
    return whole[-1] if whole else None


def log(checkpoint: Path | None) -> Log:
    """The log that a checkpoint carries; empty where there is none."""
    return list(artifacts.read_json(checkpoint / STATE)["log_history"]) if checkpoint else []


def weights(epoch: int) -> str:
    """The file of an epoch's weights."""
    return f"epoch-{epoch:03d}.safetensors"

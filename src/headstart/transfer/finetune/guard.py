"""The guard: within epochs too it checks on a few validation examples whether training destroys what was known.

The classic incident: every layer learns at a head's rate, and validation falls from 85% to 15% within three epochs,
long after the first steps did the harm. Training starts from the probe, so each check is paired with the answers at the
start: how many are newly right (fixed), how many newly wrong (regressed). A run is diverging when it regressed
significantly more than it fixed (exact McNemar at `ALPHA`, divided by the checks of the whole run) and accuracy lies
`DROP` or more below the start. On 1,200 questions of trec6 that stops the incident at step 25 of 225
(`benchmarks/transfer/incident.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import TrainerCallback

from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.statistics import paired
from headstart.transfer.examples import Examples
from headstart.transfer.finetune.history import STOPPED, Log, Note

CHECKS = 3  # an epoch
EXAMPLES = 128  # of validation, at most, answered at each check
DROP = 0.1  # of accuracy below the start's, at least, before a run is stopped
ALPHA = 0.001  # false alarms a run

CHECK, START = "guard_check", "guard_start"  # keys in the log, which checkpoints carry
BATCH = 64


class Guard(TrainerCallback):
    """Checks `CHECKS` times an epoch, and ends training once it diverges.

    It has no state that the log does not hold, and draws no random number.
    """

    def __init__(self, network: Network, examples: Examples, *, steps: int, epochs: int) -> None:
        """Guard `network` by at most `EXAMPLES` of `examples`.

        Args:
            network: the one being trained.
            examples: validation; the rows that are used are spread evenly over it.
            steps: optimizer steps in an epoch.
            epochs: at most.
        """
        self._network = network
        self._every = math.ceil(steps / CHECKS)
        self._alpha = ALPHA / max(1, epochs * CHECKS)
        rows = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), EXAMPLES)).astype(int)).tolist()
        self._targets = examples.targets[rows]
        self._batches = [
            examples.__getitems__(rows[start : start + BATCH], augmented=False) for start in range(0, len(rows), BATCH)
        ]
        self._norms: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not any(START in entry for entry in state.log_history):
            state.log_history.append({START: "".join(map(str, self._right().astype(int)))})

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if (state.global_step + 1) % self._every == 0:
            self._norms = gradient_norms(self._network)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._every:
            return
        start = next(entry[START] for entry in state.log_history if START in entry)
        before, now = np.array([answer == "1" for answer in start]), self._right()
        check = {
            "step": state.global_step,
            "epoch": state.epoch,
            "accuracy": float(now.mean()),
            "fixed": int((now & ~before).sum()),
            "regressed": int((before & ~now).sum()),
            "gradient_norms": self._norms,
        }
        state.log_history.append({CHECK: check})
        if reason := diverging(check, float(before.mean()), len(before), self._alpha):
            state.log_history.append({STOPPED: {"step": state.global_step, "reason": reason}})
            control.should_training_stop = True

    @torch.inference_mode()
    def _right(self) -> NDArray[np.bool_]:
        """`(examples,)`, which are answered correctly now."""
        mode, device = self._network.training, next(self._network.parameters()).device
        self._network.eval()
        answers = [self._network(**_inputs(batch, device))["logits"].argmax(dim=1).cpu() for batch in self._batches]
        self._network.train(mode)
        right: NDArray[np.bool_] = torch.cat(answers).numpy() == self._targets
        return right


def diverging(check: Mapping[str, Any], start: float, n: int, alpha: float) -> Note | None:
    """What shows that training is diverging; None where it is not.

    Args:
        check: `accuracy`, `fixed`, `regressed` of `n` examples.
        start: their accuracy before the first step.
        n: how many were asked.
        alpha: p-value below which more regressed than fixed is significant.
    """
    lost, fixed, regressed = start - check["accuracy"], check["fixed"], check["regressed"]
    if lost < DROP or regressed <= fixed or paired.mcnemar(fixed, regressed) >= alpha:
        return None
    told = {name: check[name] for name in ("step", "accuracy", "fixed", "regressed")}
    return {"code": "diverging", "examples": n, "start": start, **told}


def gradient_norms(network: Network) -> dict[str, float]:
    """The Euclidean norm of each layer group's gradient, after clipping; groups that don't learn are left out."""
    result = {}
    for group in layers.groups(network):
        found = [parameter.grad for _, parameter in group.parameters if parameter.grad is not None]
        if found:
            norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found))))
            result[group.name] = norm if math.isfinite(norm) else -1.0  # JSON cannot say so
    return result


def checks(log: Log) -> Log:
    return [entry[CHECK] for entry in log if CHECK in entry]


def stopped(log: Log) -> dict[str, Any] | None:
    """`{step, reason}` where the guard ended the run."""
    return next((dict(entry[STOPPED]) for entry in log if STOPPED in entry), None)


def _inputs(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in batch.items() if name != "labels"}

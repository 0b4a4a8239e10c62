"""What training minimises: cross-entropy, classes weighted where asked, and weights pulled to their start (L2-SP)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import TrainerCallback

from headstart.backbones.network import Network


class Objective(nn.Module):
    """A network as `Trainer` wants it: labels in, loss and logits out.

    In evaluation mode the loss is unweighted, so that validation losses compare across settings.
    """

    accepts_loss_kwargs = False

    def __init__(self, network: Network, targets: NDArray[np.int64], *, balanced: bool) -> None:
        super().__init__()
        self.network = network
        weights = class_weights(targets, network.classes) if balanced else None
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        logits = self.network(**inputs)["logits"].float()
        loss = functional.cross_entropy(logits, labels, weight=self.weights if self.training else None)
        return {"loss": loss, "logits": logits}


def class_weights(targets: NDArray[np.int64], classes: int) -> Tensor:
    """`(classes,)` weights that make every class count the same: n / (classes present * its examples); 1 if absent.

    Source: King and Zeng 2001; scikit-learn's `class_weight="balanced"`.
    """
    counts = np.bincount(targets, minlength=classes)
    shown = int((counts > 0).sum())
    weights = np.where(counts > 0, len(targets) / (shown * np.maximum(counts, 1)), 1.0)
    return torch.tensor(weights, dtype=torch.float32)


class Pull(TrainerCallback):
    """L2-SP: after each step weights below the head are pulled towards where they started, not towards zero.

        w <- w + rate * strength * (start - w)

    Decoupled from the gradient, as AdamW decouples its decay: inside it, Adam would scale the pull away.
    Source: Li, Grandvalet and Davoine 2018, arXiv:1802.01483; decoupling: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer, strength: float) -> None:
        """The start is where the network stands now."""
        self._optimizer, self._strength = optimizer, strength
        head = {id(parameter) for parameter in network.head.parameters()}
        self._starts = {
            id(parameter): parameter.detach().clone()
            for parameter in network.parameters()
            if parameter.requires_grad and id(parameter) not in head
        }

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for group in self._optimizer.param_groups:
            moved = [parameter for parameter in group["params"] if id(parameter) in self._starts]
            if moved and group["lr"] > 0:
                starts = [self._starts[id(parameter)] for parameter in moved]
                torch._foreach_lerp_(moved, starts, min(1.0, group["lr"] * self._strength))

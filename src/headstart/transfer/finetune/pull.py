"""L2-SP: weights are pulled towards where they started, not towards zero.

    w <- w + rate * strength * (start - w)      after each step, for every layer below the head

Apart from the gradient, as AdamW does with its decay: inside it, Adam would scale the pull away.
Source: Li, Grandvalet and Davoine 2018, arXiv:1802.01483; decoupling: Loshchilov and Hutter 2019, arXiv:1711.05101.
"""

from typing import Any

import torch
from transformers import TrainerCallback

from headstart.backbones.network import Network


class Pull(TrainerCallback):
    """Pulls after each step; the start is where the network stands when this is made."""

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer, strength: float) -> None:
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

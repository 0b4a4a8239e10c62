"""How fast each layer learns: the top fastest, each layer below at a share of it, the head at its own rate.

    rate(group) = learning_rate * layer_decay ** (top - depth)

Layers near the input hold what is common to all tasks and should move least. All rates rise and fall together
(`Schedule`), so their ratios hold throughout.
Source: Howard and Ruder 2018, arXiv:1801.06146 (discriminative rates, slanted triangle).
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from headstart.backbones import layers
from headstart.backbones.layers import LayerGroup
from headstart.backbones.network import Network
from headstart.params.transfer import FineTune

WARMUP = 0.1  # share of the steps in which rates rise: Howard and Ruder 2018
WEIGHT_DECAY = 0.01  # AdamW's own default: Loshchilov and Hutter 2019, arXiv:1711.05101


class Schedule:
    """The share of its peak that every rate has at a step: straight up over the warm-up, then straight down to 0."""

    def __init__(self, total: int) -> None:
        self._total, self._rising = total, math.ceil(WARMUP * total)

    def __call__(self, step: int) -> float:
        if step < self._rising:
            return (step + 1) / (self._rising + 1)
        return max(0.0, (self._total - step) / max(1, self._total - self._rising))


@dataclass(frozen=True)
class Rate:
    """What one layer group learns at, at the schedule's peak.

    Attributes:
        name: the group's.
        depth: 0 is nearest the input.
        learning_rate: 0 where frozen.
        parameters: how many numbers it has.
        frozen: whether it learns nothing at all.
    """

    name: str
    depth: int
    learning_rate: float
    parameters: int
    frozen: bool

    def document(self) -> dict[str, Any]:
        return asdict(self)


def assign(groups: list[LayerGroup], params: FineTune) -> list[Rate]:
    """A rate for each group, in their order."""
    below = len(groups) - 1
    result = []
    for group in groups:
        own = params.learning_rate * params.layer_decay ** (below - 1 - group.depth)
        rate = params.head_learning_rate if group.depth == below else own
        count = sum(parameter.numel() for _, parameter in group.parameters)
        result.append(Rate(group.name, group.depth, rate, count, frozen=False))
    return result


def optimizer(network: Network, params: FineTune) -> tuple[torch.optim.Optimizer, list[Rate]]:
    """AdamW over every parameter that may learn, head first, and the rates it gives to the layer groups.

    Parameters that do not require a gradient (a layer that carries a low-rank update) are left out; a group without
    one that does is reported as frozen.

    Biases and normalisation weights are not decayed: pulling them to zero regularises nothing.
    """
    groups = layers.groups(network)
    rates = assign(groups, params)
    options = []
    for group, rate in reversed(list(zip(groups, rates, strict=True))):
        for decayed in (True, False):
            chosen = [
                parameter
                for _, parameter in group.parameters
                if parameter.requires_grad and (parameter.ndim > 1) is decayed
            ]
            decay = WEIGHT_DECAY if decayed else 0.0
            if chosen:
                options.append({"params": chosen, "lr": rate.learning_rate, "weight_decay": decay})
    learning = {group.name for group in groups if any(parameter.requires_grad for _, parameter in group.parameters)}
    reported = [rate if rate.name in learning else replace(rate, learning_rate=0.0, frozen=True) for rate in rates]
    return torch.optim.AdamW(options, fused=True), reported

"""How fast each layer learns: the top fastest, each layer below at a share of it, the head at its own rate.

    rate(group) = learning_rate * layer_decay ** (top - depth)

All rates rise and fall together (`schedule`), so their ratios hold throughout. Layers near the input hold what is
common to all tasks and should move least.
Source: Howard and Ruder 2018, arXiv:1801.06146 (discriminative rates, slanted triangle).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from headstart.backbones import batchnorm, layers
from headstart.backbones.layers import LayerGroup
from headstart.backbones.network import Network
from headstart.errors import ParamsError
from headstart.params.transfer import FineTune


@dataclass(frozen=True)
class Rate:
    """What one layer group learns at, at the height of the schedule.

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
    """A rate for each group, in their order.

    Raises:
        ParamsError: if more layers are to be frozen than lie below the head.
    """
    below = len(groups) - 1
    if not 0 <= params.frozen_layers <= below:
        raise ParamsError(
            f"fine_tune.frozen_layers is {params.frozen_layers}, this backbone has {below} layer groups.",
            action=f"Set it between 0 and {below}; to freeze all of them, choose the strategy linear_probe.",
        )
    top = below - 1
    result = []
    for group in groups:
        frozen = group.depth < params.frozen_layers
        own = params.learning_rate * params.layer_decay ** (top - group.depth)
        rate = params.head_learning_rate if group.depth == below else own
        count = sum(parameter.numel() for _, parameter in group.parameters)
        result.append(Rate(group.name, group.depth, 0.0 if frozen else rate, count, frozen))
    return result


def optimizer(network: Network, params: FineTune) -> tuple[torch.optim.Optimizer, list[Rate]]:
    """AdamW over the layers that learn, head first; those below are frozen, dropout and BatchNorm statistics included.

    A parameter that does not learn already (a layer that carries a low-rank update) is left as it is. A layer without
    one that does is said to be frozen, and goes on as the network's mode has it: its dropout trains those above.

    Biases and normalisation weights are not decayed: pulling them to zero regularises nothing.
    """
    groups = layers.groups(network)
    rates = assign(groups, params)
    batchnorm.freeze(group for group, rate in zip(groups, rates, strict=True) if rate.frozen)
    options = []
    for group, rate in reversed([pair for pair in zip(groups, rates, strict=True) if not pair[1].frozen]):
        for decayed in (True, False):
            chosen = [
                parameter
                for _, parameter in group.parameters
                if parameter.requires_grad and (parameter.ndim > 1) is decayed
            ]
            decay = params.weight_decay if decayed else 0.0
            if chosen:
                options.append({"params": chosen, "lr": rate.learning_rate, "weight_decay": decay})
    learning = {group.name for group in groups if any(parameter.requires_grad for _, parameter in group.parameters)}
    told = [rate if rate.name in learning else replace(rate, learning_rate=0.0, frozen=True) for rate in rates]
    return torch.optim.AdamW(options, fused=True), told

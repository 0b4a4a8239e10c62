"""BatchNorm in frozen layers, truly frozen.

`requires_grad = False` does not stop running statistics: each forward pass in training mode moves them, and
`.train()`, which every training loop calls, brings training mode back. So a frozen BatchNorm refuses training mode.
"""

from collections.abc import Iterable
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.layers import LayerGroup


def freeze(groups: Iterable[LayerGroup]) -> list[str]:
    """Stop every parameter of `groups` from learning, and keep their BatchNorms in evaluation mode for good.

    Statistics and affine parameters of those BatchNorms stay as they are, also after `.train()` on the network,
    and in copies of it. Dropout of frozen layers still follows the network's mode.

    Returns:
        Names of the parameters that stopped learning.
    """
    names = []
    for group in groups:
        for name, parameter in group.parameters:
            parameter.requires_grad_(False)
            names.append(name)
        for module in norms(group.modules):
            module.eval()
            vars(module)["train"] = MethodType(_stay_in_evaluation, module)
    return names


def thaw(groups: Iterable[LayerGroup]) -> None:
    """Let every parameter of `groups` learn again, and their BatchNorms follow the network's mode."""
    for group in groups:
        for _, parameter in group.parameters:
            parameter.requires_grad_(True)
        for module in norms(group.modules):
            if vars(module).pop("train", None) is not None:
                module.train()


def release(network: nn.Module) -> None:
    """Let every BatchNorm of `network` follow its mode again."""
    for module in norms([network]):
        vars(module).pop("train", None)


def norms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Every BatchNorm at or below `modules`, each once."""
    found = (inner for module in modules for inner in module.modules() if isinstance(inner, _BatchNorm))
    return list(dict.fromkeys(found))


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> Any:
    module.training = False
    return module

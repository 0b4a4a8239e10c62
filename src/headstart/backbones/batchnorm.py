"""BatchNorm statistics, and layers that are truly frozen: dropout and statistics too.

`requires_grad = False` does not stop running statistics: each forward pass in training mode moves them, and
`.train()`, which every training loop calls, brings training mode back. `Network.train` spares the norms of a pretrained
backbone, and no dropout. So frozen layers refuse training mode altogether; they answer in training as in evaluation,
and their outputs may be kept.
"""

from collections.abc import Iterable, Iterator
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.layers import LayerGroup
from headstart.determinism import digest


def freeze(groups: Iterable[LayerGroup]) -> list[str]:
    """Stop every parameter of `groups` from learning, and keep their modules in evaluation mode for good.

    Statistics and affine parameters of BatchNorms stay as they are and nothing drops out by chance, also after
    `.train()` on the network, and in copies of it.

    Returns:
        Names of the parameters that stopped learning.
    """
    names = []
    for group in groups:
        for name, parameter in group.parameters:
            parameter.requires_grad_(False)
            names.append(name)
        for module in _own(group):
            module.training = False
            vars(module)["train"] = MethodType(_stay_in_evaluation, module)
    return names


def thaw(groups: Iterable[LayerGroup]) -> None:
    """Let every parameter of `groups` learn again; at its next `.train()` the network says what mode modules take."""
    for group in groups:
        for _, parameter in group.parameters:
            parameter.requires_grad_(True)
        for module in _own(group):
            vars(module).pop("train", None)


def release(network: nn.Module) -> None:
    """Let every module of `network` follow its mode again."""
    for module in network.modules():
        vars(module).pop("train", None)


def mend_momentum(network: nn.Module) -> None:
    """Make running statistics averages over batches, where they would be the last batch's.

    transformers' MobileNets and EfficientNet have TensorFlow's momentum, the share that stays (0.99 and more); PyTorch
    takes it for the share that is new. What says so gets PyTorch's default.
    """
    for norm in norms([network]):
        if norm.momentum is not None and norm.momentum > 0.5:
            norm.momentum = 0.1


def norms(modules: Iterable[nn.Module]) -> list[Any]:
    """Every BatchNorm at or below `modules`, each once."""
    found = (inner for module in modules for inner in module.modules() if isinstance(inner, _BatchNorm))
    return list(dict.fromkeys(found))


def fingerprints(network: nn.Module) -> dict[str, str]:
    """SHA-256 of each BatchNorm's running mean and variance, by its name in `network`; of those that keep any."""
    known = {id(norm) for norm in norms([network]) if norm.running_mean is not None}
    return {
        name: digest(b"".join(values.detach().float().cpu().numpy().tobytes() for values in _statistics(module)))
        for name, module in network.named_modules()
        if id(module) in known
    }


def _statistics(norm: Any) -> tuple[Any, Any]:
    return norm.running_mean, norm.running_var


def _own(group: LayerGroup) -> Iterator[nn.Module]:
    """The group's modules and all below them; a container that holds layers of other groups too is looked into."""
    ids = {id(parameter) for _, parameter in group.parameters}

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        if all(id(parameter) in ids for parameter in module.parameters()):
            yield from module.modules()
        else:
            for child in module.children():
                yield from walk(child)

    for module in group.modules:
        yield from walk(module)


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> Any:
    module.training = False
    return module

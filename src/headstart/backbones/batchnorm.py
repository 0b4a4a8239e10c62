"""BatchNorm statistics: where they are, whether they moved, and a momentum that averages."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.determinism import digest


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

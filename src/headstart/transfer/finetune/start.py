"""Where a run starts, so that it can be put back there and tried once more."""

from dataclasses import dataclass

from torch import Tensor

from headstart.backbones import batchnorm
from headstart.backbones.network import Network


@dataclass(frozen=True)
class Start:
    """Where a run starts: weights, and which of them learn; what a second try is put back to."""

    weights: dict[str, Tensor]
    learning: dict[str, bool]

    @classmethod
    def of(cls, network: Network) -> "Start":
        weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return cls(weights, {name: parameter.requires_grad for name, parameter in network.named_parameters()})

    def restore(self, network: Network) -> None:
        network.load_state_dict(self.weights)
        batchnorm.release(network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self.learning[name])

"""Gradual unfreezing: the head alone first, then one more layer group an epoch, from the top down.

Source: Howard and Ruder 2018, arXiv:1801.06146.
"""

from typing import Any

from transformers import TrainerCallback

from headstart.backbones import batchnorm, layers
from headstart.backbones.network import Network


class Gradual(TrainerCallback):
    """Lets `epoch` groups below the head learn in epoch `epoch` (from 0); those below the `lowest` never do."""

    def __init__(self, network: Network, lowest: int) -> None:
        self._network, self._lowest = network, lowest

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        groups = layers.groups(self._network)
        first = max(self._lowest, len(groups) - 1 - round(state.epoch or 0))
        batchnorm.freeze(group for group in groups if group.depth < first)
        batchnorm.thaw(group for group in groups if group.depth >= first)

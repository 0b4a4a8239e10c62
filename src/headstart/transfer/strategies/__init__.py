"""The ways to transfer, cheapest first: one file each, one entry here, and nothing else to touch.

linear_probe            the backbone stays as it is; a head is fitted to its features
lora                    low-rank updates of its linear layers learn, and are merged into them
fine_tune               every layer learns, at its own rate
adapt_then_fine_tune    the backbone first reads unlabelled examples of the domain
scratch                 the same architecture from random weights: the control, chosen only when asked for
"""

from collections.abc import Callable
from dataclasses import dataclass

from headstart.backbones.network import Network
from headstart.params.section import Strategy
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import adapt_then_fine_tune, fine_tune, linear_probe, lora, scratch


@dataclass(frozen=True)
class Way:
    """One strategy.

    Attributes:
        train: a network, in evaluation mode, and the history of its training; None where nothing was trained by
            gradient descent. Given the setting, what to learn from, the probe fitted to it, validation data (None:
            there is none) and whether images are augmented.
        obstacle: why it can't be tried here, in words; None where it can.
        passes: how often each training example passes forward, as many times again as it passes backward.
    """

    train: Callable[[Setting, Split, Head, Validation | None, bool, str], tuple[Network, History | None]]
    obstacle: Callable[[Setting], str | None]
    passes: Callable[[Setting], int]


WAYS: dict[Strategy, Way] = {
    "linear_probe": Way(linear_probe.train, linear_probe.obstacle, linear_probe.passes),
    "lora": Way(lora.train, lora.obstacle, lora.passes),
    "fine_tune": Way(fine_tune.train, fine_tune.obstacle, fine_tune.passes),
    "adapt_then_fine_tune": Way(adapt_then_fine_tune.train, adapt_then_fine_tune.obstacle, adapt_then_fine_tune.passes),
    "scratch": Way(scratch.train, scratch.obstacle, scratch.passes),
}


def train(
    name: Strategy,
    setting: Setting,
    learn: Split,
    head: Head,
    *,
    validation: Validation | None,
    augmented: bool = True,
    progress: str,
) -> tuple[Network, History | None]:
    """Train by the strategy of that name; the network is in evaluation mode, plain, and on `setting.place`."""
    network, history = WAYS[name].train(setting, learn, head, validation, augmented, progress)
    return network.eval(), history

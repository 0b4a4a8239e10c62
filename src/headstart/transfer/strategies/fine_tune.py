"""`fine_tune`: head first, from the probe, then every layer at its own rate.

Source: Kumar et al. 2022, arXiv:2202.10054 (LP-FT): a random head would send large, random gradients down.
"""

from headstart.backbones.network import Network
from headstart.transfer.finetune import loop
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import linear_probe


def train(
    setting: Setting, learn: Split, head: Head, validation: Validation | None, augmented: bool, progress: str
) -> tuple[Network, History | None]:
    """The network that starts as the probe, all of it trained."""
    network = linear_probe.start(setting, head)
    examples = setting.shown(learn, augmented=augmented)
    return network, loop.run(network, examples, setting.fine_tune, validation=validation, progress=progress)


def obstacle(setting: Setting) -> str | None:
    return None


def passes(setting: Setting) -> int:
    return setting.fine_tune.epochs

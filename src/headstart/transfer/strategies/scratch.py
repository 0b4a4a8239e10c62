"""`scratch`: the same architecture from random weights, all layers at one rate. A baseline, never silently chosen."""

from headstart.backbones.network import Network
from headstart.transfer.finetune import loop
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split


def train(
    setting: Setting, learn: Split, head: Head, validation: Validation | None, augmented: bool, progress: str
) -> tuple[Network, History | None]:
    """A network that starts from random weights drawn from `fine_tune.seed`; the probe is not looked at."""
    own, rate = setting.fine_tune, setting.scratch.learning_rate
    network = Network.from_scratch(setting.backbone, setting.classes, dropout=own.dropout, seed=own.seed)
    network = network.to(setting.place)
    rates = {"learning_rate": rate, "head_learning_rate": rate, "layer_decay": 1.0}
    params = own.model_copy(update={"epochs": setting.scratch.epochs, "pull": 0.0, **rates})
    examples = setting.shown(learn, augmented=augmented)
    return network, loop.run(network, examples, params, validation=validation, progress=progress)


def obstacle(setting: Setting) -> str | None:
    return None


def passes(setting: Setting) -> int:
    return setting.scratch.epochs

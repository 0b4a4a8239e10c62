"""`linear_probe`: feature extraction. The backbone stays as it is, and nothing can be forgotten."""

from headstart.backbones.network import Network
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split


def train(
    setting: Setting, learn: Split, head: Head, validation: Validation | None, augmented: bool, progress: str
) -> tuple[Network, History | None]:
    """The backbone under the head that was fitted to its features."""
    return start(setting, head), None


def start(setting: Setting, head: Head) -> Network:
    """The pretrained network under `head`: what the probe is, and where other strategies start."""
    network = Network.from_backbone(setting.backbone, setting.classes, dropout=setting.fine_tune.dropout)
    network.set_head(head.weight, head.bias)
    return network.to(setting.place)


def obstacle(setting: Setting) -> str | None:
    return None


def passes(setting: Setting) -> int:
    return 1

"""`lora`: low-rank updates of the backbone's linear layers learn beside the frozen weights, and are merged into them.

The exported network is a plain one. Source: Hu et al. 2021, arXiv:2106.09685, through `peft`.
"""

import warnings
from typing import Any

import torch
from torch import nn

from headstart.backbones.network import Network
from headstart.transfer.finetune import loop
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import linear_probe

SCALE = 2  # updates are multiplied by this, whatever the rank: alpha = 2 r is common practice


def train(
    setting: Setting, learn: Split, head: Head, validation: Validation | None, augmented: bool, progress: str
) -> tuple[Network, History | None]:
    """The network that starts as the probe, its linear layers updated at low rank; the head learns in full."""
    network = linear_probe.start(setting, head)
    own = setting.lora
    wrapped = inject(network, setting)
    changes = {"epochs": own.epochs, "learning_rate": own.learning_rate, "layer_decay": 1.0}
    params = setting.fine_tune.model_copy(update=changes)
    history = loop.run(
        network, setting.shown(learn, augmented=augmented), params, validation=validation, progress=progress
    )
    network.backbone = wrapped.merge_and_unload(safe_merge=False)
    return network, history


def inject(network: Network, setting: Setting) -> Any:
    """Put adapters beside every linear layer of the backbone; its own weights stop learning, the head goes on."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=setting.lora.rank,
        lora_alpha=SCALE * setting.lora.rank,
        target_modules=linear_layers(network.backbone),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(setting.fine_tune.seed)  # of the updates' random half, whatever ran before
        warnings.simplefilter("ignore")  # what peft says of unknown architectures: the layers are named above
        return get_peft_model(network.backbone, config)


def linear_layers(backbone: nn.Module) -> list[str]:
    """Paths of every linear layer; those of attention and of the feed-forward parts alike."""
    return [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]


def obstacle(setting: Setting) -> str | None:
    """Convolutional networks have no linear layers to update at low rank."""
    network = Network.from_backbone(setting.backbone, 2, dropout=0.0)
    if linear_layers(network.backbone):
        return None
    return f"{network.backbone.config.model_type} has no linear layers below its head."


def passes(setting: Setting) -> int:
    return setting.lora.epochs

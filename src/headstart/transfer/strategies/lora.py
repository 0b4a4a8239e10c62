"""`lora`: low-rank updates of the backbone's linear layers learn beside the frozen weights, and are merged into them.

The exported network is a plain one. Source: Hu et al. 2021, arXiv:2106.09685, through `peft`.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.strategies import linear_probe
from headstart.transfer.strategies.strategy import ACTIVATIONS, ADAMW, FLOAT, Reason

SCALE = 2  # updates are multiplied by this, whatever the rank: alpha = 2 r is common practice


class Lora:
    """Low-rank updates of all linear layers learn, and the head in full, starting from the linear probe."""

    name: Name = "lora"
    label = "low-rank adapters (LoRA)"

    def obstacle(self, context: TrainingContext) -> Reason | None:
        """Convolutional networks have no linear layers to update."""
        network = Network.from_backbone(context.backbone, 2, dropout=0.0)
        if linear_layers(network.backbone):
            return None
        return {"code": "no_linear_layers", "kind": network.backbone.config.model_type}

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        own = context.fine_tune.model_copy(update={"epochs": context.lora.epochs})
        return ACTIVATIONS * own.epochs * own.passes(rows) * once

    def memory(self, context: TrainingContext, network: Network) -> int:
        modules = [module for module in network.backbone.modules() if isinstance(module, nn.Linear)]
        updates = context.lora.rank * sum(module.in_features + module.out_features for module in modules)
        return FLOAT * (sum(weight.numel() for weight in network.parameters()) + ADAMW * updates)

    def backbone(self, context: TrainingContext) -> Path | None:
        return context.backbone

    def train(
        self,
        context: TrainingContext,
        learn: Split,
        head: Head,
        *,
        validation: Validation | None,
        progress: str,
    ) -> tuple[Network, History | None]:
        from headstart.transfer.finetune import loop  # with transformers' Trainer: seconds that planning does without

        network = linear_probe.start(context, head)
        own = context.lora
        wrapped = inject(network, context)
        changes = {"epochs": own.epochs, "learning_rate": own.learning_rate, "layer_decay": 1.0}
        params = context.fine_tune.model_copy(update=changes)
        history = loop.run(
            network, context.shown(learn, augmented=True), params, validation=validation, progress=progress
        )
        network.backbone = wrapped.merge_and_unload(safe_merge=False)
        return network.eval(), history


def inject(network: Network, context: TrainingContext) -> Any:
    """Put adapters beside every linear layer of the backbone; its own weights stop learning, the head goes on."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=context.lora.rank,
        lora_alpha=SCALE * context.lora.rank,
        target_modules=linear_layers(network.backbone),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(context.fine_tune.seed)  # of the updates' random half, whatever ran before
        warnings.simplefilter("ignore")  # what peft says of unknown architectures: the layers are named above
        return get_peft_model(network.backbone, config)


def linear_layers(backbone: nn.Module) -> list[str]:
    """Paths of every linear layer; those of attention and of the feed-forward parts alike."""
    return [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]

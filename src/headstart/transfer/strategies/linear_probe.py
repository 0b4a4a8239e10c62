"""`linear_probe`: the backbone stays as it is under a new linear head; nothing can be forgotten."""

from pathlib import Path

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.strategies.strategy import FLOAT, FORWARD, Reason


class LinearProbe:
    """Logistic regression on the features of the frozen backbone."""

    name: Name = "linear_probe"
    label = "linear probe"

    def obstacle(self, context: TrainingContext) -> Reason | None:
        return None

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        return FORWARD * once

    def memory(self, context: TrainingContext, network: Network) -> int:
        return FLOAT * sum(weight.numel() for weight in network.parameters())

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
        return start(context, head), None


def start(context: TrainingContext, head: Head) -> Network:
    """The pretrained network under `head`: what the probe is, and where other strategies start."""
    network = Network.from_backbone(context.backbone, context.classes, dropout=context.fine_tune.dropout)
    network.set_head(head.weight, head.bias)
    return network.to(context.device)

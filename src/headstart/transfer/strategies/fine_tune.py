"""`fine_tune`: the head of the linear probe first, then every layer at its own rate.

Source: Kumar et al. 2022, arXiv:2202.10054 (LP-FT): a random head would send large, random gradients down.
"""

from pathlib import Path

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.strategies import linear_probe
from headstart.transfer.strategies.strategy import ADAMW, FLOAT, TRAINED, Reason


class FineTune:
    """All layers learn, starting from the linear probe."""

    name: Name = "fine_tune"
    label = "fine-tuning"

    def obstacle(self, context: TrainingContext) -> Reason | None:
        return None

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        return TRAINED * context.fine_tune.epochs * context.fine_tune.passes(rows) * once

    def memory(self, context: TrainingContext, network: Network) -> int:
        return ADAMW * FLOAT * sum(weight.numel() for weight in network.parameters())

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
        examples = context.shown(learn, augmented=True)
        history = loop.run(network, examples, context.fine_tune, validation=validation, progress=progress)
        return network.eval(), history

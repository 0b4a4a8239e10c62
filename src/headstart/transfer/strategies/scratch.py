"""`scratch`: the same architecture from random weights, all layers at one rate. A baseline, never chosen silently."""

from pathlib import Path

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.strategies.fine_tune import FineTune
from headstart.transfer.strategies.strategy import TRAINED, Reason


class Scratch:
    """Nothing is transferred: random weights drawn from `fine_tune.seed`; the probe does not matter."""

    name: Name = "scratch"
    label = "training from scratch"

    def obstacle(self, context: TrainingContext) -> Reason | None:
        return None

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        own = context.fine_tune.model_copy(update={"epochs": context.scratch.epochs})
        return TRAINED * own.epochs * own.passes(rows) * once

    def memory(self, context: TrainingContext, network: Network) -> int:
        return FineTune().memory(context, network)

    def backbone(self, context: TrainingContext) -> Path | None:
        return None

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

        own, rate = context.fine_tune, context.scratch.learning_rate
        network = Network.from_scratch(context.backbone, context.classes, dropout=own.dropout, seed=own.seed)
        network = network.to(context.device)
        rates = {"learning_rate": rate, "head_learning_rate": rate, "layer_decay": 1.0}
        params = own.model_copy(update={"epochs": context.scratch.epochs, "pull": 0.0, **rates})
        history = loop.run(
            network, context.shown(learn, augmented=True), params, validation=validation, progress=progress
        )
        return network.eval(), history

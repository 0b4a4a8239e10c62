"""`adapt_then_fine_tune`: pretraining goes on with unlabelled examples of the domain, then the backbone is fine-tuned.

Texts: masked-language modelling goes on. Images: BatchNorm statistics are estimated anew. The adapted backbone is kept
in the cache by what went into it. Source: Gururangan et al. 2020, arXiv:2004.10964 (DAPT).
"""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer import features, probe
from headstart.transfer.adapt import adaptation
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.strategies.fine_tune import FineTune
from headstart.transfer.strategies.strategy import FORWARD, TRAINED, Reason


class AdaptThenFineTune:
    """Domain-adaptive pretraining, then fine-tuning."""

    name: Name = "adapt_then_fine_tune"
    label = "adaptation, then fine-tuning"

    def obstacle(self, context: TrainingContext) -> Reason | None:
        return adaptation.obstacle(context)

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        return self._adapting(context, once, rows) + FineTune().work(context, once=once, rows=rows)

    def _adapting(self, context: TrainingContext, once: int, rows: int) -> int:
        """Work of adapting: texts up to the budget, estimated from the length of labelled ones; images once."""
        if context.unlabelled is None:
            return 0
        unlabelled: int = pq.read_metadata(context.unlabelled).num_rows * once // rows
        if context.modality == "image":
            return FORWARD * unlabelled
        return TRAINED * min(context.adapt.budget, context.adapt.epochs * unlabelled)

    def memory(self, context: TrainingContext, network: Network) -> int:
        return FineTune().memory(context, network)

    def backbone(self, context: TrainingContext) -> Path | None:
        return adaptation.adapted(context).backbone

    def train(
        self,
        context: TrainingContext,
        learn: Split,
        head: Head,
        *,
        validation: Validation | None,
        progress: str,
    ) -> tuple[Network, History | None]:
        """The adapted network, fine-tuned from a linear probe of the adapted features."""
        adapted = adaptation.adapted(context)
        moved = replace(context, backbone=adapted.backbone)
        seen = features.compute(
            moved.frozen(), context.preprocessor, learn.examples, progress="features after adapting"
        )
        own = probe.fit(seen, learn.targets, context.classes, context.probe, groups=learn.examples.groups)
        network, history = FineTune().train(
            moved, replace(learn, features=seen), own, validation=validation, progress=progress
        )
        return network, history and replace(history, notes=[*history.notes, adapted.note])

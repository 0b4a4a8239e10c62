"""`adapt_then_fine_tune`: the backbone first reads unlabelled examples of the domain, then is fine-tuned.

Texts: masked-language modelling goes on. Images: BatchNorm statistics are taken anew. The adapted backbone is kept by
content, so what the plan adapted, training finds. Source: Gururangan et al. 2020, arXiv:2004.10964 (DAPT).
"""

from dataclasses import replace

from headstart.backbones.network import Network
from headstart.transfer import features, probe
from headstart.transfer.adapt import adaptation
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import fine_tune


def train(
    setting: Setting, learn: Split, head: Head, validation: Validation | None, augmented: bool, progress: str
) -> tuple[Network, History | None]:
    """The adapted network, its head fitted to the adapted features, all of it trained."""
    adapted = adaptation.adapted(setting)
    moved = replace(setting, backbone=adapted.backbone)
    network = Network.from_backbone(adapted.backbone, setting.classes, dropout=0.0).to(setting.place)
    seen = features.compute(network, setting.preprocessor, learn.examples, progress="features after adapting")
    groups, level = learn.examples.groups, setting.level
    own = probe.fit(seen, learn.targets, setting.classes, setting.probe, level=level, groups=groups)
    network, history = fine_tune.train(moved, replace(learn, features=seen), own, validation, augmented, progress)
    return network, history and replace(history, notes=[*history.notes, adapted.told])


def obstacle(setting: Setting) -> str | None:
    return adaptation.obstacle(setting)


def passes(setting: Setting) -> int:
    return setting.fine_tune.epochs

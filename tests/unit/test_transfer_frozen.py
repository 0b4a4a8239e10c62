"""Frozen layers run once: the same answers and the same training, from above them."""

import numpy as np
import pytest
import torch
import transformers

from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.transfer.context import TrainingContext
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import frozen, loop
from headstart.transfer.finetune.frozen import Frozen
from tests.unit import backbone_folders as tiny
from tests.unit import tiny_transfer

KINDS = {
    "bert": lambda: transformers.BertConfig(vocab_size=12, **tiny.SMALL),
    "roberta": lambda: transformers.RobertaConfig(vocab_size=12, **tiny.SMALL),
    "mpnet": lambda: transformers.MPNetConfig(vocab_size=12, **tiny.SMALL),
    "distilbert": lambda: transformers.DistilBertConfig(vocab_size=12, dim=8, n_layers=2, n_heads=2, hidden_dim=16),
}
TEXTS = {
    "input_ids": torch.tensor([[4, 5, 6, 7], [4, 9, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_answer_from_above_the_frozen_layers_as_from_the_input(kind: str, groups: int) -> None:
    network = Network(tiny.model(KINDS[kind]()), 2, dropout=0.0).eval()
    short = Frozen(network, groups)
    with torch.no_grad():
        whole, below = network(**TEXTS)["logits"], short.below(TEXTS)
        with short.given(below):
            assert torch.allclose(network(**TEXTS)["logits"], whole, atol=1e-6)
        assert torch.equal(network(**TEXTS)["logits"], whole), "the network is whole again"


def examples(own: TrainingContext, folder) -> Examples:
    from headstart.data import dataset

    rows = dataset.read(folder / "data/train.parquet")
    return Examples(own.preprocessor, rows, rows.targets(own.preprocessor.contract.labels))


def drop(network: Network, *, above: int) -> None:
    """Dropout in the frozen layers, as checkpoints have it, and none above: its draws would differ."""
    for group in layers.groups(network):
        for module in (inner for one in group.modules for inner in one.modules()):
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3 if group.depth < above else 0.0


def trained(folder, monkeypatch, *, kept: bool, **changes) -> tuple[dict[str, np.ndarray], list[float], int]:
    """Weights, training losses, and how often the lowest layer group ran in training."""
    own = tiny_transfer.context(
        folder, frozen_layers=2, dropout=0.0, epochs=2, learning_rate=1e-2, head_learning_rate=1e-2, **changes
    )
    network = Network.from_backbone(own.backbone, own.classes, dropout=0.0)
    drop(network, above=own.fine_tune.frozen_layers)
    passes = []
    lowest = layers.groups(network)[0].modules[-1].LayerNorm
    lowest.register_forward_hook(lambda *_: passes.append(1) if torch.is_grad_enabled() else None)
    if not kept:
        monkeypatch.setattr(frozen, "keep", lambda *_: None)
    course = loop.run(network, examples(own, folder), own.fine_tune, watch=None, progress="toy")
    weights = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    return weights, [step["loss"] for step in course.steps], len(passes)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"batch_size": 8}, {"batch_size": 16}, {"unfreezing": "gradual"}])
def test_training_is_the_same_and_the_frozen_layers_never_run_again(tmp_path, monkeypatch, changes) -> None:
    folder = tiny_transfer.text_model(tmp_path / "model")
    short, losses, passes = trained(folder, monkeypatch, kept=True, **changes)
    plain, expected, often = trained(folder, monkeypatch, kept=False, **changes)
    assert passes == 0 < often, "passes with gradients, which training makes"
    assert losses == pytest.approx(expected, abs=1e-4)
    for name, value in plain.items():
        assert np.allclose(value, short[name], atol=1e-3), name


def test_an_architecture_that_goes_round_its_frozen_layers_is_trained_in_full(tmp_path, monkeypatch) -> None:
    folder = tiny_transfer.text_model(tmp_path / "model")
    own = tiny_transfer.context(folder)
    network = Network.from_backbone(own.backbone, own.classes, dropout=0.0)
    plain, stem = network.backbone.encoder.forward, network.backbone.embeddings
    # a branch beside the blocks that the stem's kept output says nothing of
    branch = lambda hidden, *args, **named: plain(hidden if "forward" in vars(stem) else hidden + 0.5, *args, **named)  # noqa: E731
    monkeypatch.setattr(network.backbone.encoder, "forward", branch)
    assert frozen.keep(network, 1, examples(own, folder)) is None
    assert "forward" not in vars(stem)


def test_what_is_too_large_to_keep_is_run_every_time(tmp_path, monkeypatch) -> None:
    folder = tiny_transfer.text_model(tmp_path / "model")
    own = tiny_transfer.context(folder)
    network = Network.from_backbone(own.backbone, own.classes, dropout=0.0)
    monkeypatch.setattr(frozen.prepared, "KEPT_BYTES", 100)
    assert frozen.keep(network, 2, examples(own, folder)) is None


def test_augmented_images_have_no_output_to_keep(tmp_path) -> None:
    folder = tiny_transfer.image_model(tmp_path / "model")
    own = tiny_transfer.context(folder, "image")
    rows = examples(own, folder)
    network = Network.from_backbone(own.backbone, own.classes, dropout=0.0)
    assert frozen.keep(network, 1, rows) is not None, "images that do not change are kept"
    rows.augmented = True
    assert frozen.keep(network, 1, rows) is None

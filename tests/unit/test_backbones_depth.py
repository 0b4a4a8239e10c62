"""Backbones cut off above their lowest blocks."""

import pytest
import torch
import transformers

from headstart.backbones import checkpoint, depth, layers, store
from headstart.backbones.network import Network
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone
from tests.unit import backbone_folders as tiny

KINDS = {
    "bert": (tiny.bert, 1),
    "mpnet": (lambda: transformers.MPNetConfig(vocab_size=12, **tiny.SMALL), 1),
    "distilbert": (
        lambda: transformers.DistilBertConfig(vocab_size=12, dim=8, n_layers=2, n_heads=2, hidden_dim=16),
        1,
    ),
    "resnet": (tiny.resnet, 1),
    "resnet, within a stage": (tiny.resnet, 2),
}
TEXTS = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
IMAGES = {"pixel_values": torch.linspace(0, 1, 2 * 16 * 16).reshape(2, 1, 16, 16)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_network_answers_what_the_middle_layer_of_the_long_one_does(kind):
    config, count = KINDS[kind]
    long = Network(tiny.model(config()), 2, dropout=0.0).eval()
    short = Network(depth.lowest(long.backbone, count), 2, dropout=0.0).eval()
    inputs = IMAGES if "resnet" in kind else TEXTS
    with torch.no_grad():
        middle = long.layer_features(**inputs)[count][1]
        assert torch.allclose(short.features(**inputs), middle, atol=1e-6)
    names = [group.name for group in layers.groups(short)]
    assert names == [*[group.name for group in layers.groups(long)][: count + 1], "head"]


def test_the_norm_on_top_of_a_vision_transformer_stays_on_top():
    long = tiny.model(tiny.vit())
    short = depth.lowest(long, 1)
    assert short.config.num_hidden_layers == 1
    assert torch.equal(short.state_dict()["layernorm.weight"], long.state_dict()["layernorm.weight"])


def answered(model: torch.nn.Module, kind: str) -> torch.Tensor:
    network = Network(model, 2, dropout=0.0).eval()
    pictures = {"pixel_values": torch.linspace(0, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)}
    with torch.no_grad():
        return network.features(
            **(IMAGES if "resnet" in kind else TEXTS if kind in KINDS or kind == "modernbert" else pictures)
        )


NORMED = {  # a norm follows the last block, of all and of those kept
    "dinov2": lambda: transformers.Dinov2Config(image_size=16, patch_size=8, **tiny.SMALL),
    "modernbert": lambda: transformers.ModernBertConfig(vocab_size=12, pad_token_id=0, **tiny.SMALL),
    "vit": tiny.vit,
}


@pytest.mark.parametrize("kind", [*KINDS, *NORMED])
def test_what_was_cut_is_written_and_read_again(kind, tmp_path):
    config, count = KINDS[kind] if kind in KINDS else (NORMED[kind], 1)
    short = depth.lowest(tiny.model(config()), count)
    checkpoint.write(short, tmp_path / "short")
    again, unused = checkpoint.pretrained(tmp_path / "short")
    assert not unused
    assert again.config.model_type == short.config.model_type
    assert torch.equal(answered(again, kind), answered(short, kind))


@pytest.mark.parametrize("count", [2, 7])
def test_no_fewer_blocks_than_there_are_is_refused_with_how_many_there_are(count):
    with pytest.raises(BackboneError, match=rf"layers is {count}, and this bert has 2 blocks.*between 1 and 1"):
        depth.lowest(tiny.model(tiny.bert()), count)


@pytest.mark.parametrize("kind", ["mobilenet_v1", "segformer"])
def test_an_architecture_that_can_t_be_shortened_is_refused(kind):
    config = {
        "mobilenet_v1": lambda: transformers.MobileNetV1Config(depth_multiplier=0.25, image_size=32),
        "segformer": lambda: transformers.SegformerConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1]),
    }[kind]
    model = tiny.model(config())
    assert not depth.can_end_at(model, 2)
    with pytest.raises(BackboneError, match=f"{kind} can't be cut after 2 blocks"):
        depth.lowest(model, 2)


def test_the_entry_of_a_backbone_says_how_many_layers_are_kept(tmp_path):
    fetched = tiny.write_text(tmp_path / "fetched")
    entry = Backbone(modality="text", source="x", sha256={}, pretrain=None, layers=1)
    store.make(fetched, entry, tmp_path / "out")
    assert Network.from_backbone(tmp_path / "out", 2, dropout=0.0).backbone.config.num_hidden_layers == 1


def test_a_network_is_not_cut_where_nothing_would_go_but_what_follows_its_last_block():
    model = tiny.model(NORMED["modernbert"]())
    assert layers.backbone_groups(model)[-1] == ("final_norm",)
    assert depth.can_end_at(model, 1)
    with pytest.raises(BackboneError, match="modernbert can't be cut after 2 blocks"):
        depth.lowest(model, 2)

import pytest
import transformers
from torch import nn

from headstart.backbones import layers
from headstart.backbones.network import Network
from tests.unit import backbone_folders as tiny

SMALL = tiny.SMALL
CONFIGS = {
    "bert": lambda: transformers.BertConfig(vocab_size=12, **SMALL),
    "roberta": lambda: transformers.RobertaConfig(vocab_size=12, **SMALL),
    "mpnet": lambda: transformers.MPNetConfig(vocab_size=12, **SMALL),
    "distilbert": lambda: transformers.DistilBertConfig(vocab_size=12, dim=8, n_layers=2, n_heads=2, hidden_dim=16),
    "vit": tiny.vit,
    "convnext": lambda: transformers.ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 2], num_stages=2),
    "resnet": tiny.resnet,
    "mobilenet_v1": lambda: transformers.MobileNetV1Config(depth_multiplier=0.25, image_size=32),
    "mobilenet_v2": lambda: transformers.MobileNetV2Config(depth_multiplier=0.35, image_size=32),
    "albert": lambda: transformers.AlbertConfig(vocab_size=12, embedding_size=4, **SMALL),
}


@pytest.fixture(scope="module")
def networks():
    return {name: Network(tiny.model(config()), 2, dropout=0.0) for name, config in CONFIGS.items()}


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_parameter_is_in_exactly_one_group(networks, kind):
    found = [name for group in layers.groups(networks[kind]) for name, _ in group.parameters]
    assert sorted(found) == sorted(name for name, _ in networks[kind].named_parameters())


@pytest.mark.parametrize("kind", CONFIGS)
def test_modules_of_a_group_own_its_parameters(networks, kind):
    for group in layers.groups(networks[kind]):
        owned = {id(parameter) for module in group.modules for parameter in module.parameters()}
        assert {id(parameter) for _, parameter in group.parameters} <= owned


@pytest.mark.parametrize("kind", CONFIGS)
def test_depth_counts_from_the_input_and_the_head_is_last(networks, kind):
    found = layers.groups(networks[kind])
    assert [group.depth for group in found] == list(range(len(found)))
    assert found[-1].name == "head"


# worked out from the architectures: stem, blocks, head
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("bert", ["embeddings", "encoder.layer.0", "encoder.layer.1", "head"]),
        ("distilbert", ["embeddings", "transformer.layer.0", "transformer.layer.1", "head"]),
        ("vit", ["embeddings", "layers.0", "layers.1", "head"]),
        (
            "resnet",
            [
                "embedder",
                "encoder.stages.0.layers.0",
                "encoder.stages.1.layers.0",
                "encoder.stages.1.layers.1",
                "head",
            ],
        ),
        ("mobilenet_v1", ["conv_stem", *(f"layer.{index}" for index in range(1, 26, 2)), "head"]),
    ],
)
def test_groups_are_the_layers_that_a_person_would_name(networks, kind, names):
    assert [group.name for group in layers.groups(networks[kind])] == names


def test_what_leads_from_stage_to_stage_learns_with_the_stage_it_leads_to(networks):
    group = next(group for group in layers.groups(networks["convnext"]) if group.name == "encoder.stages.1.layers.0")
    assert any("stages.1.downsampling_layer" in name for name, _ in group.parameters)


def test_a_last_norm_learns_with_the_last_block(networks):
    assert "backbone.layernorm.weight" in dict(layers.groups(networks["vit"])[-2].parameters)


def test_more_than_nine_blocks_stay_in_order():
    config = transformers.BertConfig(vocab_size=12, **{**SMALL, "num_hidden_layers": 11})
    found = layers.groups(Network(tiny.model(config), 2, dropout=0.0))
    assert [group.name for group in found[1:-1]] == [f"encoder.layer.{index}" for index in range(11)]


@pytest.mark.parametrize("kind", CONFIGS)
def test_only_a_known_architecture_is_called_recognised(networks, kind):
    finding = layers.recognised(networks[kind].backbone)
    assert finding.verdict == ("unsure" if kind == "albert" else "pass")
    assert finding.statistic == len(layers.groups(networks[kind])) - 1


def test_a_known_name_over_unknown_insides_is_read_off_the_module_tree(networks):
    class Renamed(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = networks["bert"].backbone.config
            self.first = nn.Linear(2, 2)
            self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    finding = layers.recognised(Renamed())
    assert (finding.verdict, finding.statistic) == ("unsure", 3)

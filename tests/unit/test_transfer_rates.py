import pytest
import torch

from headstart.backbones import batchnorm, layers
from headstart.backbones.network import Network
from headstart.errors import ParamsError
from headstart.params.transfer import FineTune
from headstart.transfer.finetune import rates
from tests.unit import tiny_transfer


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return tiny_transfer.image_model(tmp_path_factory.mktemp("image"), rows=15)


def params(**changes: object) -> FineTune:
    values = {"learning_rate": 0.01, "head_learning_rate": 0.5, "layer_decay": 0.5, "frozen_layers": 0, **changes}
    return tiny_transfer.sections("image", **values)[1].fine_tune


def resnet(folder) -> Network:
    return Network.from_backbone(folder / "backbone", 3, dropout=0.0)


def test_each_layer_learns_at_half_the_rate_above_it_and_the_head_at_its_own(image):
    assigned = rates.assign(layers.groups(resnet(image)), params())
    assert [rate.learning_rate for rate in assigned] == pytest.approx([0.0025, 0.005, 0.01, 0.5])
    assert [rate.depth for rate in assigned] == [0, 1, 2, 3]
    assert assigned[-1].name == "head"
    assert assigned[-1].parameters == 16 * 3 + 3


def test_the_optimizer_gives_every_parameter_the_rate_of_its_group_and_spares_biases_the_decay(image):
    network = resnet(image)
    update, assigned = rates.optimizer(network, params(weight_decay=0.1))
    found = {id(value): option for option in update.param_groups for value in option["params"]}
    assert len(found) == len(list(network.parameters()))
    for group, rate in zip(layers.groups(network), assigned, strict=True):
        for _, value in group.parameters:
            assert found[id(value)]["lr"] == rate.learning_rate
            assert found[id(value)]["weight_decay"] == (0.1 if value.ndim > 1 else 0.0)


def test_frozen_layers_do_not_learn_and_no_layer_moves_its_batchnorm_statistics(image):
    network = resnet(image)
    update, assigned = rates.optimizer(network, params(frozen_layers=2))
    assert [rate.frozen for rate in assigned] == [True, True, False, False]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    for seed in range(3):
        images = torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
        network(pixel_values=images)["logits"].sub(1).square().sum().backward()
        update.step()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in moved if name.startswith(("backbone.embedder", "backbone.encoder.stages.0"))]
    assert [name for name in moved if name.startswith("backbone.encoder.stages.1") and "normalization.weight" in name]
    assert not [name for name in moved if "running" in name]
    assert "head.weight" in moved


def test_a_layer_without_a_low_rank_update_is_said_to_learn_nothing(image):
    network = resnet(image)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith("backbone.embedder"))
    update, assigned = rates.optimizer(network, params())
    assert [rate.frozen for rate in assigned] == [True, False, False, False]
    assert assigned[0].learning_rate == 0.0
    learning = sum(len(option["params"]) for option in update.param_groups)
    assert learning == sum(value.requires_grad for value in network.parameters())
    network.train()
    norms = batchnorm.norms([network])
    assert all(module.training for module in network.modules() if module not in norms)  # its dropout goes on


def test_more_frozen_layers_than_there_are_is_refused_with_the_number_there_are(image):
    with pytest.raises(ParamsError, match=r"frozen_layers is 4, this backbone has 3 layer groups.*linear_probe"):
        rates.assign(layers.groups(resnet(image)), params(frozen_layers=4))


def test_all_backbone_layers_frozen_leaves_the_head():
    groups = [layers.LayerGroup(name, depth, [], []) for depth, name in enumerate(("stem", "block", "head"))]
    assert [rate.frozen for rate in rates.assign(groups, params(frozen_layers=2))] == [True, True, False]

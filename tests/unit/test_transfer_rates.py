import pytest

from headstart.backbones import batchnorm, layers
from headstart.backbones.network import Network
from headstart.params.transfer import FineTune
from headstart.transfer.finetune import rates
from tests.unit import tiny_transfer


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return tiny_transfer.image_model(tmp_path_factory.mktemp("image"), rows=15)


def params(**changes: object) -> FineTune:
    values = {"learning_rate": 0.01, "head_learning_rate": 0.5, "layer_decay": 0.5, **changes}
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
    update, assigned = rates.optimizer(network, params())
    found = {id(value): option for option in update.param_groups for value in option["params"]}
    assert len(found) == len(list(network.parameters()))
    for group, rate in zip(layers.groups(network), assigned, strict=True):
        for _, value in group.parameters:
            assert found[id(value)]["lr"] == rate.learning_rate
            assert found[id(value)]["weight_decay"] == (rates.WEIGHT_DECAY if value.ndim > 1 else 0.0)


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


def test_the_schedule_rises_falls_and_ends_as_worked_out_by_hand():
    # 2 of 20 steps rise: 1/3, 2/3; then from 18/18 down by eighteenths
    share = rates.Schedule(20)
    assert [share(step) for step in range(21)] == pytest.approx(
        [1 / 3, 2 / 3, *(left / 18 for left in range(18, -1, -1))]
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 299])
def test_the_schedule_stays_above_zero_while_training_and_never_above_one(steps):
    share = rates.Schedule(steps)
    assert all(0.0 < share(step) <= 1.0 for step in range(steps))
    assert 0.0 <= share(steps) <= 1.0

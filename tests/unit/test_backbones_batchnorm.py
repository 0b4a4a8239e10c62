import copy

import pytest
import torch
import transformers

from headstart.backbones import batchnorm, layers
from headstart.backbones.network import Network
from tests.unit import backbone_folders as tiny


@pytest.fixture
def network():
    """As from random weights: its BatchNorms learn their statistics."""
    return Network(tiny.model(tiny.resnet()), 2, dropout=0.0)


@pytest.fixture
def pretrained(tmp_path):
    network = Network.from_backbone(tiny.write(tmp_path / "resnet", tiny.resnet()), 2, dropout=0.0)
    network.set_head(torch.sin(torch.arange(16.0)).reshape(2, 8), torch.zeros(2))
    return network


def train_once(network):
    """One step of plain gradient descent on shifted images, after `.train()`, as every training loop does it."""
    network.train()
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    images = torch.sin(torch.arange(4 * 256).float()).reshape(4, 1, 16, 16) + 3.0
    torch.nn.functional.cross_entropy(network(pixel_values=images)["logits"], torch.tensor([0, 1, 0, 1])).backward()
    optimizer.step()


def changed(before, network):
    return {name for name, values in network.state_dict().items() if not torch.equal(before[name], values)}


def test_without_freezing_statistics_move_although_no_parameter_learns(network):
    # the accident that `Network.train` prevents for a pretrained backbone
    before = copy.deepcopy(network.state_dict())
    for _, parameter in layers.groups(network)[0].parameters:
        parameter.requires_grad_(False)
    train_once(network)
    assert "backbone.embedder.embedder.normalization.running_mean" in changed(before, network)


def test_a_pretrained_network_keeps_its_statistics_while_scale_and_shift_learn(pretrained):
    before = copy.deepcopy(pretrained.state_dict())
    train_once(pretrained)
    moved = changed(before, pretrained)
    assert not {name for name in moved if "running" in name or "num_batches" in name}
    norm = "backbone.encoder.stages.1.layers.1.layer.0.normalization"
    assert {f"{norm}.weight", f"{norm}.bias", "head.weight"} <= moved


def test_a_pretrained_network_answers_in_training_as_in_evaluation(pretrained):
    images = torch.sin(torch.arange(4 * 256).float()).reshape(4, 1, 16, 16) + 3.0
    with torch.no_grad():
        evaluated = pretrained.eval()(pixel_values=images)["logits"]
        assert torch.equal(pretrained.train()(pixel_values=images)["logits"], evaluated)


def test_the_control_from_scratch_averages_statistics_where_the_architecture_would_take_the_last_batch(tmp_path):
    tiny.model(transformers.MobileNetV1Config(num_channels=1, depth_multiplier=0.25, image_size=16)).save_pretrained(
        tmp_path
    )
    network = Network.from_scratch(tmp_path, 2, dropout=0.0, seed=1).train()
    norm, seen = batchnorm.norms([network])[0], []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(pixel_values=torch.sin(torch.arange(2 * 256).float()).reshape(2, 1, 16, 16) + 3.0)
    torch.testing.assert_close(norm.running_mean, 0.1 * seen[0].mean(dim=(0, 2, 3)))  # it started at zero


@pytest.mark.parametrize(("momentum", "mended"), [(0.9997, 0.1), (0.99, 0.1), (0.1, 0.1), (0.01, 0.01), (None, None)])
def test_a_share_that_stays_is_told_from_one_that_is_new(momentum, mended):
    norm = torch.nn.BatchNorm2d(2, momentum=momentum)  # None: the average of all batches
    batchnorm.mend_momentum(norm)
    assert norm.momentum == mended


def test_norms_are_found_once_however_often_their_parents_are_named(network):
    # ResNet: one norm in the stem, two in each of three blocks, one in the shortcut between the stages
    assert len(batchnorm.norms([network, network.backbone])) == 1 + 2 * 3 + 1

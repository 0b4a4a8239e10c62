import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.determinism import folder_digest
from headstart.errors import BackboneError
from tests.unit import backbone_folders as tiny

TEXTS = {
    "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
IMAGES = {"pixel_values": torch.sin(torch.arange(2 * 16 * 16).float()).reshape(2, 1, 16, 16)}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("bert"), tiny.bert())


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("resnet"), tiny.resnet())


@torch.no_grad()
def test_features_of_a_text_are_the_mean_over_its_own_tokens(bert):
    network = Network.from_backbone(bert, 3, dropout=0.0)
    states = network.backbone(**TEXTS).last_hidden_state
    expected = torch.stack([states[0].mean(dim=0), (states[1, 0] + states[1, 1] + states[1, 2]) / 3])
    assert torch.allclose(network(**TEXTS)["features"], expected, atol=1e-6)


@torch.no_grad()
def test_padding_does_not_change_a_text(bert):
    network = Network.from_scratch(bert, 3, dropout=0.0, seed=1)
    alone = {name: values[1:, :3] for name, values in TEXTS.items()}
    assert torch.allclose(network(**alone)["logits"][0], network(**TEXTS)["logits"][1], atol=1e-5)


@torch.no_grad()
def test_features_of_an_image_are_the_mean_over_the_last_map(resnet):
    network = Network.from_backbone(resnet, 3, dropout=0.0)
    expected = network.backbone(**IMAGES).last_hidden_state.mean(dim=(2, 3))
    assert torch.allclose(network(**IMAGES)["features"], expected, atol=1e-6)


@torch.no_grad()
def test_features_of_a_transformer_for_images_are_its_class_token(tmp_path):
    network = Network.from_backbone(tiny.write(tmp_path, tiny.vit()), 2, dropout=0.0)
    inputs = {"pixel_values": torch.ones(2, 3, 16, 16)}
    assert torch.equal(network(**inputs)["features"], network.backbone(**inputs).last_hidden_state[:, 0])


@torch.no_grad()
def test_a_new_head_answers_every_class_alike_until_it_is_set(resnet):
    network = Network.from_backbone(resnet, 3, dropout=0.0)
    assert torch.equal(network(**IMAGES)["logits"], torch.zeros(2, 3))
    weight = torch.arange(24.0).reshape(3, 8)
    network.set_head(weight.numpy(), [1.0, 2.0, 3.0])
    outputs = network(**IMAGES)
    assert torch.allclose(outputs["logits"], outputs["features"] @ weight.T + torch.tensor([1.0, 2.0, 3.0]))


def test_a_head_with_features_first_is_refused_with_both_shapes(resnet):
    network = Network.from_backbone(resnet, 3, dropout=0.0)
    with pytest.raises(BackboneError, match=r"weight of shape \(8, 3\) arrived, \(3, 8\) \(classes first\)"):
        network.set_head(torch.zeros(8, 3), torch.zeros(3))


def test_from_scratch_is_decided_by_its_seed_alone(resnet):
    torch.manual_seed(0)
    first = Network.from_scratch(resnet, 3, dropout=0.0, seed=1).state_dict()
    torch.manual_seed(99)
    again = Network.from_scratch(resnet, 3, dropout=0.0, seed=1).state_dict()
    other = Network.from_scratch(resnet, 3, dropout=0.0, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_loading_leaves_the_random_numbers_of_the_caller_alone(resnet):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    Network.from_backbone(resnet, 3, dropout=0.0)
    Network.from_scratch(resnet, 3, dropout=0.0, seed=1)
    assert torch.equal(torch.rand(3), expected)


@torch.no_grad()
def test_a_saved_network_answers_the_same_and_is_the_same_bytes_in_any_folder(bert, tmp_path):
    network = Network.from_scratch(bert, 3, dropout=0.25, seed=5)
    network.save(tmp_path / "here")
    loaded = Network.load(tmp_path / "here")
    loaded.save(tmp_path / "there")
    assert torch.equal(loaded(**TEXTS)["logits"], network(**TEXTS)["logits"])
    assert loaded.dropout.p == 0.25
    assert not loaded.training
    assert folder_digest(tmp_path / "here") == folder_digest(tmp_path / "there")


def test_a_network_remembers_the_shape_of_its_images(resnet, tmp_path):
    from transformers import AutoModel

    network = Network(AutoModel.from_pretrained(resnet), 2, dropout=0.0, shape=(1, 16, 24))
    network.save(tmp_path)
    assert Network.load(tmp_path).shape == (1, 16, 24)


def test_a_newer_network_is_refused(resnet, tmp_path):
    Network.from_backbone(resnet, 2, dropout=0.0).save(tmp_path)
    document = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(BackboneError, match="has format 2, this version reads 1"):
        Network.load(tmp_path)


def test_weights_that_would_be_random_are_refused_by_name(tmp_path):
    tiny.write(tmp_path, tiny.bert())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"(?s)lacks weights.*encoder\.layer\.1\.output\.dense\.bias: missing"):
        Network.from_backbone(tmp_path, 2, dropout=0.0)


def test_an_architecture_that_transformers_does_not_know_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wonder", "auto_map": {"AutoModel": "wonder.Wonder"}}')
    with pytest.raises(BackboneError, match=r"model_type 'wonder'.*trust_remote_code stays off"):
        Network.from_backbone(tmp_path, 2, dropout=0.0)


def test_a_folder_without_configuration_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(BackboneError, match=r"config\.json does not exist \(readme\.txt\)"):
        Network.from_backbone(tmp_path, 2, dropout=0.0)


@torch.no_grad()
@pytest.mark.parametrize(("folder", "inputs"), [("bert", TEXTS), ("resnet", IMAGES)])
def test_layer_features_go_from_the_input_to_what_the_head_sees(folder, inputs, request):
    network = Network.from_backbone(request.getfixturevalue(folder), 2, dropout=0.0)
    found = network.layer_features(**inputs)
    assert [name for name, _ in found] == [group.name for group in layers.groups(network)[:-1]]
    assert torch.allclose(found[-1][1], network(**inputs)["features"], atol=1e-6)
    assert all(values.shape[0] == 2 and values.dim() == 2 for _, values in found)
    assert not any(module._forward_hooks for module in network.modules())

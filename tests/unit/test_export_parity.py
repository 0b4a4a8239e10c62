import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from headstart.backbones import processor, store
from headstart.backbones.network import Network
from headstart.contract.files import write
from headstart.contract.spec import Contract
from headstart.errors import DataError
from headstart.export import graph, parity
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from tests.unit import backbone_folders as tiny

LIMITS = Limits(tokens=16, characters=1000, pixels=5000, megabytes=1)
TEXTS = [" ".join(tiny.WORDS[5 + (row + place) % 6] for place in range(1 + row % 9)) for row in range(40)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network, its contract's folder and its exported file."""
    folder = tmp_path_factory.mktemp("parity")
    backbone = Backbone(modality="text", source="x", sha256={}, pretrain=None)
    store.make(tiny.write_text(folder / "from"), backbone, folder / "backbone")
    network = Network.from_backbone(folder / "backbone", 3, dropout=0.1)
    network.set_head(np.sin(np.arange(24)).reshape(3, 8), [0.1, 0.2, 0.3])
    spec, tokenizer_json = processor.input_spec(folder / "backbone", LIMITS)
    write(folder / "contract", Contract("text", spec, ("a", "b", "c")), tokenizer_json=tokenizer_json)
    graph.export(network, "text", folder / "model.onnx", 20)
    return network, folder


def test_the_exported_file_answers_as_the_network_at_every_batch_size(made):
    network, folder = made
    found = parity.check(network, folder / "model.onnx", folder / "contract", TEXTS)
    assert (found["format"], found["examples"], found["label_flips"]) == (1, 40, 0)
    assert found["batch_sizes"] == [1, 2, 7, 32]
    assert 0 <= found["mean_difference"] <= found["max_difference"] < 1e-5
    assert found["batch_difference"] < 1e-5
    assert found["graph"] == {"dropout": 0, "batchnorm_training": 0, "random_ops": 0}
    json.dumps(found, allow_nan=False)


def test_a_file_with_another_bias_is_measured_by_how_much_and_where(made, tmp_path):
    network, folder = made
    model = onnx.load(folder / "model.onnx")
    [bias] = [each for each in model.graph.initializer if list(each.dims) == [3]]  # nothing else is one a class
    bias.CopyFrom(numpy_helper.from_array(np.array([0.1, 2.2, 0.3], dtype=np.float32), bias.name))
    onnx.save(model, tmp_path / "model.onnx")
    found = parity.check(network, tmp_path / "model.onnx", folder / "contract", TEXTS)
    assert found["max_difference"] == pytest.approx(2.0, abs=1e-5)
    assert found["mean_difference"] == pytest.approx(2.0 / 3, abs=1e-5)  # one of three logits is off
    assert found["label_flips"] > 0
    assert found["feature_difference"] < 1e-5


def test_nothing_to_compare_is_refused(made):
    network, folder = made
    with pytest.raises(DataError, match="no example arrived"):
        parity.check(network, folder / "model.onnx", folder / "contract", [])

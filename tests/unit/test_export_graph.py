import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from headstart.backbones.network import Network
from headstart.determinism import file_digest
from headstart.errors import BackboneError, OutsideError
from headstart.export import graph
from tests.unit import backbone_folders as tiny

ROOT = Path(__file__).parents[2]
OPSET = 20
SCRIPT = """
import sys
from pathlib import Path
from headstart.backbones.network import Network
from headstart.export import graph
graph.export(Network.load(Path("network")), "image", Path("model.onnx"), 20)
"""


def network(config, shape=None):
    built = Network(tiny.model(config), 3, dropout=0.5, shape=shape)
    built.set_head(np.sin(np.arange(3 * built.hidden_size)).reshape(3, -1), [0.1, 0.2, 0.3])
    return built.eval()


def answers(path, inputs):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path)).run(["logits", "features"], inputs)


@torch.no_grad()
def expected(built, inputs):
    outputs = built(**{name: torch.from_numpy(values) for name, values in inputs.items()})
    return outputs["logits"].numpy(), outputs["features"].numpy()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A ResNet and its file, exported in one folder and again, by another process, in another folder."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there") / "much further down"
    built = network(tiny.resnet(), (1, 16, 16))
    built.save(here / "network")
    done = []
    for folder in (here, there):
        if folder is there:
            shutil.copytree(here / "network", there / "network")
        done.append(
            subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True, check=True)
        )
    return built, here / "model.onnx", there / "model.onnx", done


@pytest.mark.slow
def test_an_export_says_nothing(images):
    assert [(each.stdout, each.stderr) for each in images[3]] == [("", "")] * 2


@pytest.mark.slow
def test_exports_from_two_folders_are_the_same_bytes(images):
    _, here, there, _ = images
    assert file_digest(here) == file_digest(there)


@pytest.mark.slow
def test_no_path_stands_in_the_file(images):
    data = images[1].read_bytes()
    assert not [word for word in (b"site-packages", b"/tmp", str(ROOT).encode(), b".py") if word in data]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_images_of_any_batch_size_are_answered_as_by_the_network(images, batch):
    built, path, _, _ = images
    inputs = {"pixel_values": np.sin(np.arange(batch * 256, dtype=np.float32)).reshape(batch, 1, 16, 16)}
    for ours, theirs in zip(answers(path, inputs), expected(built, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
def test_nothing_of_training_is_left_of_a_network_with_dropout_and_batchnorm(images):
    assert graph.leftovers(images[1]) == {"dropout": 0, "batchnorm_training": 0, "random_ops": 0}


@pytest.mark.slow
def test_texts_of_any_batch_size_and_length_are_answered_as_by_the_network(tmp_path):
    built = network(tiny.bert())
    graph.export(built, "text", tmp_path / "model.onnx", OPSET)
    for batch, length in ((1, 1), (1, 32), (2, 1), (3, 9)):
        ids = (np.arange(batch * length) % 12).reshape(batch, length)
        mask = np.ones_like(ids)
        mask[-1, (length + 1) // 2 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask}
        for ours, theirs in zip(answers(tmp_path / "model.onnx", inputs), expected(built, inputs), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    names = [each.name for each in onnx.load(tmp_path / "model.onnx").graph.input]
    assert names == ["input_ids", "attention_mask"]


def test_training_mode_anywhere_inside_is_refused(tmp_path):
    built = network(tiny.resnet())
    built.backbone.encoder.train()
    with pytest.raises(BackboneError, match=r"first backbone\.encoder.*answers at random.*network\.eval\(\)"):
        graph.export(built, "image", tmp_path / "model.onnx", OPSET)
    assert not list(tmp_path.iterdir())


# --- what `leftovers` counts, on graphs written by hand -------------------------------------------------------------


def saved(path, nodes, initializers=()):
    """A file with `nodes` between `x` and `y`."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3, 4, 4]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], list(initializers)), opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.save(model, path)
    return path


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


NORM = [constant(name, np.ones(3, np.float32)) for name in ("scale", "bias", "mean", "variance")]
FED = ["x", "scale", "bias", "mean", "variance"]


@pytest.mark.parametrize(
    ("nodes", "initializers", "found"),
    [
        pytest.param([helper.make_node("Dropout", ["x"], ["y"])], [], {}, id="dropout that does nothing"),
        pytest.param(
            [helper.make_node("Dropout", ["x", "ratio", "mode"], ["y"])],
            [constant("ratio", np.float32(0.5)), constant("mode", False)],
            {},
            id="dropout switched off",
        ),
        pytest.param(
            [helper.make_node("Dropout", ["x", "ratio", "mode"], ["y"])],
            [constant("ratio", np.float32(0.5)), constant("mode", True)],
            {"dropout": 1},
            id="dropout at work",
        ),
        pytest.param(
            [
                helper.make_node("Constant", [], ["mode"], value=constant("", True)),
                helper.make_node("Dropout", ["x", "", "mode"], ["y"]),
            ],
            [],
            {"dropout": 1},
            id="dropout switched on by a node",
        ),
        pytest.param([helper.make_node("BatchNormalization", FED, ["y"])], NORM, {}, id="norm that is fed constants"),
        pytest.param(
            [helper.make_node("BatchNormalization", FED, ["y", "m", "v"], training_mode=1)],
            NORM,
            {"batchnorm_training": 1},
            id="norm in training mode",
        ),
        pytest.param(
            [
                helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
                helper.make_node("BatchNormalization", FED, ["y"]),
            ],
            [each for each in NORM if each.name != "mean"],
            {"batchnorm_training": 1},
            id="norm that is fed the batch's own mean",
        ),
        pytest.param(
            [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])],
            [],
            {"random_ops": 1},
            id="noise",
        ),
        pytest.param(
            [
                helper.make_node(
                    "If",
                    ["mode"],
                    ["y"],
                    then_branch=helper.make_graph(
                        [helper.make_node("Bernoulli", ["x"], ["t"])],
                        "t",
                        [],
                        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
                    ),
                    else_branch=helper.make_graph(
                        [helper.make_node("Identity", ["x"], ["e"])],
                        "e",
                        [],
                        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
                    ),
                )
            ],
            [constant("mode", True)],
            {"random_ops": 1},
            id="noise inside a branch",
        ),
    ],
)
def test_what_training_left_behind_is_counted(tmp_path, nodes, initializers, found):
    counts = graph.leftovers(saved(tmp_path / "model.onnx", nodes, initializers))
    assert counts == {"dropout": 0, "batchnorm_training": 0, "random_ops": 0} | found


class Branching(nn.Module):
    """A network whose steps depend on what it is given: no graph says that."""

    main_input_name = "pixel_values"

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(model_type="fake")
        self.layer = nn.Linear(4, 4)

    def forward(self, pixel_values):
        patches = self.layer(pixel_values.flatten(1).reshape(-1, 4, 4))
        return SimpleNamespace(last_hidden_state=patches if float(patches.sum()) > 0 else -patches)


def test_what_can_t_be_exported_is_refused_in_one_line_and_nothing_else_is_printed(tmp_path, capfd):
    """The exporter itself writes the whole graph to the terminal, and its error is a page of advice."""
    built = Network(Branching(), 2, dropout=0.0, shape=(1, 4, 4)).eval()
    with pytest.raises(OutsideError) as refused:
        graph.export(built, "image", tmp_path / "model.onnx", OPSET)
    assert refused.value.message.startswith("torch cannot express fake in ONNX: GuardOnDataDependentSymNode: ")
    assert len(refused.value.message.splitlines()) == 1
    assert len(refused.value.message) < 350
    assert capfd.readouterr() == ("", "")

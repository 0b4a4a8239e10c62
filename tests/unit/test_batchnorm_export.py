"""The instrumented network answers as the plain one, says what enters each BatchNorm, and takes other statistics."""

import inspect
import io
import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from headstart import layer_statistics, profile
from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.batchnorm import recalibration
from headstart.batchnorm.instrumented import GRAPH, Instrumented
from headstart.bundle import CALIBRATION, Calibration, seal
from headstart.contract import files, spec
from headstart.data import cures
from headstart.data.dataset import Dataset
from headstart.evaluation.gates import batchnorm as gate
from headstart.export import graph, instrumented, parity, statistics
from headstart.faults.table import FAULTS
from headstart.journal.moments import LayerMoments
from headstart.monitoring import recalibration as monitored
from headstart.monitoring.remedies import Recorded, recalibrate_batchnorm
from headstart.predictor import Preprocessor
from headstart.profile import Profile
from tests.unit import backbone_folders as tiny
from tests.unit.made_traffic import NOON, monitor, traffic, window_of

pytestmark = pytest.mark.slow

SHAPE = (1, 16, 16)
CLASSES = ("a", "b", "c")
FORM = spec.ImageSpec("L", "stretch", 16, 16, None, "bilinear", None, 1 / 255, (0.5,), (0.5,), 10_000, 100_000)


def pictures(count, *, seed, brighter=0.0):
    """Grey pictures of a blob in one of three places, by class."""
    generator = np.random.default_rng(seed)
    found, labels = [], []
    for number in range(count):
        levels = generator.uniform(0, 60, (16, 16))
        place = number % 3
        levels[5 * place : 5 * place + 5, 4:12] += 120 + generator.uniform(0, 40)
        out = io.BytesIO()
        Image.fromarray(np.clip(levels + brighter, 0, 255).astype(np.uint8)).save(out, "PNG")
        found.append(out.getvalue())
        labels.append(CLASSES[place])
    return Dataset("image", [str(n) for n in range(count)], labels, found, [None] * count, [None] * count)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small ResNet whose statistics fit nothing exactly, a head that separates the classes, and what is exported."""
    folder = tmp_path_factory.mktemp("batchnorm")
    files.write(folder, spec.Contract("image", FORM, CLASSES), tokenizer_json=None)
    network = Network(tiny.model(tiny.resnet()), len(CLASSES), dropout=0.0, shape=SHAPE).eval()
    for number, norm in enumerate(batchnorm.norms([network])):
        norm.running_mean.copy_(0.1 * torch.sin(torch.arange(norm.num_features) + float(number)))
        norm.running_var.copy_(0.5 + 0.1 * torch.arange(norm.num_features) + 0.01 * number)
    preprocessor = Preprocessor.load(folder)
    learn = pictures(90, seed=1)
    batch = preprocessor.collate(preprocessor.prepare(learn.inputs))
    with torch.inference_mode():
        features = network.features(pixel_values=torch.from_numpy(batch["pixel_values"])).double().numpy()
    targets = np.eye(3)[[CLASSES.index(label) for label in learn.labels]]
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.linalg.lstsq(design, targets, rcond=1e-6)[0]  # least squares on one column a class
    network.set_head(20 * weights[:-1].T, 20 * weights[-1])
    instrumented.export(network, folder / GRAPH, 20)
    graph.export(network, "image", folder / "model.onnx", 20)
    network.save(folder / "model")
    return folder, network, preprocessor


def opened(made):
    return Instrumented.open(made[0] / GRAPH, made[2])


def tapped(network, items):
    """Means and variances of each BatchNorm's input, by hooks of this test's own."""
    seen = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.__setitem__(name, inputs[0]))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        logits = network(pixel_values=torch.from_numpy(np.stack(items)))["logits"].numpy()
    for hook in hooks:
        hook.remove()
    moments = {
        name: (values.mean((0, 2, 3)).numpy(), values.var((0, 2, 3), unbiased=False).numpy())
        for name, values in seen.items()
    }
    return logits, moments


def test_it_answers_as_the_network_and_says_what_enters_each_layer(made):
    items = made[2].prepare(pictures(7, seed=5).inputs)
    logits, moments = tapped(made[1], items)
    measured = opened(made)
    seen = measured.run(items)
    assert seen.logits == pytest.approx(logits, rel=1e-4, abs=1e-2)
    whole = layer_statistics.summed(seen.moments)
    for kind, place in (("mean", 0), ("variance", 1)):
        for name, values in measured.layers.split(getattr(whole, kind)).items():
            assert values == pytest.approx(moments[name][place], rel=1e-4, abs=1e-4), name


def test_layers_stand_in_the_order_in_which_an_image_passes_them(made):
    """ResNet lists a stage's shortcut first and calls it last; a heat map by depth would mislead."""
    names = opened(made).layers.names
    assert names[0] == "backbone.embedder.embedder.normalization"
    shortcut = names.index("backbone.encoder.stages.1.layers.0.shortcut.normalization")
    assert shortcut > names.index("backbone.encoder.stages.1.layers.0.layer.0.normalization")


def test_other_statistics_give_the_answers_of_a_network_that_stores_them(made):
    folder, _, preprocessor = made
    measured = opened(made)
    other = layer_statistics.Statistics(measured.stored.mean + 0.2, measured.stored.variance * 1.5)
    network = Network.load(folder / "model")
    cure = cures.BatchNorm(recalibration.tensors(measured, other), measured.network, {})
    assert instrumented.cured(network, cure)
    items = preprocessor.prepare(pictures(5, seed=6).inputs)
    assert measured.run(items, other).logits == pytest.approx(tapped(network, items)[0], rel=1e-4, abs=1e-2)


def test_a_cure_of_another_network_is_left_out(made):
    network = Network.load(made[0] / "model")
    before = batchnorm.fingerprints(network)
    measured = opened(made)
    other = cures.BatchNorm(recalibration.tensors(measured, measured.stored), "0" * 64, {})
    assert not instrumented.cured(network, other)
    assert batchnorm.fingerprints(network) == before


def test_the_export_repeats_byte_for_byte_and_leaves_the_network_alone(made, tmp_path):
    network = Network.load(made[0] / "model")
    before = {name: values.clone() for name, values in network.state_dict().items()}
    instrumented.export(network, tmp_path / "again.onnx", 20)
    assert (tmp_path / "again.onnx").read_bytes() == (made[0] / GRAPH).read_bytes()
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_a_network_without_batchnorm_gives_no_file(tmp_path):
    network = Network(tiny.model(tiny.vit()), 3, dropout=0.0, shape=(3, 16, 16)).eval()
    assert instrumented.export(network, tmp_path / "none.onnx", 20) is None
    assert not (tmp_path / "none.onnx").exists()


def test_the_stored_reference_is_read_as_it_was_written(made, tmp_path):
    known = opened(made).reference(pictures(60, seed=2).inputs, seed=0)
    layer_statistics.write(tmp_path, known)
    first = (tmp_path / layer_statistics.TABLE).read_bytes()
    found = layer_statistics.read(tmp_path)
    assert (found.layers, found.inputs, len(found.blocks.count)) == (known.layers, 60, 50)
    assert found.whole.mean == pytest.approx(known.whole.mean, rel=1e-6)
    layer_statistics.write(tmp_path, known)
    assert (tmp_path / layer_statistics.TABLE).read_bytes() == first
    assert layer_statistics.read(tmp_path / "nowhere") is None


def right(measured, preprocessor, examples, statistics=None):
    logits = measured.run(preprocessor.prepare(examples.inputs), statistics).logits
    return float(np.mean([CLASSES[row] == label for row, label in zip(logits.argmax(1), examples.labels, strict=True)]))


def test_re_estimation_brings_back_what_light_took_and_changes_nothing_where_nothing_changed(made):
    measured, preprocessor = opened(made), made[2]
    known = measured.reference(pictures(150, seed=2).inputs, seed=0).whole
    sound, bright = pictures(120, seed=3), pictures(120, seed=3, brighter=110.0)
    assert right(measured, preprocessor, sound) > 0.9
    assert right(measured, preprocessor, bright) < 0.8
    found = recalibration.recalibrate(measured, known, pictures(120, seed=4, brighter=110.0).inputs)
    assert right(measured, preprocessor, bright, found.statistics) > 0.9
    still = recalibration.recalibrate(measured, known, pictures(120, seed=4).inputs)
    assert right(measured, preprocessor, sound, still.statistics) >= right(measured, preprocessor, sound) - 0.02
    assert max(still.moved.values()) < 0.1 * max(found.moved.values())


@pytest.fixture
def served(made, tmp_path):
    """A sealed bundle of the network, its profile of 150 pictures, and the probabilities that this holds."""
    files.write(tmp_path, spec.Contract("image", FORM, CLASSES), tokenizer_json=None)
    measured, preprocessor = opened(made), made[2]
    judged = pictures(150, seed=2)
    layer_statistics.write(tmp_path, measured.reference(judged.inputs, seed=0))
    neutral = Calibration.identity(3)
    probabilities = neutral.apply(measured.run(preprocessor.prepare(judged.inputs)).logits)
    answers = [CLASSES[place] for place in probabilities.argmax(axis=1)]
    known = Profile(
        classes=CLASSES, n=150, predicted_counts=Counter(answers), label_counts=Counter(judged.labels), accuracy=1.0,
        labels=judged.labels, predicted=answers, confidence=probabilities.max(axis=1), properties={},
        probabilities=probabilities.astype(np.float32), features=None,
    )  # fmt: skip
    profile.write(tmp_path, known)
    seal(tmp_path, {GRAPH: made[0] / GRAPH, CALIBRATION: json.dumps(neutral.document()).encode()})
    return tmp_path, known, probabilities


def test_the_remedy_writes_statistics_of_the_windows_images_and_says_what_they_do(made, served):
    """On brighter images a network that was frozen is less sure than on its reference, and surer when recalibrated."""
    folder, known, probabilities = served
    measured = opened(made)
    window = window_of(traffic(np.random.default_rng(0), 200))
    seen = Recorded(window, known, None, monitor(), folder, pictures(120, seed=3, brighter=110.0).inputs)
    proposal = recalibrate_batchnorm(seen)
    said = proposal.effect["confidence"]
    assert proposal.effect["images"] == 120 and set(proposal.effect["moved"]) == set(measured.layers.names)
    assert said["now"] < said["recalibrated"] and said["expected"] == pytest.approx(probabilities.max(axis=1).mean())
    proposal.write(folder)
    found = cures.read_batchnorm(folder)
    assert found.network == measured.network and found.source["version"] == 2 and found.source["images"] == 120
    network = Network.load(made[0] / "model")
    before = batchnorm.fingerprints(network)
    assert instrumented.cured(network, found) and batchnorm.fingerprints(network) != before


@pytest.mark.parametrize(("brighter", "severity", "restores"), [(110.0, 5, True), (20.0, 1, False)])
def test_a_fault_is_planted_as_strong_as_the_layers_say_and_labels_tell_what_it_costs_and_what_comes_back(
    made, served, brighter, severity, restores
):
    """The network tells its classes by level: 110 more of 255 hide them from stored statistics, 20 more do not."""
    folder, known, _ = served
    labelled = pictures(120, seed=3)
    found = monitored.replay(
        folder, known, labelled.inputs, labelled.labels, FAULTS["brightened"], seen_by(made, brighter)
    )
    assert (found.images, found.severity, found.restores) == (120, severity, restores)
    assert found.clean > 0.9
    assert found.cured > 0.9  # as in the test of re-estimation above
    assert (found.broken < 0.8) is restores


def test_a_fault_is_planted_in_no_fewer_images_than_statistics_are_re_estimated_from(made, served):
    folder, known, _ = served
    labelled = pictures(31, seed=3)
    assert (
        monitored.replay(folder, known, labelled.inputs, labelled.labels, FAULTS["brightened"], seen_by(made, 110.0))
        is None
    )


def seen_by(made, brighter):
    """What a server would measure of 200 pictures."""
    total = layer_statistics.summed(
        opened(made).run(made[2].prepare(pictures(200, seed=7, brighter=brighter).inputs)).moments
    )
    return LayerMoments(NOON, 2, "bundle", 200, total.total, total.squares)


def checked(made, folder, *, plant=None, kept=True):
    """The gate's finding on a network from `folder`, as the stage `export` makes its evidence."""
    network = Network.load(folder / "model")
    known = batchnorm.fingerprints(made[1]) if kept else {}
    instrumented.export(network, folder / GRAPH, 20)
    document = statistics.check(
        network, folder / GRAPH, made[0], kept=known, train=pictures(120, seed=7),
        validation=pictures(90, seed=8), cure=None,
    )  # fmt: skip
    graph.export(network, "image", folder / "model.onnx", 20)
    if plant:
        plant(folder)
    compared = parity.check(network, folder / "model.onnx", made[0], pictures(40, seed=9).inputs)
    return gate.judge(document, compared, 1e-3)


@pytest.fixture
def copied(made, tmp_path):
    made[1].save(tmp_path / "model")
    return tmp_path


def test_a_sound_candidate_passes(made, copied):
    found = checked(made, copied)
    assert (found.verdict, found.evidence["moved"]) == ("pass", [])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.gate == "batchnorm"])
def test_every_planted_fault_of_statistics_is_blocked(made, copied, name):
    """Each at its mildest severity; the layers are frozen, as they are in every strategy but `scratch`."""
    fault = FAULTS[name]
    if fault.target == "export":
        found = checked(made, copied, plant=fault.inject)
        assert found.evidence["training_nodes"] > 0
    else:
        asked = inspect.signature(fault.inject).parameters
        mildest = {"severity": 1, "generator": np.random.default_rng(0)}
        path = copied / "model/backbone/model.safetensors"
        fault.inject(path, **{key: value for key, value in mildest.items() if key in asked})
        found = checked(made, copied)
        assert len(found.evidence["moved"]) == len(batchnorm.norms([made[1]]))
    assert (found.check, found.verdict) == ("batchnorm", "fail")
    assert found.action


def test_statistics_that_are_equal_in_all_layers_are_exported_apart(made, copied):
    """A new network's means are all 0; the exporter makes one constant of equal ones."""
    FAULTS["statistics_lost"].inject(copied / "model/backbone/model.safetensors")
    network = Network.load(copied / "model")
    instrumented.export(network, copied / GRAPH, 20)
    stored = Instrumented.open(copied / GRAPH, made[2]).stored
    assert (set(stored.mean), set(stored.variance)) == ({0.0}, {1.0})
    weights = load_file(copied / "model/backbone/model.safetensors")
    assert any(name.endswith("running_mean") for name in weights)

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headstart.backbones import processor, reference
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.predictor import Preprocessor
from headstart.statistics.interval import Interval
from headstart.transfer import features, gap, moments
from headstart.transfer.setting import Split
from tests.unit import tiny_transfer

RANDOM = np.random.default_rng(11)
FIRST, SECOND = RANDOM.normal(size=(300, 6)).astype(np.float32), RANDOM.normal(size=(200, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return tiny_transfer.text_model(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return tiny_transfer.image_model(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def text_network(texts):
    return Network.from_backbone(texts / "backbone", 2, dropout=0.0)


@pytest.fixture(scope="module")
def image_network(images):
    return Network.from_backbone(images / "backbone", 2, dropout=0.0)


def of_texts(texts, network, inputs, seen, own=None, **more):
    """The gap of texts whose features are given, from a reference of (inputs, features)."""
    words = {} if own is None else {"reference": named(own[0]), "reference_features": own[1]}
    tokens = processor.counter((texts / "backbone/tokenizer.json").read_text(encoding="utf-8"))
    words = {"reference": None, "reference_features": None, **words, "most": 1000, "level": 0.9, "tokens": tokens}
    preprocessor = Preprocessor.load(texts / "data/contract")
    return gap.measure(network, preprocessor, named(inputs), seen, **{**words, **more})


def named(inputs, groups=None):
    none = [None] * len(inputs)
    kind = "text" if isinstance(inputs[0], str) else "image"
    return Dataset(kind, list(map(str, range(len(inputs)))), [""] * len(inputs), inputs, groups or none, none)


def of_numbers(texts, network, seen, own, groups=None, **more):
    """The distance of domains between features alone; the texts are of no account."""
    sides = [
        named(["ban"] * len(values), given) for values, given in zip((seen, own), groups or (None, None), strict=True)
    ]
    tokens = processor.counter((texts / "backbone/tokenizer.json").read_text(encoding="utf-8"))
    words = {"reference": sides[1], "reference_features": own, "most": 1000, "level": 0.9, "tokens": tokens, **more}
    return gap.measure(network, Preprocessor.load(texts / "data/contract"), sides[0], seen, **words)["domain"]


def test_two_draws_of_one_distribution_are_hardly_told_apart(texts, text_network):
    found = of_numbers(texts, text_network, FIRST, SECOND)
    assert found["error"]["n"] == 200  # equally many of both sides, 400, and as sure as half of them
    assert found["error"]["low"] <= 0.5 <= found["error"]["high"]
    assert found["low"] == 0.0
    assert not found["saturated"]


def test_the_distance_is_two_times_one_less_two_errors_and_so_are_its_ends(texts, text_network):
    found = of_numbers(texts, text_network, FIRST, SECOND + 1.0)
    error = found["error"]
    assert 0.05 < error["value"] < 0.3  # 1 apart in six directions: a distance of 2.45, an error of 0.11 at best
    assert found["value"] == pytest.approx(2 * (1 - 2 * error["value"]))
    assert found["low"] == pytest.approx(2 * (1 - 2 * error["high"]))
    assert found["high"] == pytest.approx(2 * (1 - 2 * error["low"]))


def test_a_distance_that_saturates_says_so(texts, text_network):
    found = of_numbers(texts, text_network, FIRST, SECOND + 20.0)
    assert (found["value"], found["saturated"]) == (2.0, True)
    assert "by how much this number does not say" in found["meaning"]


def test_copies_in_one_group_do_not_make_domains_look_apart(texts, text_network):
    # ten copies each of a few points of one distribution: a probe that learns from some would know the others
    few = RANDOM.normal(size=(40, 30)).astype(np.float32)
    seen, own = np.repeat(few[:20], 10, axis=0), np.repeat(few[20:], 10, axis=0)
    groups = [[str(row // 10) for row in range(200)]] * 2
    together = of_numbers(texts, text_network, seen, own, groups)
    assert together["value"] < 1.0 < of_numbers(texts, text_network, seen, own)["value"]


def test_a_few_examples_are_said_to_be_too_few(texts, text_network):
    assert of_numbers(texts, text_network, FIRST, SECOND[:3]) == {"unknown": "fewer than 4 examples on one side"}


def test_at_most_so_many_examples_are_looked_at(texts, text_network):
    assert of_numbers(texts, text_network, FIRST, SECOND, most=50)["error"]["n"] == 50


def test_without_a_reference_what_needs_one_is_unknown_in_words(texts, text_network):
    found = of_texts(texts, text_network, ["ban baak"] * 8, FIRST[:8])
    assert "no sample of the backbone's own domain" in found["domain"]["unknown"]
    assert "backbones.<name>.reference" in found["reference"]["unknown"]
    assert found["text"]["reference"] == found["domain"]
    assert "value" in found["text"]["target"]["tokens_per_word"]


def test_texts_are_counted_in_tokens_a_word_unknown_pieces_and_cuts(texts, text_network):
    # `today` is one known word; 12 is 1 ##2; xyz is unknown: 4 tokens for 3 words, 1 of 4 unknown
    # forty times `today` is 42 tokens with the special ones, cut at 32, of which 30 count
    inputs = ["today 12 xyz"] * 3 + ["today " * 40]
    found = of_texts(texts, text_network, inputs, FIRST[:4])["text"]["target"]
    assert found["tokens_per_word"]["value"] == pytest.approx((3 * 4 + 40) / (3 * 3 + 40))
    assert found["unknown_pieces"]["value"] == pytest.approx(3 / (3 * 4 + 30))
    assert (found["cut"]["value"], found["cut"]["n"]) == (0.25, 4)
    assert found["cut"]["unit"] == "share of texts of more than 32 tokens"


def test_the_reference_s_texts_are_described_beside_the_model_s(texts, text_network):
    found = of_texts(texts, text_network, ["today xyz"] * 5, FIRST[:5], (["today"] * 6, SECOND[:6]))["text"]
    assert found["target"]["unknown_pieces"]["value"] == pytest.approx(0.5)
    assert found["reference"]["unknown_pieces"]["value"] == 0.0


def test_a_masked_language_loss_is_passed_on_with_its_unit_or_said_to_be_unknown(texts, text_network):
    loss = Interval(2.0, 1.5, 2.5, 90)
    said = of_texts(texts, text_network, ["today"] * 4, FIRST[:4], masked_language_loss=loss)["text"]
    assert said["masked_language_loss"] == {
        "unit": "nats a masked token",
        "value": 2.0,
        "low": 1.5,
        "high": 2.5,
        "n": 90,
    }
    silent = of_texts(texts, text_network, ["today"] * 4, FIRST[:4])["text"]
    assert silent["masked_language_loss"] == {"unknown": "the backbone brought no masked-language head"}


def test_features_of_one_distribution_are_no_further_than_the_yardstick():
    distance, yardstick = moments.feature_distance(FIRST, SECOND, draws=20, level=0.9, seed=1)
    assert distance.n == 100  # half of the smaller side
    assert distance.value < 1.5 * yardstick.value


def test_features_that_moved_are_as_far_as_the_square_of_their_move():
    # every feature 3 further: 6 times 9 is 54, and a little for the noise of 100 examples
    distance, _ = moments.feature_distance(FIRST + 3, SECOND, draws=20, level=0.9, seed=1)
    assert distance.low <= 54.0 <= distance.high + 1.0
    assert distance.value == pytest.approx(54.0, rel=0.1)


def batch_norm(images, network, inputs, **more):
    preprocessor = Preprocessor.load(images / "data/contract")
    return moments.batch_norm_divergence(network, preprocessor, inputs, draws=10, level=0.9, seed=1, **more)


def stem(network):
    return next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))


@pytest.fixture
def settled(images):
    """A network whose running statistics are those of its own training images, exactly, and those images."""
    network, inputs = Network.from_backbone(images / "backbone", 2, dropout=0.0), train(images).inputs
    preprocessor = Preprocessor.load(images / "data/contract")
    pixels = torch.from_numpy(np.stack(preprocessor.prepare(list(inputs))))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # one after the other: each changes what the next one sees
            taken = []
            hook = module.register_forward_pre_hook(lambda _, given, taken=taken: taken.append(given[0].double()))
            with torch.no_grad():
                network.features(pixel_values=pixels)
            hook.remove()
            module.running_mean.copy_(taken[0].mean(dim=(0, 2, 3)))
            module.running_var.copy_(taken[0].var(dim=(0, 2, 3), unbiased=False))
    return network, inputs


def train(folder):
    return dataset.read(folder / "data/train.parquet")


def test_images_whose_moments_are_stored_do_not_diverge(images, settled):
    found = batch_norm(images, *settled)
    assert found.mean.value == pytest.approx(0.0, abs=1e-5)
    assert len(found.layers) == sum(isinstance(module, torch.nn.BatchNorm2d) for module in settled[0].modules())


def test_divergence_is_that_of_the_formula_worked_out_by_hand(images, settled):
    # stored mean moved by one deviation and the variance four times as large, w = 4 v and d^2 = v, in every channel:
    # (v + v) / 8v + (4v + v) / 2v - 1 = 0.25 + 2.5 - 1 = 1.75
    network, inputs = settled
    module = stem(network)
    module.eps = 0.0
    with torch.no_grad():
        module.running_mean.add_(module.running_var.sqrt())
        module.running_var.mul_(4.0)
    name, value = batch_norm(images, network, inputs).layers[0]
    assert value.value == pytest.approx(1.75, rel=1e-4)
    assert network.backbone.get_submodule(name) is module


def test_a_network_is_left_in_the_mode_it_was_in_with_the_statistics_it_had(images, settled):
    network, inputs = settled
    network.train()
    before = stem(network).running_mean.clone()
    batch_norm(images, network, inputs)
    assert network.training
    assert torch.equal(stem(network).running_mean, before)
    assert not stem(network)._forward_pre_hooks


def test_a_network_without_batch_norm_has_no_divergence(texts, text_network):
    assert batch_norm(texts, text_network, ["today"] * 4) is None


def test_the_worst_layer_of_an_image_network_is_named(images, settled):
    # the last one's stored variance is off; nothing that any other sees depends on it
    network, _ = settled
    last = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)][-1]
    with torch.no_grad():
        last.running_var.mul_(100.0)
    preprocessor, learn = Preprocessor.load(images / "data/contract"), train(images)
    seen = features.compute(network, preprocessor, learn, progress="")
    found = gap.measure(network, preprocessor, learn, seen, reference=None, reference_features=None, most=40, level=0.9)
    normalised = found["image"]["batch_norm"]
    assert network.backbone.get_submodule(normalised["worst"]["layer"]) is last
    assert normalised["worst"]["value"] == max(layer["value"] for layer in normalised["layers"])
    assert found["image"]["frechet"] == found["domain"] == normalised["reference"]


def test_the_sample_beside_a_backbone_is_what_its_gap_is_measured_from(images, image_network, tmp_path):
    # the reference is the training images themselves, and one that the contract refuses
    learn = train(images)
    (tmp_path / "backbone").mkdir()
    for path in (images / "backbone").iterdir():
        (tmp_path / "backbone" / path.name).write_bytes(path.read_bytes())
    inputs = [*learn.inputs, b"no image"]
    reference.write(tmp_path / "backbone" / reference.FILE, "image", inputs, ["x"] * len(inputs))
    preprocessor = Preprocessor.load(images / "data/contract")
    seen = features.compute(image_network, preprocessor, learn, progress="")
    setting = SimpleNamespace(
        modality="image", preprocessor=preprocessor, backbone=tmp_path / "backbone", cache=tmp_path / "cache"
    )
    split = Split(learn, learn.targets(preprocessor.contract.labels), seen)
    found = gap.of_backbone(image_network, setting, split, most=1000, level=0.9)
    assert found["reference"] == len(learn)
    assert found["image"]["frechet"]["times_yardstick"] < 2
    assert found == gap.of_backbone(image_network, setting, split, most=1000, level=0.9)

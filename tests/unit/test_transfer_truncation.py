"""A backbone that ends at a middle layer, where a probe is significantly better there."""

import numpy as np
import pytest
import torch

from headstart import artifacts
from headstart.backbones import checkpoint, store
from headstart.backbones.network import Network
from headstart.params.backbones import Backbone
from headstart.transfer import planner, training, truncation
from headstart.transfer.strategies import FineTune
from tests.unit import tiny_transfer


def right(count: int, *, of: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(of) < count


def by_layer(*counts: int) -> list[tuple[str, np.ndarray]]:
    names = ["embeddings", *(f"encoder.layer.{number}" for number in range(len(counts) - 1))]
    return [(name, right(count, seed=seed)) for seed, (name, count) in enumerate(zip(names, counts, strict=True))]


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        pytest.param((200, 240, 241, 160), 2, id="the best of two middle layers"),
        pytest.param((290, 170, 165, 160), None, id="the stem alone is no network"),
        pytest.param((100, 180, 170, 165), None, id="chance may explain it"),
        pytest.param((100, 150, 200, 250), None, id="the last is best"),
        pytest.param((290, 100), None, id="one block cannot be shortened"),
    ],
)
def test_the_backbone_ends_at_the_best_middle_layer_beyond_doubt(counts, kept):
    cut = truncation.decide(by_layer(*counts))
    assert (cut and cut.kept) == kept
    if cut:
        assert (cut.of, cut.layer) == (3, "encoder.layer.1")
        assert cut.gained.value == pytest.approx(81 / 300)


def test_layers_that_are_alike_are_cut_no_more_often_than_the_level_says():
    # seven outputs of a network, each wrong on 30% of 300 examples, of which most are the same ones
    generator, cuts = np.random.default_rng(1), 0
    for _ in range(500):
        common = generator.random(300) < 0.7
        drawn = [
            (str(at), np.where(generator.random(300) < 0.3, generator.random(300) < 0.7, common)) for at in range(7)
        ]
        cuts += truncation.decide(drawn) is not None
    assert cuts / 500 <= 0.1


@pytest.mark.parametrize(("groups", "each"), [(60, 10), (30, 20)])
def test_alike_layers_are_cut_no_more_often_where_examples_come_in_groups(groups, each):
    # every layer has a gift of its own for each group, 0.7 on average; taken for single rows 15% and 32% were cut
    generator, cuts = np.random.default_rng(2), 0
    together = [str(row // each) for row in range(groups * each)]
    for _ in range(200):
        gifts = np.repeat(generator.beta(4.2, 1.8, (7, groups)), each, axis=1)
        drawn = [(str(at), one) for at, one in enumerate(generator.random(gifts.shape) < gifts)]
        cuts += truncation.decide(drawn, together) is not None
    assert cuts / 200 <= 0.1


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """The toy of texts on a stored backbone whose second block answers every text alike."""
    from transformers import AutoModel

    folder = tiny_transfer.text_model(tmp_path_factory.mktemp("spoilt") / "model")
    network = AutoModel.from_pretrained(folder / "backbone", add_pooling_layer=False)
    with torch.no_grad():
        network.encoder.layer[1].output.LayerNorm.weight.zero_()
        network.encoder.layer[1].output.LayerNorm.bias.fill_(0.5)
    network.save_pretrained(folder / "backbone")
    store.make(folder / "backbone", Backbone(modality="text", source="x", sha256={}, pretrain=None), folder / "stored")
    return folder


@pytest.mark.slow
def test_plan_and_training_end_at_the_same_layer_and_the_network_has_no_more(spoilt, tmp_path, monkeypatch):
    plan, train = tiny_transfer.sections("text", epochs=1)
    plan = plan.model_copy(update={"strategy": "linear_probe"})
    places = {"backbone": spoilt / "stored", "data": spoilt / "data", "cache": spoilt / "cache"}
    document, _ = planner.plan(plan, **places)
    assert (document["truncation"]["code"], document["truncation"]["kept"]) == ("truncated", 1)
    assert [one["layer"] for one in document["evidence"]["layers"]] == [
        "embeddings",
        "encoder.layer.0",
        "encoder.layer.1",
    ]
    assert document["evidence"]["probe"]["value"] > 0.7

    (tmp_path / "out").mkdir()
    training.train(train, plan=document, **places, out=tmp_path / "out", partial=tmp_path / "partial")
    network = Network.load(tmp_path / "out/model")
    assert network.backbone.config.num_hidden_layers == 1

    whole = plan.model_copy(update={"layers": "all"})
    document, _ = planner.plan(whole, **places)
    assert document["truncation"] == {"code": "all_asked_for"}
    assert document["evidence"]["probe"]["value"] < 0.6

    monkeypatch.setattr(truncation, "possible", lambda *_: False)
    document, _ = planner.plan(plan, **places)
    assert document["truncation"] == {"code": "impossible", "layer": "encoder.layer.0"}

    monkeypatch.undo()
    monkeypatch.setattr(truncation, "truncated", lambda backbone, *_: backbone)  # a cut network that is no better
    document, _ = planner.plan(plan, **places)
    assert (document["truncation"]["code"], document["truncation"]["layer"]) == ("no_better_on_all", "encoder.layer.0")


@pytest.mark.slow
def test_what_trains_layers_has_all_of_them_and_what_it_does_not_improve_on_is_the_short_probe(
    spoilt, tmp_path, monkeypatch
):
    plan, train = tiny_transfer.sections("text", epochs=1)
    plan = plan.model_copy(update={"good_enough": 1.0})
    places = {"backbone": spoilt / "stored", "data": spoilt / "data", "cache": spoilt / "cache"}
    blocks, own = [], FineTune.train

    def watched(self, context, *given, **options):
        blocks.append(checkpoint.pretrained(context.backbone)[0].config.num_hidden_layers)
        return own(self, context, *given, **options)

    monkeypatch.setattr(FineTune, "train", watched)
    document, _ = planner.plan(plan, **places)
    assert document["truncation"]["kept"] == 1
    assert [one["strategy"] for one in document["shortlist"]] == ["linear_probe", "fine_tune"]
    (tmp_path / "out").mkdir()
    training.train(train, plan=document, **places, out=tmp_path / "out", partial=tmp_path / "partial")
    history = artifacts.read_json(tmp_path / "out/history.json")
    assert blocks == [2] and history["kept"] == "linear_probe"
    assert Network.load(tmp_path / "out/model").backbone.config.num_hidden_layers == 1


def test_a_truncated_backbone_is_a_stored_one_with_all_that_stood_beside_the_weights(spoilt, tmp_path):
    home = truncation.truncated(spoilt / "stored", 1, tmp_path)
    before, after = (artifacts.read_json(folder / "backbone.json") for folder in (spoilt / "stored", home))
    assert (before["layers"], after["layers"]) == (3, 2)
    assert set(after["files"]) == set(before["files"])
    assert after["files"]["tokenizer.json"] == before["files"]["tokenizer.json"]
    assert after["files"]["model.safetensors"] != before["files"]["model.safetensors"]
    changed = home.stat().st_mtime_ns
    assert truncation.truncated(spoilt / "stored", 1, tmp_path) == home
    assert home.stat().st_mtime_ns == changed


def test_a_truncated_backbone_that_could_not_be_made_is_not_there(spoilt, tmp_path, monkeypatch):
    def half(backbone, count, out):
        (out / "config.json").write_text("{")
        raise MemoryError

    monkeypatch.setattr(truncation.store, "shortened", half)
    with pytest.raises(MemoryError):
        truncation.truncated(spoilt / "stored", 1, tmp_path)
    assert list((tmp_path / "truncated").iterdir()) == []

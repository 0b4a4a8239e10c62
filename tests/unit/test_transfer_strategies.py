"""Every way to transfer, through the one door: plain networks come out, and what cannot be tried says why."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headstart import artifacts
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.transfer import planner, strategies
from headstart.transfer.adapt import adaptation
from headstart.transfer.evidence import ground
from headstart.transfer.setting import Setting
from tests.unit import adapt_toys, tiny_transfer

pytestmark = pytest.mark.slow


def made(folder, modality: str):
    """Setting and ground of a toy model."""
    params = tiny_transfer.sections(modality, epochs=1)[0]
    places = {"backbone": folder / "backbone", "data": folder / "data", "cache": folder / "cache"}
    setting = Setting.of(params, **places, level=0.9, place=torch.device("cpu"))
    return setting, ground(params, setting, folder / "data")[0]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tiny_transfer.text_model(tmp_path_factory.mktemp("text"))
    return made(folder, "text")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tiny_transfer.image_model(tmp_path_factory.mktemp("image"))
    return made(folder, "image")


def test_they_stand_cheapest_first_and_the_probe_is_first():
    assert list(strategies.WAYS) == ["linear_probe", "lora", "fine_tune", "adapt_then_fine_tune", "scratch"]


def trained(name, setting, found):
    return strategies.train(name, setting, found.learn, found.head, validation=None, progress=name)


@pytest.mark.parametrize("name", ["linear_probe", "lora", "fine_tune", "scratch"])
def test_each_gives_a_plain_network_that_can_be_saved_and_read_back(tmp_path, text, name):
    setting, found = text
    network, _ = trained(name, setting, found)
    network.save(tmp_path / "model")
    again = type(network).load(tmp_path / "model")
    inputs = setting.shown(found.validation, augmented=False).__getitems__([0, 1, 2])
    inputs.pop("labels")
    with torch.inference_mode():
        assert torch.allclose(network(**inputs)["logits"], again(**inputs)["logits"], atol=1e-5)


def test_low_rank_updates_move_the_linear_layers_and_leave_no_trace_of_themselves(text):
    setting, found = text
    probe, tuned = trained("linear_probe", setting, found)[0], trained("lora", setting, found)[0]
    before, after = probe.state_dict(), tuned.state_dict()
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("query.weight" in name for name in moved)
    assert not any("embeddings" in name or "LayerNorm" in name for name in moved)


def test_low_rank_updates_repeat_whatever_ran_before(text):
    setting, found = text
    first = trained("lora", setting, found)[0].state_dict()
    torch.rand(100)
    second = trained("lora", setting, found)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_convolutional_network_takes_no_low_rank_updates_and_says_why(image):
    assert strategies.WAYS["lora"].obstacle(image[0]) == "resnet has no linear layers below its head."


def test_adapting_needs_unlabelled_examples_and_names_the_key(text):
    assert "data.unlabelled" in strategies.WAYS["adapt_then_fine_tune"].obstacle(text[0])


def test_an_adapted_backbone_is_made_once_and_found_again(tmp_path, image):
    setting, found = image
    described = {"format": 1, "shape": [1, 12, 12], "files": {"config.json": "", "model.safetensors": ""}}
    artifacts.write_json(setting.backbone / "backbone.json", described)
    pool = tmp_path / "unlabelled.parquet"
    many = found.learn.examples.select([*range(len(found.learn))] * 4)
    dataset.write(pool, dataclasses.replace(many, labels=[""] * len(many)))
    own = dataclasses.replace(setting, pool=pool, cache=tmp_path / "cache")
    assert strategies.WAYS["adapt_then_fine_tune"].obstacle(own) is None
    network, history = trained("adapt_then_fine_tune", own, found)
    assert any("BatchNorms were taken anew" in note for note in history.notes)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    again, _ = trained("adapt_then_fine_tune", own, found)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert before == after
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_from_scratch_nothing_of_the_backbone_is_left(text):
    setting, found = text
    probe, scratch = trained("linear_probe", setting, found)[0], trained("scratch", setting, found)[0]
    name = "backbone.encoder.layer.0.attention.self.query.weight"
    a, b = (network.state_dict()[name].numpy().ravel() for network in (probe, scratch))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


def test_what_adapting_reads_takes_nothing_from_the_race(tmp_path):
    """Counted among the rungs' work, a pool ended races after their first rung, before what learns could catch up."""
    setting, folder = with_pool(tmp_path), tmp_path
    params = tiny_transfer.sections("text", epochs=1)[0]
    entrants = ["linear_probe", "fine_tune", "adapt_then_fine_tune"]

    def planned(budget: int, most: int = 600_000):
        race = params.race.model_copy(update={"budget": budget, "doubt": 0.0001, "candidates": entrants})
        changes = {"race": race, "adapt": setting.adapt}
        changes["choice"] = params.choice.model_copy(update={"budget": most})
        places = {"backbone": folder / "backbone", "data": folder / "data", "cache": folder / "cache"}
        return planner.plan(params.model_copy(update=changes), **places)

    none, seconds = planned(1)
    assert none["race"]["legs"] == [] and "race/adapting" not in seconds and none["adapted"] is None
    assert none["work"]["adapting"] == 2000 and not (folder / "cache/adapted").exists()

    first, seconds = planned(100_000)
    ran = [(leg["strategy"], leg["work"]) for leg in first["race"]["legs"]]
    assert [name for name, _ in ran] == entrants * 2
    assert [work for name, work in ran if name == "fine_tune"] == [work for name, work in ran if name == entrants[-1]]
    of, read = first["work"]["of"], first["work"]["adapting"]
    assert of["adapt_then_fine_tune"] == of["fine_tune"] and 1900 < read <= 2000
    assert f"The backbone read {read:,} tokens of 400 texts without labels" in first["adapted"]

    again, later = planned(first["race"]["spent"], of["fine_tune"])  # both budgets hold the rows, and no more
    assert again["race"]["legs"] == first["race"]["legs"]
    assert later["race/adapting"] == seconds["race/adapting"] > 0  # what it took when it was done


def test_images_pass_once_to_adapt_and_are_counted_in_pixels(tmp_path):
    setting = tiny_transfer.setting(tiny_transfer.image_model(tmp_path), "image")
    alone = [None] * 7
    pool = Dataset("image", list(map(str, range(7))), [""] * 7, [b"."] * 7, alone, alone)
    dataset.write(tmp_path / "pool.parquet", pool)
    known = SimpleNamespace(once=60 * 144, examples={"train": 60})
    adapted = adaptation.Adapted(tmp_path, "told", True, 5, 1.0)
    assert planner.adapting(setting, known, None) == 0
    pooled = dataclasses.replace(setting, pool=tmp_path / "pool.parquet")
    assert [planner.adapting(pooled, known, made) for made in (None, adapted)] == [7 * 144, 5 * 144]


def with_pool(folder, rows=400) -> Setting:
    """The toy text model with a pool of unlabelled texts, of which 2,000 tokens are read."""
    tiny_transfer.text_model(folder)
    described = {"format": 1, "shape": None, "files": {"config.json": "", "model.safetensors": ""}}
    artifacts.write_json(folder / "backbone/backbone.json", described)
    texts, alone = adapt_toys.topics(rows), [None] * rows
    many = Dataset("text", [f"pool-{row}" for row in range(rows)], [""] * rows, texts, alone, alone)
    dataset.write(folder / "data/unlabelled.parquet", many)
    setting = tiny_transfer.setting(folder, epochs=1)
    return dataclasses.replace(setting, adapt=setting.adapt.model_copy(update={"budget": 2000}))

"""Every way to transfer, through the one door: plain networks come out, and what cannot be tried says why."""

import dataclasses

import numpy as np
import pytest
import torch

from headstart import artifacts
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.transfer import evidence
from headstart.transfer.context import TrainingContext
from headstart.transfer.strategies import STRATEGIES
from tests.unit import adapt_toys, tiny_transfer

pytestmark = pytest.mark.slow


def made(folder, modality: str):
    """Context of a toy model, and its train with the probe."""
    context = tiny_transfer.context(folder, modality, epochs=1)
    return context, evidence.probed(context, folder / "data")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tiny_transfer.text_model(tmp_path_factory.mktemp("text"))
    return made(folder, "text")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tiny_transfer.image_model(tmp_path_factory.mktemp("image"))
    return made(folder, "image")


def trained(name, context, found):
    return STRATEGIES[name].train(context, found.learn, found.head, validation=None, progress=name)


@pytest.mark.parametrize("name", ["linear_probe", "lora", "fine_tune", "scratch"])
def test_each_gives_a_plain_network_that_can_be_saved_and_read_back(tmp_path, text, name):
    context, found = text
    network, _ = trained(name, context, found)
    network.save(tmp_path / "model")
    again = type(network).load(tmp_path / "model")
    inputs = context.shown(found.learn, augmented=False).__getitems__([0, 1, 2])
    inputs.pop("labels")
    with torch.inference_mode():
        assert torch.allclose(network(**inputs)["logits"], again(**inputs)["logits"], atol=1e-5)


def test_low_rank_updates_move_the_linear_layers_and_leave_no_trace_of_themselves(text):
    context, found = text
    probe, tuned = trained("linear_probe", context, found)[0], trained("lora", context, found)[0]
    before, after = probe.state_dict(), tuned.state_dict()
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("query.weight" in name for name in moved)
    assert not any("embeddings" in name or "LayerNorm" in name for name in moved)


def test_low_rank_updates_repeat_whatever_ran_before(text):
    context, found = text
    first = trained("lora", context, found)[0].state_dict()
    torch.rand(100)
    second = trained("lora", context, found)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_convolutional_network_takes_no_low_rank_updates_and_says_why(image):
    assert STRATEGIES["lora"].obstacle(image[0]) == {"code": "no_linear_layers", "kind": "resnet"}


def test_adapting_needs_unlabelled_examples(text):
    assert STRATEGIES["adapt_then_fine_tune"].obstacle(text[0]) == {"code": "no_unlabelled_examples"}


def test_an_adapted_backbone_is_made_once_and_found_again(tmp_path, image):
    context, found = image
    described = {"format": 1, "shape": [1, 12, 12], "files": {"config.json": "", "model.safetensors": ""}}
    artifacts.write_json(context.backbone / "backbone.json", described)
    unlabelled = tmp_path / "unlabelled.parquet"
    many = found.learn.examples.select([*range(len(found.learn))] * 4)
    dataset.write(unlabelled, dataclasses.replace(many, labels=[""] * len(many)))
    own = dataclasses.replace(context, unlabelled=unlabelled, cache=tmp_path / "cache")
    assert STRATEGIES["adapt_then_fine_tune"].obstacle(own) is None
    network, history = trained("adapt_then_fine_tune", own, found)
    assert [note["code"] for note in history.notes] == ["adapted_to_images"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    again, _ = trained("adapt_then_fine_tune", own, found)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert before == after
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_from_scratch_nothing_of_the_backbone_is_left(text):
    context, found = text
    probe, scratch = trained("linear_probe", context, found)[0], trained("scratch", context, found)[0]
    name = "backbone.encoder.layer.0.attention.self.query.weight"
    a, b = (network.state_dict()[name].numpy().ravel() for network in (probe, scratch))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


def test_work_counts_a_backward_pass_as_two_forward_passes(text):
    # 3 epochs of 1,000 tokens: 3,000 forward and 6,000 backward; low-rank updates have no gradients of frozen weights
    context, _ = text
    context = context.with_fine_tune(epochs=3)
    work = {name: one.work(context, once=1000, rows=10_000) for name, one in STRATEGIES.items()}
    assert work["linear_probe"] == 1000
    assert work["fine_tune"] == work["adapt_then_fine_tune"] == 9000  # there is nothing to adapt to
    assert work["lora"] == 2000 * context.lora.epochs
    assert work["scratch"] == 3000 * context.scratch.epochs


def test_images_pass_once_to_adapt_and_texts_as_often_as_the_budget_holds(tmp_path, text, image):
    alone = [None] * 7
    rows = {"text": "x", "image": b"."}
    for modality, (context, _) in {"text": text, "image": image}.items():
        unlabelled = tmp_path / f"{modality}.parquet"
        inputs = [rows[modality]] * 7
        dataset.write(unlabelled, Dataset(modality, list(map(str, range(7))), [""] * 7, inputs, alone, alone))
        own = dataclasses.replace(context, unlabelled=unlabelled)
        more = [
            STRATEGIES["adapt_then_fine_tune"].work(each, once=1000, rows=10)
            - STRATEGIES["fine_tune"].work(each, once=1000, rows=10)
            for each in (own, dataclasses.replace(own, adapt=own.adapt.model_copy(update={"budget": 50})))
        ]
        # 7 rows of 100 each; texts pass `adapt.epochs` times, forward and backward, within the budget
        assert more == ([700, 700] if modality == "image" else [3 * 700 * own.adapt.epochs, 3 * 50])


def test_memory_of_training_all_layers_is_four_times_that_of_the_weights(text):
    context, _ = text
    network = context.frozen()
    weights = 4 * sum(value.numel() for value in network.parameters())
    memory = {name: one.memory(context, network) for name, one in STRATEGIES.items()}
    assert (memory["linear_probe"], memory["fine_tune"]) == (weights, 4 * weights)
    assert weights < memory["lora"] < 4 * weights


def with_unlabelled(folder, rows=400) -> TrainingContext:
    """The toy text model with unlabelled texts, of which 2,000 tokens are read."""
    tiny_transfer.text_model(folder)
    described = {"format": 1, "shape": None, "files": {"config.json": "", "model.safetensors": ""}}
    artifacts.write_json(folder / "backbone/backbone.json", described)
    texts, alone = adapt_toys.topics(rows), [None] * rows
    many = Dataset("text", [f"more-{row}" for row in range(rows)], [""] * rows, texts, alone, alone)
    dataset.write(folder / "data/unlabelled.parquet", many)
    context = tiny_transfer.context(folder, epochs=1)
    return dataclasses.replace(context, adapt=context.adapt.model_copy(update={"budget": 2000}))

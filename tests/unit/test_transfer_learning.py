"""The smaller parts of training: objective, pull, enough steps, and batches that do not fit into memory."""

import numpy as np
import pytest
import torch

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.transfer.context import Validation
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import loop, memory, objective
from headstart.transfer.finetune.objective import Pull
from tests.unit import tiny_transfer
from tests.unit.test_transfer_training import train

pytestmark = pytest.mark.slow


def test_balanced_weights_make_every_class_count_alike():
    # 6 of class 0, 2 of class 1, none of class 2: 8 / (2 * 6), 8 / (2 * 2), 1
    weights = objective.class_weights(np.array([0] * 6 + [1] * 2), 3)
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 4, 1.0])


def test_pull_moves_weights_towards_their_start_by_rate_times_strength_and_spares_the_head():
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    network = Two()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    pull = Pull(network, optimizer, strength=2.0)
    start, head = network.backbone.weight.item(), network.head.weight.item()
    with torch.no_grad():
        network.backbone.weight += 1.0
        network.head.weight += 1.0
    pull.on_optimizer_step(None, None, None)
    assert network.backbone.weight.item() == pytest.approx(start + 0.8)  # a fifth of the way back
    assert network.head.weight.item() == pytest.approx(head + 1.0)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        pytest.param(MemoryError(), True, id="of the machine"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True, id="torch on a CPU"),
        pytest.param(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True, id="of a GPU"),
        pytest.param(RuntimeError("size mismatch"), False, id="another error"),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, short):
    assert memory.ran_out(error) is short


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_each_step_still_learns_from_all_of_it(
    tmp_path, monkeypatch
):
    folder = tiny_transfer.text_model(tmp_path / "model")
    config = artifacts.read_json(folder / "backbone/config.json")  # dropout inside it would draw other numbers
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    artifacts.write_json(folder / "backbone/config.json", {**config, **still})
    whole = train(folder, tmp_path / "whole", "text", epochs=2, dropout=0.0)
    forward = objective.Objective.forward

    def short(self, labels, **inputs):
        if self.training and len(labels) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, labels, **inputs)

    monkeypatch.setattr(objective.Objective, "forward", short)
    pieces = train(folder, tmp_path / "pieces", "text", epochs=2, dropout=0.0)
    assert pieces["notes"] == [{"code": "batch_in_pieces", "batch": 16, "pieces": 4}]
    assert len(pieces["steps"]) == len(whole["steps"])
    losses = [[step["loss"] for step in history["steps"]] for history in (whole, pieces)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_batch_is_cut_into_equal_pieces_whatever_its_size():
    assert [memory.more(16, pieces) for pieces in (1, 2, 4, 8)] == [2, 4, 8, 16]
    assert [memory.more(24, pieces) for pieces in (1, 2, 4, 8, 12)] == [2, 4, 8, 24, 24]
    assert [memory.more(15, pieces) for pieces in (1, 3, 5)] == [3, 15, 15]
    assert memory.more(7, 1) == 7


@pytest.mark.slow
def test_memory_that_is_short_even_for_one_example_is_an_error(tmp_path, monkeypatch):
    folder = tiny_transfer.text_model(tmp_path / "model")

    def short(self, labels, **inputs):
        raise MemoryError

    monkeypatch.setattr(loop.Objective, "forward", short)
    with pytest.raises(MemoryError):
        train(folder, tmp_path / "out", "text", epochs=1, batch_size=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"class_weights": "balanced", "least_steps": 30}, id="balanced, several passes an epoch"),
        pytest.param({"pull": 1.0, "stop_on": "macro_f1"}, id="pull"),
    ],
)
def test_every_setting_trains_and_repeats_to_the_byte(tmp_path, changes):
    folder = tiny_transfer.text_model(tmp_path / "model")
    changes = {"learning_rate": 1e-3, "epochs": 2, **changes}
    first = train(folder, tmp_path / "first", "text", **changes)
    assert first == train(folder, tmp_path / "second", "text", **changes)
    assert first["validation"]["accuracy"]["value"] is not None


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        pytest.param({}, False, id="rows"),
        pytest.param({"class_weights": "balanced"}, True, id="balanced weights"),
        pytest.param({"stop_on": "macro_f1"}, True, id="macro-F1"),
    ],
)
def test_the_loss_that_stops_training_counts_classes_alike_where_that_is_asked(tmp_path, changes, alike):
    folder = tiny_transfer.text_model(tmp_path / "model")
    setting = tiny_transfer.context(folder, epochs=1, learning_rate=1e-3, **changes)
    network = Network.from_backbone(setting.backbone, setting.classes, dropout=0.0)
    rows = dataset.read(folder / "data/train.parquet")
    targets = np.array([0] * (len(rows.ids) - 8) + [1] * 5 + [2] * 3)  # so that the two losses lie apart
    shown = Examples(setting.preprocessor, rows, targets)
    validation = Validation(shown, tmp_path / "partial")
    history = loop.run(network, shown, setting.fine_tune, validation=validation, progress="toy")

    batch = shown.__getitems__(list(range(len(targets))), augmented=False)
    del batch["labels"]
    with torch.no_grad():
        logits = network.eval()(**batch)["logits"].double()
    share = torch.tensor([1 / (3 * (targets == label).sum()) if alike else 1 / len(targets) for label in targets])
    least = min(
        float(
            torch.nn.functional.cross_entropy(logits / heat, torch.tensor(targets), reduction="none") @ share.double()
        )
        for heat in np.exp(np.linspace(-4, 4, 4001))
    )
    assert history.epochs[0]["validation/loss"] == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize(
    ("examples", "least_steps", "passes"),
    [
        # 3 epochs in batches of 16, so 34 steps an epoch at least where 100 are asked for
        pytest.param(8, 100, 67, id="8 examples: 66 passes are 528, 33 batches; 67 are 536, 34 batches"),
        pytest.param(300, 100, 2, id="300 examples: one pass is 19 batches, two are 38"),
        pytest.param(530, 100, 1, id="530 examples: one pass is 34 batches"),
        pytest.param(8, 1, 1, id="nothing asked for"),
    ],
)
def test_an_epoch_passes_few_examples_as_often_as_enough_steps_take(examples, least_steps, passes):
    params = tiny_transfer.sections("text", epochs=3, batch_size=16, least_steps=least_steps)[1].fine_tune
    assert params.passes(examples) == passes


@pytest.mark.slow
def test_epochs_of_several_passes_are_evaluated_once_each(tmp_path):
    folder = tiny_transfer.text_model(tmp_path / "model")
    history = train(folder, tmp_path / "out", "text", epochs=2, least_steps=30, learning_rate=1e-3)
    assert len(history["steps"]) == 2 * 18  # 4 passes of 72 examples, 288, in batches of 16
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2]
    assert len(history["checks"]) == 6

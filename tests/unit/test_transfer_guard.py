"""The guard: what it calls diverging, and that it stops the classic incident within an epoch."""

import numpy as np
import pytest

from headstart.statistics import paired
from headstart.transfer.finetune import guard, loop
from tests.unit import tiny_transfer
from tests.unit.test_transfer_training import train


def check(accuracy: float, fixed: int, regressed: int) -> dict:
    return {"step": 9, "accuracy": accuracy, "fixed": fixed, "regressed": regressed}


@pytest.mark.parametrize(
    ("found", "diverges"),
    [
        pytest.param(check(0.15, 2, 72), True, id="from 0.85 to 0.15"),
        pytest.param(check(0.85, 9, 9), False, id="as good as before"),
        pytest.param(check(0.95, 12, 2), False, id="better"),
        pytest.param(check(0.80, 5, 10), False, id="a dip that chance explains"),
        pytest.param(check(0.80, 20, 25), False, id="much changed, little lost"),
    ],
)
def test_diverging_is_a_large_loss_that_chance_does_not_explain(found, diverges):
    reason = guard.diverging(found, 0.85, 100, 1e-4)
    assert (reason is not None) is diverges
    if reason:
        assert reason == {
            "code": "diverging",
            "examples": 100,
            "start": 0.85,
            "step": 9,
            "accuracy": 0.15,
            "fixed": 2,
            "regressed": 72,
        }


def test_a_run_that_only_jitters_is_stopped_less_often_than_alpha_says(monkeypatch):
    monkeypatch.setattr(guard, "DROP", 0.0)
    # answers change at random with no loss on average; 30 checks a run, alpha 0.05 a run
    generator, stopped = np.random.default_rng(1), 0
    for _ in range(200):
        for _ in range(30):
            changed = generator.binomial(128, 0.2)
            fixed = generator.binomial(changed, 0.5)
            found = check(0.85 + (2 * fixed - changed) / 128, fixed, changed - fixed)
            if guard.diverging(found, 0.85, 128, 0.05 / 30):
                stopped += 1
                break
    assert stopped / 200 <= 0.05
    assert paired.mcnemar(0, 20) < 0.05 / 30  # it has the power to stop at all


@pytest.mark.slow
def test_all_layers_at_a_heads_rate_are_stopped_within_an_epoch_and_retried_at_a_lower_rate(tmp_path):
    folder = tiny_transfer.text_model(tmp_path / "model", rows=480)
    wild = {"epochs": 6, "learning_rate": 0.1, "head_learning_rate": 0.1, "layer_decay": 1.0}
    history = train(folder, tmp_path / "out", "text", **wild)
    (given_up,) = history["attempts"]
    assert given_up["step"] <= 18  # 288 training examples in batches of 16: one epoch
    assert given_up["reason"]["code"] == "diverging" and given_up["reason"]["step"] == given_up["step"]
    assert max(step["learning_rate"] for step in history["steps"]) <= 0.1 * loop.RETRY_SHARE["text"] + 1e-9
    assert history["kept"] == "linear_probe" or history["validation"]["loss"] <= history["start_loss"]


@pytest.mark.slow
def test_a_sound_run_is_left_alone_and_its_checks_are_on_record(tmp_path):
    folder = tiny_transfer.text_model(tmp_path / "model")
    history = train(folder, tmp_path / "out", "text", epochs=2, learning_rate=1e-3)
    assert history["attempts"] == []
    assert [one["step"] for one in history["checks"]] == [2, 4, 6, 8, 10]  # 5 steps an epoch, three checks at most
    assert all(set(one["gradient_norms"]) == {g["name"] for g in history["rates"]} for one in history["checks"])

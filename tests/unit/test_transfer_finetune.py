"""The history of fine-tuning, on toys; the log of `Trainer` is read here as it is written."""

import math

import pytest

from headstart.transfer.finetune import checkpoints, history
from tests.unit import tiny_transfer


def log(*validation: float, steps: int = 2) -> list[dict]:
    """What `Trainer` logs: `steps` steps an epoch, then its validation."""
    entries = []
    for epoch, loss in enumerate(validation):
        for step in range(1, steps + 1):
            place = {"epoch": epoch + step / steps, "step": epoch * steps + step}
            entries.append({"loss": 1.0 / (epoch + step), "grad_norm": 2.0, "learning_rate": 0.1, **place})
        entries.append(
            {"eval_nll": loss, "eval_accuracy": 0.5, "eval_macro_f1": 0.4, "eval_loss": 9.0, "epoch": epoch + 1.0}
        )
    return entries


def params(**changes: object):
    return tiny_transfer.sections("text", **changes)[1].fine_tune


@pytest.mark.parametrize(
    ("losses", "best", "finished"),
    [
        pytest.param([], None, False, id="nothing yet"),
        pytest.param([0.9, 0.8], 2, False, id="still better"),
        pytest.param([0.9, 0.8, 0.8], 2, False, id="no better once"),
        pytest.param([0.9, 0.8, 0.8, 0.9], 2, True, id="no better for as long as patience lasts"),
        pytest.param([0.9, 0.8, 0.7, 0.6, 0.5], 5, True, id="all epochs done"),
        pytest.param([0.9, math.nan], 1, True, id="not a number"),
        pytest.param([math.inf], None, True, id="never a number"),
    ],
)
def test_when_to_stop_and_what_to_keep_follow_from_the_log_alone(losses, best, finished):
    assert history.best(log(*losses), params(epochs=5, patience=2)) == best
    assert history.finished(log(*losses), params(epochs=5, patience=2)) is finished


def test_a_training_loss_that_is_not_a_number_ends_training():
    entries = log(0.9, 0.8)
    entries[-2]["loss"] = math.nan
    assert history.finished(entries, params(epochs=5, patience=3))


def test_a_run_that_the_guard_ended_is_not_gone_on_with():
    assert history.finished(
        [*log(0.9), {history.STOPPED: {"step": 3, "reason": {"code": "diverging"}}}], params(epochs=5)
    )


def test_the_history_has_a_mean_loss_for_each_epoch_and_null_where_a_number_is_none():
    entries = log(0.9, math.nan)
    scores = {"validation/accuracy": 0.5, "validation/macro_f1": 0.4}
    assert history.epochs(entries) == [
        {"epoch": 1, "loss": pytest.approx(0.75), "validation/loss": 0.9, **scores},
        {"epoch": 2, "loss": pytest.approx((1 / 2 + 1 / 3) / 2), "validation/loss": None, **scores},
    ]
    assert history.steps(entries)[0] == {
        "step": 1,
        "epoch": 0.5,
        "loss": 1.0,
        "gradient_norm": 2.0,
        "learning_rate": 0.1,
    }


def test_a_half_written_checkpoint_is_removed_and_the_newest_whole_one_kept(tmp_path):
    for step in (9, 18, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 100:
            (tmp_path / f"checkpoint-{step}" / checkpoints.DONE).touch()
    assert checkpoints.latest(tmp_path) == tmp_path / "checkpoint-18"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-18"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.latest(tmp_path) is None

"""`training.train` through its door: what it writes, that it repeats, and that being killed changes nothing."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headstart import progress
from headstart.backbones.network import Network
from headstart.determinism import file_digest
from headstart.transfer import training
from tests.unit import tiny_transfer
from tests.unit.forked import killed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

BOTH = ("linear_probe", "fine_tune")


def train_until(
    kill_after: int, modality: str, folder: Path, out: Path, strategies: Sequence[str], changes: Any
) -> None:
    """Train, and end by kill -9 when the n-th checkpoint lies there and is about to be marked whole."""
    from headstart.transfer.finetune import loop

    written, left = loop.artifacts.write_text, kill_after

    def die(path: Path, text: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        written(path, text)

    loop.artifacts.write_text = die
    trained(folder, out, modality, *strategies, **changes)


def hashes(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): file_digest(path) for path in files}


def train(folder: Path, out: Path, modality: str, *, strategy: str = "fine_tune", **changes: object) -> dict:
    """Train the probe and a strategy here; the entry of that strategy, its training beside it, and what was kept."""
    history = trained(folder, out, modality, *dict.fromkeys(("linear_probe", strategy)), **changes)
    entry = next(one for one in history["candidates"] if one["strategy"] == strategy)
    return {**history, **entry, **(entry["training"] or {})}


def trained(folder: Path, out: Path, modality: str, *strategies: str, **changes: object) -> dict:
    """Train these strategies here and answer with the history."""
    out.mkdir(exist_ok=True)
    training.train(
        tiny_transfer.sections(modality, **changes)[1],
        plan=tiny_transfer.plan_document(*strategies),
        backbone=folder / "backbone",
        data=folder / "data",
        out=out,
        partial=out.with_name(f"{out.name}-partial"),
        cache=folder / "cache",
    )
    return json.loads((out / "history.json").read_text())


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny_transfer.text_model(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return tiny_transfer.image_model(tmp_path_factory.mktemp("image"))


@pytest.mark.parametrize(
    ("modality", "changes"),
    [
        pytest.param("text", {"epochs": 3, "precision": "bfloat16"}, id="text, length-grouped, dropout, bfloat16"),
        pytest.param("image", {"epochs": 3, "dropout": 0.2, "least_steps": 24}, id="images, several passes an epoch"),
    ],
)
def test_a_run_killed_twice_ends_in_the_bytes_of_one_never_stopped(tmp_path, request, modality, changes):
    folder = request.getfixturevalue(modality)
    changes |= {"batch_size": 16, "learning_rate": 1e-3}
    history = train(folder, tmp_path / "whole", modality, **changes)
    assert len(history["epochs"]) == 3
    for kill_after in (1, 2):  # nothing whole yet; then in the middle of the run
        killed(train_until, kill_after, modality, folder, tmp_path / "broken", BOTH, changes)
        assert not (tmp_path / "broken/history.json").exists()
    train(folder, tmp_path / "broken", modality, **changes)
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "broken")
    assert {"history.json", "screen.json", "model/network.json", "model/head.safetensors"} <= set(
        hashes(tmp_path / "whole")
    )


def test_a_run_killed_while_a_candidate_is_mitigated_ends_in_the_same_bytes(tmp_path):
    folder = tiny_transfer.text_model(tmp_path / "model")
    tiny_transfer.write_reference(folder)
    changes = {"forget": 0.0, "epochs": 2, "learning_rate": 2e-2}
    history = trained(folder, tmp_path / "whole", "text", "fine_tune", **changes)
    (entry,) = history["candidates"]
    assert entry["mitigation"]["points"][-1]["name"] == "pull" and entry["mitigation"]["code"] == "mitigated"
    assert entry["validation"]["accuracy"]["value"] < entry["before_mitigation"]["accuracy"]["value"]
    # texts written: two checkpoints, the finished candidate, and two checkpoints with each step pulled back
    killed(train_until, 5, "text", folder, tmp_path / "broken", ["fine_tune"], changes)
    assert (tmp_path / "broken-partial/fine_tune/pull/attempt-1").is_dir()
    trained(folder, tmp_path / "broken", "text", "fine_tune", **changes)
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "broken")


def test_what_was_trained_is_read_back_and_the_documents_hold_together(tmp_path, text):
    history = train(text, tmp_path / "out", "text", epochs=3, learning_rate=1e-3)
    assert len(history["steps"]) == 3 * 5  # 72 examples in batches of 16
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2, 3]
    assert [group["name"] for group in history["rates"]] == [
        "embeddings",
        "encoder.layer.0",
        "encoder.layer.1",
        "head",
    ]
    losses = [entry["validation/loss"] for entry in history["epochs"]]
    assert history["best_epoch"] == losses.index(min(losses)) + 1
    screen = json.loads((tmp_path / "out/screen.json").read_text())
    assert {finding["check"] for finding in screen["findings"]} == {"nonfinite", "diverged", "above_majority"}
    assert Network.load(tmp_path / "out/model").classes == 3


def test_the_weights_of_the_best_epoch_are_kept_and_not_the_last(tmp_path, text):
    # a rate this high worsens validation after its best epoch; what is kept must answer as the best epoch did
    history = train(text, tmp_path / "out", "text", epochs=6, learning_rate=8e-3, layer_decay=1.0, patience=6)
    loss, epochs = history["validation"]["loss"], history["epochs"]
    assert loss == pytest.approx(epochs[history["best_epoch"] - 1]["validation/loss"], rel=1e-3)
    assert loss < max(entry["validation/loss"] for entry in epochs)


def test_a_fine_tune_that_is_no_better_leaves_the_probe_as_it_is_alone(tmp_path, text):
    trained(text, tmp_path / "probe", "text", "linear_probe")
    both = train(text, tmp_path / "both", "text", epochs=1, learning_rate=1e-12, head_learning_rate=1e-12)
    assert (both["kept"], both["reason"]) == ("linear_probe", {"code": "lower_loss", "against": "fine_tune"})
    models = [
        {k: v for k, v in hashes(tmp_path / name).items() if k.startswith("model/")} for name in ("probe", "both")
    ]
    assert models[0] == models[1]


def test_where_one_strategy_is_asked_for_nothing_else_is_trained_or_kept(tmp_path, text):
    history = trained(text, tmp_path / "out", "text", "fine_tune", epochs=1, learning_rate=1e-12)
    assert [one["strategy"] for one in history["candidates"]] == ["fine_tune"]
    assert (history["kept"], history["reason"]["code"]) == ("fine_tune", "only_candidate")


def test_losses_that_are_not_finite_keep_the_probe_and_refuse_a_network_that_was_asked_for(tmp_path, text):
    wild = {"epochs": 3, "learning_rate": 1e30, "head_learning_rate": 1e30}
    history = train(text, tmp_path / "out", "text", **wild)
    assert (history["kept"], history["reason"]["code"]) == ("linear_probe", "others_failed")
    assert history["outcome"] == "nonfinite"
    assert json.loads((tmp_path / "out/screen.json").read_text())["verdict"] == "pass"
    trained(text, tmp_path / "forced", "text", "fine_tune", **wild)
    screen = json.loads((tmp_path / "forced/screen.json").read_text())
    assert {one["check"]: one["verdict"] for one in screen["findings"]}["nonfinite"] == "fail"


def test_a_candidate_that_was_finished_before_a_kill_is_not_trained_again(tmp_path, text, monkeypatch):
    names, partial = ("linear_probe", "fine_tune", "scratch"), tmp_path / "out-partial"
    whole = trained(text, tmp_path / "whole", "text", *names, epochs=1)
    trained(text, tmp_path / "out", "text", *names[:2], epochs=1)
    asked = []

    def watched(name, own):
        def train(*given, **options):
            asked.append(name)
            return own(*given, **options)

        return train

    for name, strategy in training.STRATEGIES.items():
        monkeypatch.setattr(type(strategy), "train", watched(name, type(strategy).train))
    again = trained(text, tmp_path / "out", "text", *names, epochs=1)
    assert asked == ["scratch"]
    assert again == whole
    assert (partial / "fine_tune/candidate.json").is_file()
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "out")


def test_a_loss_that_is_not_a_number_is_retried_at_a_lower_rate_and_harms_nothing_kept(tmp_path, text, monkeypatch):
    from headstart.transfer.finetune.objective import Objective

    plain, passes = Objective.forward, {"training": 0}

    def breaks(self, labels, **inputs):
        result = plain(self, labels, **inputs)
        passes["training"] += self.training
        if self.training and passes["training"] in broken:
            result["loss"] = result["loss"] * float("nan")
        return result

    monkeypatch.setattr(Objective, "forward", breaks)
    broken = {2}  # before an epoch was good
    history = train(text, tmp_path / "early", "text", epochs=6, learning_rate=1e-3)
    (given_up,) = history["attempts"]
    assert given_up["step"] == 2
    assert given_up["reason"] == {"code": "loss_not_finite", "of": "training", "step": 2}
    assert len(history["epochs"]) > 1 and history["steps"][0]["learning_rate"] < 1e-4

    passes["training"], broken = 0, {2, 4}  # the second try breaks too
    history = train(text, tmp_path / "twice", "text", epochs=6, learning_rate=1e-3)
    assert history["kept"] == "linear_probe" and history["notes"][-1]["code"] == "stopped_again"

    passes["training"], broken = 0, {12}  # of 5 steps an epoch the second of the third
    history = train(text, tmp_path / "late", "text", epochs=6, learning_rate=1e-3)
    assert (history["attempts"], history["best_epoch"]) == ([], 2)
    reason = {"code": "loss_not_finite", "of": "training", "step": 12}
    assert history["notes"][-1] == {"code": "stopped_early", "epoch": 2, "step": 12, "reason": reason}
    screen = json.loads((tmp_path / "late/screen.json").read_text())
    assert screen["verdict"] == "pass", screen


def test_the_probe_alone_trains_nothing_and_its_history_is_empty(tmp_path, image):
    history = trained(image, tmp_path / "out", "image", "linear_probe")
    (entry,) = history["candidates"]
    assert (history["kept"], entry["training"], entry["outcome"]) == ("linear_probe", None, "trained")
    assert entry["validation"]["accuracy"]["n"] == 18


def test_nothing_is_printed_and_the_bar_goes_to_standard_error(tmp_path, text, capfd, monkeypatch):
    monkeypatch.setattr(progress, "LOG_S", 0.0)
    train(text, tmp_path / "out", "text", epochs=1)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "fine_tune" in printed.err

"""Going on with pretraining: what is hidden, what is learned, when it ends, and that being killed changes nothing."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones import masked_language
from headstart.backbones.masked_language import HEAD_FILE
from headstart.backbones.network import Network
from headstart.determinism import file_digest, folder_digest
from headstart.errors import BackboneError, DataError, ParamsError
from headstart.predictor import Preprocessor
from headstart.transfer.adapt import pretraining, rounds, text
from tests.tiny import workspace
from tests.unit.adapt_toys import (
    CPU,
    PARAMS,
    adapted,
    bare,
    contract,
    headed,
    preprocessor,
    run,
    topics,
    words,
)
from tests.unit.forked import killed

pytestmark = pytest.mark.usefixtures("one_thread")


def test_held_out_loss_falls_and_the_best_epoch_is_kept(adapted, headed, preprocessor):
    result, _ = adapted
    assert (result.head, result.epochs, result.texts) == ("the backbone's own", 3, 150)
    assert len(result.held_out) == 4
    values = [each.value for each in result.held_out]
    assert result.best_epoch == int(np.argmin(values)) > 0
    assert result.change.high < 0  # the same texts under the same masks: beyond doubt
    assert result.change.value == pytest.approx(min(values) - values[0])
    assert result.tokens <= PARAMS.budget


def test_the_loss_is_the_one_that_transformers_computes(headed, words):
    pieces = list(words.pieces(topics(40)))
    model = masked_language.load(headed)
    losses, counts = pretraining.measure(model, words, pieces, seed=1)
    batch = words.hide(pieces, pretraining.HIDDEN, seed=1, number=pretraining.HELD_OUT, device=CPU)
    labels = torch.full(batch.hidden.shape, -100)
    labels[batch.hidden] = batch.targets
    with torch.no_grad():
        expected = model.whole(**batch.inputs, labels=labels).loss
    assert losses.sum() / counts.sum() == pytest.approx(float(expected), rel=1e-5)


def test_the_result_is_a_backbone_of_the_same_files_with_its_hashes_brought_up_to_date(adapted, headed):
    _, out = adapted
    description = json.loads((out / "backbone.json").read_text())
    assert {path.name for path in out.iterdir()} == {path.name for path in headed.iterdir()}
    assert description["files"] == {name: file_digest(out / name) for name in description["files"]}
    changed = {name for name in description["files"] if file_digest(headed / name) != file_digest(out / name)}
    assert changed == {"model.safetensors", HEAD_FILE}
    assert Network.from_backbone(out, 2, dropout=0.0).hidden_size == workspace.WIDTH


def test_what_was_written_has_the_loss_that_was_measured(adapted, preprocessor, tmp_path):
    result, out = adapted
    again = run(out, tmp_path, topics(150), preprocessor, learning_rate=1e-9)
    assert again.held_out[0].value == pytest.approx(result.held_out[result.best_epoch].value, rel=1e-5)


def test_order_and_copies_of_texts_do_not_matter(adapted, headed, preprocessor, tmp_path):
    texts = topics(150)
    again = run(headed, tmp_path, [*reversed(texts), *texts[:20], "  " + texts[3]], preprocessor)
    assert again.document() == adapted[0].document()
    assert folder_digest(tmp_path / "out") == folder_digest(adapted[1])


def test_a_backbone_without_a_head_gets_one_that_is_not_kept(bare, preprocessor, tmp_path):
    result = run(bare, tmp_path, topics(100), preprocessor)
    assert result.head == "made here" and result.note["new_head"]
    assert not (tmp_path / "out" / HEAD_FILE).exists()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in bare.iterdir()}
    assert result.held_out[result.best_epoch].value < result.held_out[0].value


def test_a_new_head_alone_leaves_the_backbone_as_it_is(bare, preprocessor, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "HEAD_WARMUP", 1.0)
    result = run(bare, tmp_path, topics(100), preprocessor)
    assert (result.best_epoch, result.epochs) == (0, 0)
    assert folder_digest(tmp_path / "out") == folder_digest(bare)


def test_a_loss_that_does_not_fall_ends_it_after_patience_with_the_backbone_as_it_came(
    adapted, preprocessor, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretraining, "CLIP_NORM", 100.0)
    result = run(adapted[1], tmp_path, topics(150), preprocessor, learning_rate=0.5, epochs=6)
    assert (result.best_epoch, result.epochs) == (0, 2)
    assert result.stopped == {"code": "patience", "epochs": 2}
    assert result.note["code"] == "adapting_changed_nothing"
    assert folder_digest(tmp_path / "out") == folder_digest(adapted[1])


def test_a_loss_that_is_not_a_number_keeps_the_best_state_and_says_so(headed, preprocessor, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "WEIGHT_DECAY", 1e8)
    result = run(headed, tmp_path, topics(100), preprocessor, learning_rate=1e30)
    assert result.stopped == {"code": "loss_not_finite", "round": 1}
    json.dumps(result.document(), allow_nan=False)
    assert folder_digest(tmp_path / "out") == folder_digest(headed)


@pytest.mark.parametrize(
    ("texts", "changes", "error", "sentence"),
    [
        pytest.param([], {}, DataError, "there is no unlabelled text to adapt to", id="no text"),
        pytest.param(
            topics(12), {}, DataError, r"12 distinct texts without a label.*at least 8 to hold out", id="too few"
        ),
        pytest.param(topics(100), {"budget": 7}, ParamsError, "adapt.budget is 7 tokens", id="no room"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(headed, preprocessor, tmp_path, texts, changes, error, sentence):
    with pytest.raises(error, match=sentence):
        run(headed, tmp_path, texts, preprocessor, **changes)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_not_the_contracts_is_refused(headed, preprocessor, tmp_path):
    folder = shutil.copytree(headed, tmp_path / "b")
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")
    with pytest.raises(BackboneError, match="is not the one the contract was made for"):
        run(folder, tmp_path, topics(100), preprocessor)


# evidence of a gap


def test_a_backbone_that_read_a_domain_finds_its_words_easier(adapted, headed, preprocessor):
    texts = topics(400)[300:]
    before, after = (
        text.held_out_loss(folder, texts, preprocessor=preprocessor, seed=1, most=60) for folder in (headed, adapted[1])
    )
    assert after.high < before.low
    assert before.n == after.n == 60


def test_what_a_network_forgot_of_words_is_measured_under_the_head_it_came_with(adapted, headed, preprocessor):
    texts, own = topics(400)[300:], {"preprocessor": preprocessor, "seed": 1, "most": 60}
    trained = masked_language.load(adapted[1]).backbone.state_dict()  # of another network of the same architecture
    before = text.held_out_loss(headed, texts, **own)
    assert (
        text.held_out_loss(headed, texts, weights=masked_language.load(headed).backbone.state_dict(), **own) == before
    )
    assert text.held_out_loss(headed, texts, weights=trained, **own).value != pytest.approx(before.value)


def test_without_a_head_there_is_no_such_evidence(bare, preprocessor):
    assert text.held_out_loss(bare, topics(9), preprocessor=preprocessor, seed=1, most=9) is None


# being killed


def adapt_until(kill_after: int, backbone: Path, contract: Path, folder: Path, changes: Any) -> None:
    """Go on with pretraining, and end by kill -9 before the n-th file of weights is written."""
    written, left = pretraining._write, kill_after

    def die(path: Path, tensors: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        written(path, tensors)

    pretraining._write = die
    run(backbone, folder, topics(100), Preprocessor.load(contract), **changes)


@pytest.mark.slow
@pytest.mark.parametrize("head", [True, False], ids=["its own head", "a head made here"])
def test_a_run_killed_twice_ends_in_the_bytes_of_one_never_stopped(head, request, preprocessor, bare, tmp_path):
    backbone = request.getfixturevalue("headed" if head else "bare")
    contract(bare, tmp_path / "contract")
    changes = {"epochs": 3}
    (tmp_path / "whole").mkdir()
    whole = run(backbone, tmp_path / "whole", topics(100), preprocessor, **changes)
    assert whole.best_epoch > 0
    for kill_after in (2, 3):  # the best weights lie there, their checkpoint does not; then an epoch further
        killed(adapt_until, kill_after, backbone, tmp_path / "contract", tmp_path / "broken", changes)
        assert not (tmp_path / "broken/out").exists()
    assert (tmp_path / "broken/p/checkpoint.safetensors").exists()
    broken = run(backbone, tmp_path / "broken", topics(100), preprocessor, **changes)
    assert broken.document() == whole.document()
    assert folder_digest(tmp_path / "broken/out") == folder_digest(tmp_path / "whole/out")


# images

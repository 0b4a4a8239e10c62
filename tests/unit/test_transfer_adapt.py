"""Going on with pretraining: what is hidden, what is learned, when it ends, and that being killed changes nothing."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

from headstart.backbones import masked_language, processor, store
from headstart.backbones.masked_language import HEAD_FILE
from headstart.backbones.network import Network
from headstart.backbones.silence import quiet
from headstart.contract import spec
from headstart.determinism import file_digest, folder_digest
from headstart.errors import BackboneError, DataError, ParamsError
from headstart.params.adapt import Adapt
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from headstart.predictor import Preprocessor
from headstart.transfer import adapt, adapt_images, pretraining, rounds
from headstart.transfer.masking import Piece, Words
from tests.tiny import workspace
from tests.unit import backbone_folders as tiny

SPEC = Backbone(modality="text", source="unused", sha256={}, pretrain=None)
LIMITS = Limits(tokens=16, characters=400, pixels=10_000, megabytes=1)
CPU = torch.device("cpu")
PARAMS = Adapt(
    epochs=3, batch_size=8, budget=6000, learning_rate=3e-3, head_learning_rate=1e-2, head_warmup=0.2, warmup=0.1,
    weight_decay=0.01, clip_norm=1.0, masked=0.2, held_out=0.15, patience=3, precision="float32", source_images=0.0,
    seed=3,
)  # fmt: skip


def topics(count):
    """Sentences of the made-up language, each with words of one topic: hidden ones can be guessed from the others."""
    random = np.random.default_rng(5)
    names = sorted(workspace.TOPICS)
    return [" ".join(random.choice(workspace.TOPICS[names[at % 3]], 6)) for at in range(count)]


def with_params(**changes):
    return PARAMS.model_copy(update=changes)


def contract(backbone, folder):
    """The preprocessor of a contract made for a stored backbone."""
    found, tokenizer_json = processor.input_spec(backbone, LIMITS)
    spec.write(folder, spec.Contract("text", found, ("a", "b")), tokenizer_json=tokenizer_json)
    return Preprocessor.load(folder)


def stored(folder, *, head):
    """A tiny BERT as `store` keeps it, with dropout, with or without the head that guesses words."""
    workspace.write_backbone(folder / "fetched")
    if head:
        config = BertConfig.from_pretrained(folder / "fetched")
        torch.manual_seed(1)
        with quiet():
            whole = BertForMaskedLM(config)
            whole.bert.load_state_dict(load_file(folder / "fetched/model.safetensors"))
            whole.save_pretrained(folder / "fetched")
    store.make(folder / "fetched", SPEC, folder / "stored")
    return folder / "stored"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("headed"), head=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("bare"), head=False)


@pytest.fixture(scope="module")
def preprocessor(bare, tmp_path_factory):
    return contract(bare, tmp_path_factory.mktemp("contract"))


@pytest.fixture(scope="module")
def words(bare, preprocessor):
    return Words.load(bare, preprocessor)


@pytest.fixture(scope="module")
def adapted(headed, preprocessor, tmp_path_factory):
    """One adaptation of the backbone that has a head, and its folder."""
    folder = tmp_path_factory.mktemp("adapted")
    os.environ["HEADSTART_THREADS"] = "1"
    result = adapt.adapt(
        headed, topics(150), PARAMS, preprocessor=preprocessor, out=folder / "out", partial=folder / "partial"
    )
    return result, folder / "out"


def run(backbone, folder, texts, preprocessor, **changes):
    return adapt.adapt(
        backbone, texts, with_params(**changes), preprocessor=preprocessor, out=folder / "out", partial=folder / "p"
    )


# what is hidden


def piece(*words_of_tokens):
    ids = np.arange(100, 100 + len(words_of_tokens))
    return Piece(ids, np.array(words_of_tokens), 0)


def test_all_pieces_of_a_hidden_word_are_hidden_and_special_tokens_never(words):
    one = piece(-1, 0, 0, 0, 1, 2, 2, 3, 4, -1)
    for number in range(1, 60):
        hidden = words.hide([one], 0.4, seed=1, number=number, device=CPU).hidden[0].numpy()
        assert not hidden[[0, -1]].any()
        assert hidden[1] == hidden[2] == hidden[3] and hidden[5] == hidden[6]
        assert len(np.unique(one.words[hidden])) == 2  # 0.4 of five words


def test_of_hidden_tokens_four_fifths_are_masked_a_tenth_replaced_and_a_tenth_kept(words):
    many = [Piece(np.full(16, 40), np.arange(16), at) for at in range(1)]
    shown = [words.hide(many, 1.0, seed=1, number=number, device=CPU) for number in range(1, 1001)]
    ids = np.concatenate([batch.inputs["input_ids"].numpy().ravel() for batch in shown])
    mask_id = 4
    shares = Counter("masked" if value == mask_id else "kept" if value == 40 else "replaced" for value in ids)
    # 16,000 draws: three standard deviations are 0.01
    assert shares["masked"] / len(ids) == pytest.approx(0.8, abs=0.01)
    assert shares["replaced"] / len(ids) == pytest.approx(0.1, abs=0.01)
    assert not set(ids.tolist()) & {0, 2, 3}  # no special token stands in a word's place


def test_what_is_hidden_depends_on_round_and_text_and_not_on_the_texts_around_it(words):
    first, second = words.pieces(["babanx is here now and then", "the soup"])
    alone = words.hide([first], 0.3, seed=1, number=2, device=CPU)
    beside = words.hide([second, first], 0.3, seed=1, number=2, device=CPU)
    assert torch.equal(alone.inputs["input_ids"][0], beside.inputs["input_ids"][1])
    masks = {
        words.hide([first], 0.3, seed=1, number=number, device=CPU).hidden.numpy().tobytes() for number in range(9)
    }
    assert len(masks) > 1


def test_targets_are_what_stood_there_row_by_row(words):
    pieces = list(words.pieces(["tell me of baban", "is there dedek today"]))
    batch = words.hide(pieces, 0.5, seed=1, number=1, device=CPU)
    original = np.zeros(batch.hidden.shape, dtype=np.int64)
    for row, each in enumerate(pieces):
        original[row, : len(each)] = each.ids
    assert batch.targets.tolist() == original[batch.hidden.numpy()].tolist()
    assert batch.counts.sum() == len(batch.targets)


def test_a_long_text_is_read_in_pieces_that_hold_all_of_its_words(words):
    text = " ".join(workspace.TOPICS["travel"][:30])
    pieces = list(words.pieces([text]))
    assert [len(each) for each in pieces] == [16, 16, 4]  # 14 words and two special tokens; 30 = 14 + 14 + 2
    assert sum(int((each.words >= 0).sum()) for each in pieces) == 30
    assert all(each.words.max() + 1 == (each.words >= 0).sum() for each in pieces)


def test_a_tokenizer_without_a_mask_token_is_refused(bare, preprocessor, tmp_path):
    folder = shutil.copytree(bare, tmp_path / "b")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(BackboneError, match="has no mask token: nothing can stand in a hidden word's place"):
        Words.load(folder, preprocessor)
    assert "no mask token" in adapt.obstacle(folder)
    assert adapt.obstacle(bare) is None


# how the budget is spent


def of(*lengths):
    return [Piece(np.arange(length), np.zeros(length, np.int64), at) for at, length in enumerate(lengths)]


def test_a_small_pool_passes_once_an_epoch():
    found = rounds.cut(of(10, 20, 30), with_params(budget=1000), made=False)
    assert [one.tokens for one in found] == [60, 60, 60]
    assert [one.number for one in found] == [1, 2, 3]


def test_a_large_pool_passes_in_new_texts_and_never_beyond_the_budget():
    found = rounds.cut(of(*[10] * 50), with_params(budget=95), made=False)
    texts = [piece.text for one in found for batch in one.batches for piece in batch]
    assert sorted(texts) == list(range(9))  # 31 + 32 + 32 tokens hold 3 texts each
    assert sum(one.tokens for one in found) == 90


def test_a_new_head_learns_alone_for_its_share_and_the_rest_goes_to_epochs():
    found = rounds.cut(of(*[10] * 100), with_params(budget=500, head_warmup=0.4), made=True)
    assert [(one.alone, one.tokens) for one in found] == [(True, 200), (False, 100), (False, 100), (False, 100)]


def test_texts_of_one_length_share_a_batch():
    found = rounds.cut(of(*[5, 50] * 16), with_params(epochs=1), made=False)
    assert all(len({len(piece) for piece in batch}) == 1 for batch in found[0].batches)


# what is learned


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
    losses, counts = pretraining.measure(model, words, pieces, masked=0.2, seed=1)
    batch = words.hide(pieces, 0.2, seed=1, number=pretraining.HELD_OUT, device=CPU)
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
    assert result.head == "made here" and "made here" in result.told
    assert not (tmp_path / "out" / HEAD_FILE).exists()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in bare.iterdir()}
    assert result.held_out[result.best_epoch].value < result.held_out[0].value


def test_a_new_head_alone_leaves_the_backbone_as_it_is(bare, preprocessor, tmp_path):
    result = run(bare, tmp_path, topics(100), preprocessor, head_warmup=1.0)
    assert (result.best_epoch, result.epochs) == (0, 0)
    assert folder_digest(tmp_path / "out") == folder_digest(bare)


def test_a_loss_that_does_not_fall_ends_it_after_patience_with_the_backbone_as_it_came(adapted, preprocessor, tmp_path):
    result = run(
        adapted[1], tmp_path, topics(150), preprocessor, learning_rate=0.5, clip_norm=100.0, epochs=6, patience=2
    )
    assert (result.best_epoch, result.epochs) == (0, 2)
    assert result.stopped == "Held-out loss has not fallen for 2 epochs."
    assert result.told.startswith("Adapting changed nothing")
    assert folder_digest(tmp_path / "out") == folder_digest(adapted[1])


def test_a_loss_that_is_not_a_number_keeps_the_best_state_and_says_so(headed, preprocessor, tmp_path):
    result = run(headed, tmp_path, topics(100), preprocessor, learning_rate=1e30, clip_norm=1e30, weight_decay=1e8)
    assert "not a number" in result.stopped and "best state" in result.stopped
    json.dumps(result.document(), allow_nan=False)
    assert folder_digest(tmp_path / "out") == folder_digest(headed)


@pytest.mark.parametrize(
    ("texts", "changes", "error", "sentence"),
    [
        pytest.param([], {}, DataError, "there is no unlabelled text to adapt to", id="no text"),
        pytest.param(
            topics(12), {}, DataError, r"12 distinct texts without a label.*8 and 1 are the least", id="too few"
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
        adapt.held_out_loss(folder, texts, preprocessor=preprocessor, masked=0.2, seed=1, most=60)
        for folder in (headed, adapted[1])
    )
    assert after.high < before.low
    assert before.n == after.n == 60


def test_without_a_head_there_is_no_such_evidence(bare, preprocessor):
    assert adapt.held_out_loss(bare, topics(9), preprocessor=preprocessor, masked=0.2, seed=1, most=9) is None


# being killed


RUN = """
import json, os, signal, sys
from pathlib import Path
from headstart.predictor import Preprocessor
from headstart.transfer import adapt, pretraining
from tests.unit.test_transfer_adapt import run, topics

backbone, contract, folder, changes, kill_after = json.loads(sys.argv[1])
written = pretraining._write
def die(path, tensors):
    global kill_after
    kill_after -= 1
    if kill_after == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    written(path, tensors)
pretraining._write = die
run(Path(backbone), Path(folder), topics(100), Preprocessor.load(Path(contract)), **changes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("head", [True, False], ids=["its own head", "a head made here"])
def test_a_run_killed_twice_ends_in_the_bytes_of_one_never_stopped(head, request, preprocessor, bare, tmp_path):
    backbone = request.getfixturevalue("headed" if head else "bare")
    contract(bare, tmp_path / "contract")
    changes = {"precision": "bfloat16", "epochs": 3}
    (tmp_path / "whole").mkdir()
    whole = run(backbone, tmp_path / "whole", topics(100), preprocessor, **changes)
    assert whole.best_epoch > 0
    for kill_after in (2, 3):  # the best weights lie there, their checkpoint does not; then an epoch further
        values = [str(backbone), str(tmp_path / "contract"), str(tmp_path / "broken"), changes, kill_after]
        environment = {**os.environ, "PYTHONPATH": str(workspace.ROOT), "HEADSTART_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(values)],
            cwd=workspace.ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (tmp_path / "broken/out").exists()
    assert (tmp_path / "broken/p/checkpoint.safetensors").exists()
    broken = run(backbone, tmp_path / "broken", topics(100), preprocessor, **changes)
    assert broken.document() == whole.document()
    assert folder_digest(tmp_path / "broken/out") == folder_digest(tmp_path / "whole/out")


# images


def pictures(count, *, level=0):
    """Grey noise, brighter by `level`."""
    random = np.random.default_rng(7)
    return [_png(random.integers(0, 100, (12, 12)) + level) for _ in range(count)]


def _png(levels):
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A ResNet as `store` keeps it, and its preprocessor."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "fetched").mkdir()
    tiny.write_image(folder / "fetched")
    store.make(folder / "fetched", Backbone(modality="image", source="x", sha256={}, pretrain=None), folder / "stored")
    found, _ = processor.input_spec(folder / "stored", LIMITS)
    spec.write(folder / "contract", spec.Contract("image", found, ("a", "b")), tokenizer_json=None)
    return folder / "stored", Preprocessor.load(folder / "contract")


def _inputs_of(network, norm, batch):
    """What a BatchNorm is given, `(values, channels)`, when every BatchNorm normalises by its stored statistics."""
    seen = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.features(pixel_values=batch)
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1).T.double().numpy()


def _norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_statistics_are_the_moments_of_all_images_whatever_the_batches(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    images = pictures(48)
    batch = torch.from_numpy(np.stack(preprocessor.prepare(images)))
    first = _norms(network)[0]
    values = _inputs_of(network, first, batch)
    result = adapt_images.reestimate(network, images, preprocessor, batch_size=16, source_images=0.0)
    assert (result.images, result.norms) == (48, len(_norms(network)))
    np.testing.assert_allclose(first.running_mean, values.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.running_var, values.var(axis=0, ddof=1), rtol=1e-5)


def test_in_one_batch_every_layer_then_gets_what_its_statistics_say(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    images = pictures(20)
    batch = torch.from_numpy(np.stack(preprocessor.prepare(images)))
    adapt_images.reestimate(network, images, preprocessor, batch_size=20, source_images=0.0)
    for norm in _norms(network):
        values = _inputs_of(network, norm, batch)
        np.testing.assert_allclose(norm.running_mean, values.mean(axis=0), rtol=2e-2, atol=1e-3)
        np.testing.assert_allclose(norm.running_var, values.var(axis=0, ddof=1), rtol=5e-2)


def test_the_sources_statistics_weigh_as_many_images_as_asked(image):
    backbone, preprocessor = image
    networks = [Network.from_backbone(backbone, 2, dropout=0.0) for _ in range(3)]
    source = _norms(networks[0])[0].running_mean.clone()
    for network, weight in zip(networks[1:], (0.0, 60.0), strict=True):
        adapt_images.reestimate(network, pictures(20), preprocessor, batch_size=16, source_images=weight)
    target, shrunk = (_norms(network)[0].running_mean for network in networks[1:])
    torch.testing.assert_close(shrunk, 0.25 * target + 0.75 * source)  # 20 of 80


def test_reestimating_changes_nothing_but_statistics_and_not_by_order_or_copies(image):
    backbone, preprocessor = image
    one, other, before = (Network.from_backbone(backbone, 2, dropout=0.0) for _ in range(3))
    images = pictures(20)
    adapt_images.reestimate(one, images, preprocessor, batch_size=16, source_images=0.0)
    adapt_images.reestimate(other, [*images[::-1], *images[:5]], preprocessor, batch_size=16, source_images=0.0)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        if "running" not in name:
            assert torch.equal(value, before.state_dict()[name])
    assert not one.training and not any(norm.training for norm in _norms(one))


def test_fewer_than_sixteen_distinct_images_are_refused(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    with pytest.raises(DataError, match=r"15 distinct images are too few.*16 are the least"):
        adapt_images.reestimate(network, pictures(15) * 2, preprocessor, batch_size=16, source_images=0.0)


def test_a_network_without_batchnorm_is_refused(bare, image):
    network = Network.from_backbone(bare, 2, dropout=0.0)
    with pytest.raises(BackboneError, match="bert has no BatchNorm that keeps statistics"):
        adapt_images.reestimate(network, pictures(20), image[1], batch_size=16, source_images=0.0)


def test_an_adapted_image_backbone_is_a_backbone_with_other_statistics(image, tmp_path):
    backbone, preprocessor = image
    out, images = tmp_path / "out", pictures(20, level=100)
    result = adapt_images.adapt(backbone, images, PARAMS, preprocessor=preprocessor, out=out)
    description = json.loads((out / "backbone.json").read_text())
    assert description["files"]["model.safetensors"] == file_digest(out / "model.safetensors")
    assert Network.from_backbone(out, 2, dropout=0.0).shape == (1, 16, 16)
    again = adapt_images.adapt(out, images, PARAMS, preprocessor=preprocessor, out=tmp_path / "again")
    assert again.moved == pytest.approx(0.0, abs=1e-5) and result.moved > 0.01

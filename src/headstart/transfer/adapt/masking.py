"""Whole-word masking: which words of a text are hidden, and what stands in their place.

Of the tokens of a hidden word 80% become the mask token, 10% another token, 10% stay: the network can't know which
tokens to doubt. Hiding whole words keeps it from guessing a word's piece from the other pieces. What is hidden
depends on a seed, a round and the text, not on the texts around it.
Source: Devlin et al. 2019, arXiv:1810.04805; whole words: their release of May 2019; Cui et al. 2021, arXiv:1906.08101.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from headstart.backbones import processor
from headstart.contract.spec import TextSpec
from headstart.determinism import digest
from headstart.errors import BackboneError
from headstart.predictor import Preprocessor

AT_ONCE = 64
MASKED, REPLACED = 0.8, 0.1  # shares of hidden tokens; the rest stays as it is


@dataclass(frozen=True)
class Piece:
    """A text, or the part of a long one that the contract's length holds.

    Attributes:
        ids: token ids with the special tokens, `(tokens,)`.
        words: the word, from 0, that each token belongs to, `(tokens,)`; -1 for special tokens.
        text: which text it is of.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int64]
    text: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Masked:
    """A batch with words hidden.

    Attributes:
        inputs: `input_ids` and `attention_mask`, `(pieces, tokens)`.
        hidden: true where a token is to be guessed, `(pieces, tokens)`.
        targets: what stood there, `(hidden tokens,)`, row by row.
        counts: hidden tokens of each piece, `(pieces,)`.
    """

    inputs: dict[str, Tensor]
    hidden: Tensor
    targets: Tensor
    counts: NDArray[np.int64]


class Words:
    """The contract's tokenizer, told to keep track of words."""

    def __init__(
        self, tokenizer: Tokenizer, preprocessor: Preprocessor, *, mask_id: int, special: Iterable[int]
    ) -> None:
        """Take up a tokenizer that cuts as the contract does; `special` tokens neither hide anything nor are hidden."""
        self._tokenizer, self._preprocessor, self._mask_id = tokenizer, preprocessor, mask_id
        self._split = json.loads(tokenizer.to_str())["pre_tokenizer"] is not None
        self._ordinary = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), list(special))

    @classmethod
    def load(cls, backbone: Path, preprocessor: Preprocessor) -> "Words":
        """The tokenizer of a stored backbone.

        Raises:
            BackboneError: if it is not the contract's, or has no mask token.
        """
        spec = preprocessor.contract.input
        text = (backbone / processor.TOKENIZER_FILE).read_text(encoding="utf-8")
        if not isinstance(spec, TextSpec) or digest(text) != spec.tokenizer_sha256:
            raise BackboneError(
                f"the tokenizer of {backbone} is not the one the contract was made for.",
                action="Run the stage `prepare` again.",
            )
        known: Any = processor.load_tokenizer(backbone)
        if known.mask_token_id is None:
            raise BackboneError(
                f"the tokenizer of {backbone} has no mask token: nothing can stand in a hidden word's place.",
                action="Choose another strategy than adapt_then_fine_tune, or a backbone that was pretrained so.",
            )
        tokenizer = Tokenizer.from_str(text)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=spec.max_tokens, direction=spec.truncation_side)
        return cls(tokenizer, preprocessor, mask_id=known.mask_token_id, special=known.all_special_ids)

    def pieces(self, texts: Sequence[str]) -> Iterator[Piece]:
        """Each text, a long one in several pieces, in order, a few texts at a time; pieces without a word are left out.

        Raises:
            ContractError: if the contract refuses a text.
        """
        for start in range(0, len(texts), AT_ONCE):
            batch = list(texts[start : start + AT_ONCE])
            self._preprocessor.check(batch, first=start)
            for number, whole in enumerate(self._tokenizer.encode_batch(batch), start=start):
                for encoding in (whole, *whole.overflowing):
                    piece = self._piece(encoding, number)
                    if (piece.words >= 0).any():
                        yield piece

    def hide(self, pieces: Sequence[Piece], share: float, *, seed: int, number: int, device: torch.device) -> Masked:
        """A batch in which `share` of each piece's words, one at least, is hidden, drawn by seed, number and text."""
        found = [self._hidden(piece, share, seed, number) for piece in pieces]
        batch = self._preprocessor.collate([ids for ids, _ in found])
        hidden = np.zeros(batch["input_ids"].shape, dtype=bool)
        for row, (_, chosen) in enumerate(found):
            hidden[row, : len(chosen)] = chosen
        targets = np.concatenate([piece.ids[chosen] for piece, (_, chosen) in zip(pieces, found, strict=True)])
        return Masked(
            inputs={name: torch.from_numpy(values).to(device) for name, values in batch.items()},
            hidden=torch.from_numpy(hidden).to(device),
            targets=torch.from_numpy(targets).to(device),
            counts=hidden.sum(axis=1),
        )

    def _piece(self, encoding: Encoding, text: int) -> Piece:
        """Words are numbered from 0; without a pre-tokenizer, which would tell them apart, each token is one."""
        ids = np.array(encoding.ids, dtype=np.int64)
        ordinary = np.array(encoding.special_tokens_mask) == 0
        words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
        words = np.where(ordinary, words if self._split else np.arange(len(ids)), -1)
        numbered = np.full(len(ids), -1, dtype=np.int64)
        numbered[words >= 0] = np.unique(words[words >= 0], return_inverse=True)[1]
        return Piece(ids, numbered, text)

    def _hidden(
        self, piece: Piece, share: float, seed: int, number: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The ids with words hidden, and which tokens those are."""
        random = np.random.default_rng([seed, number, int(digest(piece.ids.tobytes())[:16], 16)])
        words = int(piece.words.max()) + 1
        chosen = np.isin(piece.words, random.permutation(words)[: max(1, round(share * words))])
        drawn, others = random.random(len(piece)), random.choice(self._ordinary, len(piece))
        ids = np.where(chosen & (drawn < MASKED), self._mask_id, piece.ids)
        ids = np.where(chosen & (drawn >= MASKED) & (drawn < MASKED + REPLACED), others, ids)
        return ids, chosen

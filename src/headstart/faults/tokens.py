"""What careless clients make of a text: each known mistake of theirs, carried out with the contract's tokenizer."""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract import spec as contracts
from headstart.contract.spec import TextSpec
from headstart.determinism import digest
from headstart.errors import BundleError
from headstart.faults import texts

Ids = NDArray[np.int64]


class Tokens:
    """A text as token ids: the contract's, and those that clients send instead. Each cleaning is tokenized once."""

    def __init__(self, folder: Path, spec: TextSpec) -> None:
        """Take up the tokenizer of the bundle or contract in `folder`.

        Raises:
            BundleError: if its tokenizer is absent, or not the contract's.
        """
        from tokenizers import Tokenizer

        path = folder / contracts.TOKENIZER_FILE
        try:
            document = path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
        if digest(document) != spec.tokenizer_sha256:
            raise BundleError(f"{path} is not the tokenizer that the contract was made for.")
        self.spec = spec
        self._tokenizer = _bare(Tokenizer.from_str(document))
        self.vocabulary = int(self._tokenizer.get_vocab_size())
        self._special = int(self._tokenizer.num_special_tokens_to_add(False))
        self._document = document

    def explanation(self, text: str, arrived: Ids, goes_on: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
        """The fewest mistakes that make `arrived` of a text; none where none does.

        `goes_on` is asked before each try; nothing more is tried where it says no.
        """
        best: tuple[str, ...] = ()
        for names, ids in self.variants(text, len(arrived)):
            if not goes_on():
                break
            if names and np.array_equal(ids, arrived) and (not best or len(names) < len(best)):
                best = names
        return best

    def variants(self, text: str, length: int | None = None) -> Iterator[tuple[tuple[str, ...], Ids]]:
        """Mistakes and the ids they give, single ones first.

        Args:
            text: the raw input.
            length: how many ids the client sent: what it was cut to, if it was cut.
        """
        double: list[tuple[tuple[str, ...], Ids]] = []
        for cleaning, encoding in self._encodings(text):
            for cut, ids in self._cut(encoding, length):
                names = tuple(name for name in (cleaning, cut) if name)
                if len(names) > 1:
                    double.append((names, ids))
                else:
                    yield names, ids
        yield from double

    @cached_property
    def _unnormalised(self) -> Any:
        """The tokenizer without its normalizer; None where it has none."""
        from tokenizers import Tokenizer

        parts = json.loads(self._document)
        return _bare(Tokenizer.from_str(json.dumps({**parts, "normalizer": None}))) if parts.get("normalizer") else None

    def _encodings(self, text: str) -> Iterator[tuple[str, Any]]:
        """The text as it is, and after each cleaning that changes it; tokenized whole, without special tokens."""
        yield "", self._tokenizer.encode(text, add_special_tokens=False)
        if self._unnormalised is not None:
            yield (
                "case, accents or spaces were not normalised",
                self._unnormalised.encode(text, add_special_tokens=False),
            )
        for name, clean in CLEANINGS.items():
            cleaned = clean(text)
            if cleaned and cleaned != text:
                yield name, self._tokenizer.encode(cleaned, add_special_tokens=False)

    def _cut(self, encoding: Any, length: int | None) -> Iterator[tuple[str, Ids]]:
        """The contract's cut, and what clients do at the end instead."""
        most, special = self.spec.max_tokens, self._special
        whole = self._finished(encoding)
        yield "", self._finished(encoding, most)
        if length is not None and special < length != most and length < len(whole):
            yield f"cut to {length} tokens instead of {most}", self._finished(encoding, length)
        yield f"not cut to {most} tokens", whole
        yield "cut at the beginning instead of the end", self._finished(encoding, most, "left")
        bare = np.array(encoding.ids, dtype=np.int64)
        for size in (most - special, most, length or most):
            yield "special tokens are missing", bare[:size]
        yield "cut after tokenizing, the closing token is lost", whole[:most]
        if special:
            before, after = self._around(encoding, whole)
            yield "special tokens were added twice", np.concatenate([before, whole, after])[:most]

    def _finished(self, encoding: Any, cut: int | None = None, side: str = "right") -> Ids:
        """Token ids with special tokens; `cut` counts those."""
        if cut is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_length=cut, direction=side)
        return np.array(self._tokenizer.post_process(encoding).ids, dtype=np.int64)

    def _around(self, encoding: Any, whole: Ids) -> tuple[Ids, Ids]:
        """The special tokens before and after a text."""
        mask = np.array(self._tokenizer.post_process(encoding).special_tokens_mask, dtype=bool)
        text = np.flatnonzero(~mask)
        if not len(text):
            return whole, whole[:0]
        return whole[: text[0]], whole[text[-1] + 1 :]


def _bare(tokenizer: Any) -> Any:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _without_accents(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))


def _seeded(injector: Callable[[str, int, np.random.Generator], str]) -> Callable[[str], str]:
    return lambda text: injector(text, 1, np.random.default_rng(0))


CLEANINGS: dict[str, Callable[[str], str]] = {
    "lower-cased": str.lower,
    "punctuation was removed": _seeded(texts.punctuation_removed),
    "HTML was escaped": _seeded(texts.html_escaped),
    "HTML was unescaped": html.unescape,
    "decoded with another encoding": _seeded(texts.mojibake),
    "accents were removed": _without_accents,
    "white space was collapsed": lambda text: re.sub(r"\s+", " ", text).strip(),
    "in capitals": str.upper,
    "composed or decomposed characters (NFKC)": lambda text: unicodedata.normalize("NFKC", text),
    "what is not ASCII was dropped": lambda text: text.encode("ascii", "ignore").decode(),
}
"""What clients do to texts before they tokenize."""

"""Domain-adaptive pretraining: a text backbone goes on guessing hidden words, now of the target's own unlabelled texts.

It stops when the loss on texts held out stops falling, and the best state is kept; where nothing fell, that is the
backbone as it came. A backbone without a head for this gets a new one under its own word embeddings, which first
learns alone. Source: Gururangan et al. 2020, arXiv:2004.10964 (DAPT).
"""

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.backbones import checkpoint, masked_language, processor, store
from headstart.backbones.masked_language import MaskedLanguageModel
from headstart.data.identity import content_key
from headstart.determinism import fraction
from headstart.errors import DataError, ParamsError
from headstart.params.adapt import Adapt
from headstart.predictor import Preprocessor
from headstart.statistics import bootstrap
from headstart.statistics.interval import Interval
from headstart.transfer import device
from headstart.transfer.adapt import pretraining, rounds
from headstart.transfer.adapt.masking import Piece, Words
from headstart.transfer.adapt.pretraining import History

FORMAT = 2
LEAST = 8
"""Texts held out: with fewer, whether a loss fell is a matter of luck."""
RESAMPLES, LEVEL = 1000, 0.95  # of the intervals, which decide nothing

Origin = Literal["the backbone's own", "made here"]


@dataclass(frozen=True)
class Adaptation:
    """What pretraining on unlabelled text came to.

    Attributes:
        texts: distinct ones there were, held out or not.
        tokens: that passed to learn from.
        epochs: that were measured.
        held_out: mean loss in nats of a hidden token of texts held out: before the backbone learned, then after each
            epoch; empty where it was never a number.
        change: the best epoch's less the first, the same texts compared; None likewise.
        best_epoch: the one that was kept; 0 is the backbone as it came.
        stopped: why it ended, as a code with its numbers.
        head: whether the head that guesses came with the backbone.
        precision: of the passes.
    """

    texts: int
    tokens: int
    epochs: int
    held_out: list[Interval]
    change: Interval | None
    best_epoch: int
    stopped: dict[str, Any]
    head: Origin
    precision: device.Precision

    def document(self) -> dict[str, Any]:
        """The values as plain JSON, with `format`."""
        return {"format": FORMAT, **asdict(self)}

    @property
    def note(self) -> dict[str, Any]:
        """The result as `history.json` has it."""
        if not self.best_epoch or self.change is None:
            return {"code": "adapting_changed_nothing", "stopped": self.stopped}
        return {
            "code": "adapted_to_texts",
            "tokens": self.tokens,
            "texts": self.texts,
            "new_head": self.head == "made here",
            "before": self.held_out[0].document(),
            "after": self.held_out[self.best_epoch].document(),
            "stopped": self.stopped,
        }


def obstacle(
    backbone: Path, texts: Sequence[str], params: Adapt, *, preprocessor: Preprocessor
) -> dict[str, Any] | None:
    """Why a stored text backbone can't go on guessing hidden words of these texts, as a code; None where it can."""
    kind = checkpoint.configuration(backbone).model_type
    if kind not in masked_language.HEADS:
        return {"code": "no_masked_language_head", "kind": kind}
    if processor.load_tokenizer(backbone).mask_token_id is None:
        return {"code": "no_mask_token"}
    keys = {content_key(text): text for text in texts}
    if found := _too_few(keys, params):
        return found
    first = keys[min(keys.keys() - _aside(keys, params))]
    return _over_budget(next(Words.load(backbone, preprocessor).pieces([first]), ()), params)


def adapt(
    backbone: Path, texts: Sequence[str], params: Adapt, *, preprocessor: Preprocessor, out: Path, partial: Path
) -> Adaptation:
    """Write the adapted backbone into the folder `out`: the same files, other weights, hashes brought up to date.

    Neither the order of `texts` nor their copies change the result. A head made here is not kept. Every text is held
    in memory, and token ids for as many as `params.budget` allows.

    Args:
        backbone: the stored backbone.
        texts: unlabelled, as the contract takes them; long ones are read in pieces of the contract's length.
        params: how.
        preprocessor: the contract's.
        out: a folder, empty or absent.
        partial: checkpoints of this very run; a killed run that is started again goes on from them, and the caller
            removes them.

    Raises:
        DataError: if there is no text, or too few to hold some out.
        ParamsError: if the budget has no room for a single text.
        BackboneError: if the tokenizer has no mask token or is not the contract's, or no head is known for the
            architecture.
        ContractError: if the contract refuses a text.
    """
    place = device.settle(params.seed)
    words = Words.load(backbone, preprocessor)
    distinct = {content_key(text): text for text in sorted(set(texts), reverse=True)}
    learn, held_out = _divided(dict(sorted(distinct.items())), words, params)
    model = masked_language.load(backbone)
    made = model is None
    if model is None:
        model = masked_language.fresh(backbone, seed=params.seed)
        _start(model, learn)
    passes = rounds.cut(learn, params, made=made)
    if found := _over_budget(learn[0], params):
        raise ParamsError(
            f"adapt.budget is {found['budget']} tokens; the first text alone has {found['tokens']}.",
            action="Raise adapt.budget.",
        )
    model.to(place)
    history = pretraining.run(model, words, passes, held_out, params, made=made, partial=partial, place=place)
    if history.best == 0:
        shutil.copytree(backbone, out, dirs_exist_ok=True)
    else:
        store.with_weights(backbone, model.backbone.state_dict(), out, head=None if made else model)
    return _adaptation(history, len(distinct), params, "made here" if made else "the backbone's own")


def held_out_loss(
    backbone: Path,
    texts: Sequence[str],
    *,
    preprocessor: Preprocessor,
    seed: int,
    most: int,
    weights: Mapping[str, Tensor] | None = None,
) -> Interval | None:
    """How hard a backbone finds the words of `texts`: mean loss of a hidden token, in nats; None without such a head.

    The exponential of it is a perplexity. On texts like those it was pretrained on it is low; the gap between the two
    is one measure of the distance between domains. It is of the part of each text that the contract keeps.

    Args:
        backbone: the stored backbone.
        texts: as the contract takes them.
        preprocessor: the contract's.
        seed: of what is hidden, and of which texts are drawn.
        most: distinct texts looked at.
        weights: of a network trained from this backbone, to stand below the head in its place; None: its own.

    Raises:
        DataError: if there is no text.
        BackboneError: as `adapt`.
    """
    model = masked_language.load(backbone)
    if model is None:
        return None
    if not texts:
        raise DataError("there is no text to guess words of.", action="Give one at least.")
    if weights is not None:
        model.backbone.load_state_dict(dict(weights))
    words = Words.load(backbone, preprocessor)
    drawn = sorted(set(texts), key=lambda text: (fraction(text, seed=seed), text))[:most]
    first: dict[int, Piece] = {}
    for piece in words.pieces(drawn):
        first.setdefault(piece.text, piece)
    model.to(device.settle(seed))
    losses, counts = pretraining.measure(model, words, list(first.values()), seed=seed)
    return _mean(losses, counts, seed)


def _divided(distinct: dict[str, str], words: Words, params: Adapt) -> tuple[list[Piece], list[Piece]]:
    """Pieces to learn from and pieces held out, as many tokens as are allowed, in the order of their contents' hash."""
    if not distinct:
        raise DataError(
            "there is no unlabelled text to adapt to.", action="Name some under data.unlabelled in params.yaml."
        )
    if found := _too_few(distinct, params):
        raise DataError(
            f"{found['texts']} distinct texts without a label, of which adapt.held_out = {params.held_out} holds out "
            f"{found['held_out']}, leave {found['texts'] - found['held_out']} to learn from; at least {LEAST} to hold "
            "out and 1 to learn from were expected.",
            action="Give more unlabelled texts, or change adapt.held_out.",
        )
    aside = _aside(distinct, params)
    learn = [text for key, text in distinct.items() if key not in aside]
    held_out = [text for key, text in distinct.items() if key in aside]
    return (
        _first(words.pieces(learn), params.budget, texts=1),
        _first(words.pieces(held_out), round(params.held_out * params.budget), texts=LEAST),
    )


def _aside(keys: Iterable[str], params: Adapt) -> set[str]:
    """Those that are held out, by a hash of their own."""
    return {key for key in keys if fraction(key, seed=params.seed) < params.held_out}


def _too_few(keys: Collection[str], params: Adapt) -> dict[str, Any] | None:
    """Why so many distinct texts are too few to hold some out; None where they are enough."""
    aside = len(_aside(keys, params))
    if aside >= LEAST and aside < len(keys):
        return None
    return {"code": "too_few_texts_to_hold_out", "texts": len(keys), "held_out": aside, "least": LEAST}


def _over_budget(first: Sized, params: Adapt) -> dict[str, Any] | None:
    """Why the budget has no room for the first piece of text; None where it has."""
    if len(first) <= params.budget:
        return None
    return {"code": "budget_below_one_text", "budget": params.budget, "tokens": len(first)}


def _first(pieces: Iterable[Piece], tokens: int, *, texts: int) -> list[Piece]:
    """The first pieces, until there are so many tokens in so many texts."""
    found: list[Piece] = []
    held = 0
    for piece in pieces:
        if held >= tokens and piece.text >= texts:
            break
        found.append(piece)
        held += len(piece)
    return found


def _start(model: MaskedLanguageModel, pieces: Sequence[Piece]) -> None:
    """Let a new head's first answer be how often each token occurs, so that it needn't be learned."""
    bias = model.words()
    counts = np.bincount(np.concatenate([piece.ids[piece.words >= 0] for piece in pieces]), minlength=len(bias)) + 1.0
    with torch.no_grad():
        bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))


def _adaptation(history: History, texts: int, params: Adapt, head: Origin) -> Adaptation:
    finite = bool(np.isfinite(history.losses).all())
    moved = history.losses[history.best] - history.losses[0]
    return Adaptation(
        texts=texts,
        tokens=history.tokens,
        epochs=len(history.losses) - 1,
        held_out=[_mean(losses, history.counts, params.seed) for losses in history.losses] if finite else [],
        change=_mean(moved, history.counts, params.seed) if finite else None,
        best_epoch=history.best,
        stopped=history.stopped,
        head=head,
        precision=device.precision("auto"),
    )


def _mean(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> Interval:
    """Mean over hidden tokens, resampled by text: tokens of one text are alike."""

    def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(sums.sum(axis=1) / counts.sum(axis=1))

    return bootstrap.interval(ratio, sums, counts, resamples=RESAMPLES, level=LEVEL, seed=seed)

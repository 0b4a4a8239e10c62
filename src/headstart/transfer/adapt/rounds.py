"""A budget of tokens as rounds: what passes in each, in which order, and whether only the head learns from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.params.adapt import Adapt
from headstart.transfer.adapt.masking import Piece

BATCH = 16  # texts, or pieces of long ones
HEAD_WARMUP = 0.2  # share of the tokens in which a head that had to be made here learns alone


@dataclass(frozen=True)
class Round:
    """One pass over part of the texts.

    Attributes:
        number: seeds its masks, order and dropout; from 1.
        alone: whether only the head learns.
        batches: pieces of about one length together.
    """

    number: int
    alone: bool
    batches: list[list[Piece]]

    @property
    def tokens(self) -> int:
        return sum(len(piece) for batch in self.batches for piece in batch)


def cut(pieces: Sequence[Piece], params: Adapt, *, made: bool) -> list[Round]:
    """`params.budget` tokens, or `params.epochs` times all of them if that is less, cut into rounds of equal size.

    Pieces come one after another, from the first again after the last. A head `made` here learns alone first, for
    `HEAD_WARMUP` of all tokens. A round for which the budget has no room for one piece is left out.
    """
    total = min(params.budget, params.epochs * sum(map(len, pieces)))
    alone = round(HEAD_WARMUP * total) if made else 0
    ends = [alone + (total - alone) * epoch // params.epochs for epoch in range(1, params.epochs + 1)]
    found: list[Round] = []
    passed = at = 0
    for end, is_alone in ([(alone, True)] if alone else []) + [(end, False) for end in ends]:
        chosen: list[Piece] = []
        while pieces and passed + len(piece := pieces[at % len(pieces)]) <= end:
            chosen.append(piece)
            passed, at = passed + len(piece), at + 1
        if chosen:
            number = len(found) + 1
            found.append(Round(number, is_alone, _batches(chosen, params, number)))
    return found


def _batches(pieces: list[Piece], params: Adapt, number: int) -> list[list[Piece]]:
    """Batches of one length, as far as that goes, in random order; within a length, chance decides."""
    random = np.random.default_rng([params.seed, number])
    lengths = np.array([len(piece) for piece in pieces])
    order = np.lexsort((random.permutation(len(pieces)), lengths)).tolist()
    cut = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [[pieces[at] for at in cut[place]] for place in random.permutation(len(cut))]

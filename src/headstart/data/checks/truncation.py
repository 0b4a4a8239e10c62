"""The check `truncation`: how many texts are longer than what the model reads."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding
from headstart.statistics.interval import wilson

ALLOWED = 0.05  # share of texts that may lose their end before a finding says so
STEP = 32  # tokens; limits are proposed in multiples of it


@dataclass(frozen=True)
class Proposal:
    """Another limit of tokens.

    Attributes:
        tokens: the limit.
        cut_now: share of texts that the present limit cuts.
        cut_then: share that the proposed one cuts.
        work: tokens to compute then, as a multiple of now; attention grows faster.
    """

    tokens: int
    cut_now: float
    cut_then: float
    work: float


def propose(counts: Sequence[int] | NDArray[np.integer], limit: int, most: int, share: float) -> Proposal | None:
    """The lowest limit that cuts no more than a share of texts, or all that the backbone takes; None where it fits.

    Args:
        counts: tokens of each text.
        limit: the present one.
        most: what the backbone takes.
        share: of texts that may be cut.
    """
    lengths = np.asarray(counts, np.int64)
    if not len(lengths) or most <= limit or float((lengths > limit).mean()) <= share:
        return None
    needed = int(np.quantile(lengths, 1 - share, method="inverted_cdf"))
    tokens = min(most, -(-needed // STEP) * STEP)
    work = np.minimum(lengths, tokens).sum() / np.minimum(lengths, limit).sum()
    return Proposal(tokens, float((lengths > limit).mean()), float((lengths > tokens).mean()), float(work))


class Truncation:
    """The check `truncation`: how many texts lose their end because the contract cuts it off.

    Speaks up where the share among the rows looked at is above `share` beyond doubt: the lower end of its interval is,
    so a set that lies just at the bar is named in a share of `level` of all samples.
    """

    def __init__(
        self,
        tokens: Callable[[Sequence[str]], Sequence[int]],
        limit: int,
        *,
        most: int,
        chosen: NDArray[np.bool_],
        share: float,
        level: float,
    ) -> None:
        """Args:
        tokens: how many tokens each text has, special ones included, when nothing is cut off.
        limit: how many the contract keeps.
        most: how many the backbone could take.
        chosen: which rows to look at, by place.
        share: of the rows looked at, that may be cut.
        level: of the test.
        """
        self.tokens, self.limit, self.most, self.chosen = tokens, limit, most, chosen
        self.share, self.level = share, level
        self._counts = np.zeros(len(chosen), np.int32)
        self._seen = np.zeros(len(chosen), np.bool_)

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        places = [
            first + offset
            for offset in np.flatnonzero(self.chosen[first : first + len(payloads)]).tolist()
            if isinstance(payloads[offset], str)
        ]
        if places:
            self._seen[places] = True
            self._counts[places] = self.tokens([payloads[place - first] for place in places])

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        looked: Places = examples.at[self._seen[examples.at]]
        places = looked[self._counts[looked] > self.limit]
        share = wilson(len(places), len(looked), 1 - 2 * self.level)
        often = len(looked) > 0 and share.low > self.share
        better = propose(self._counts[looked], self.limit, self.most, self.share) if often else None
        finding = examples.finding(
            "truncation",
            "unsure" if often else "pass",
            places,
            looked_at=len(looked),
            kept=len(examples.at),
            limit=self.limit,
            allowed=self.share,
            share=share.document(),
            tokens=better.tokens if better else None,
            proposal=asdict(better) if better else None,
        )
        return [({}, finding)]

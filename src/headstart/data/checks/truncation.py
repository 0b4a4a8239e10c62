"""The check `truncation`: how many texts are longer than what the model reads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks.words import of
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding
from headstart.statistics.interval import wilson


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
        chosen: NDArray[np.bool_],
        share: float,
        level: float,
    ) -> None:
        """Args:
        tokens: how many tokens each text has, special ones included, when nothing is cut off.
        limit: how many the contract keeps.
        chosen: which rows to look at, by place.
        share: of the rows looked at, that may be cut.
        level: of the test.
        """
        self.tokens, self.limit, self.chosen, self.share, self.level = tokens, limit, chosen, share, level
        self._long = np.zeros(len(chosen), np.bool_)
        self._seen = np.zeros(len(chosen), np.bool_)

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        places = [
            first + offset
            for offset in np.flatnonzero(self.chosen[first : first + len(payloads)]).tolist()
            if isinstance(payloads[offset], str)
        ]
        if places:
            counts = self.tokens([payloads[place - first] for place in places])
            self._seen[places] = True
            self._long[places] = np.asarray(counts) > self.limit

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        looked: Places = examples.at[self._seen[examples.at]]
        places = looked[self._long[looked]]
        share = wilson(len(places), len(looked), 1 - 2 * self.level)
        often = len(looked) > 0 and share.low > self.share
        reason = f"{of(len(places), len(looked), 'text')} looked at ({len(examples.at):,} rows in all) "
        reason += f"have more than {self.limit} tokens and lose their end"
        reason += f": {share.value:.1%}, at least {share.low:.1%}; the bar is {self.share:.1%}."
        finding = examples.finding(
            "truncation",
            "unsure" if often else "pass",
            places,
            reason,
            "Raise prepare.limits.tokens in params.yaml if the end matters for the label; attention gets dearer."
            if often
            else "",
            looked_at=len(looked),
            share=share.document(),
        )
        return [({}, finding)]

"""Examples that come in groups: rows of one document, patient or camera are right or wrong together.

A hundred rows of one group tell less than a hundred alone. What is said of a mean here rests on how the groups' sums
scatter, so it holds whatever happens within a group.
Source: Cameron and Miller 2015, doi:10.3368/jhr.50.2.317, sections II and VI.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.statistics.interval import Interval, wilson

Groups = Sequence[str | None] | None  # None: there are none; a None among them: an example alone


@dataclass(frozen=True)
class Scatter:
    """How sure groups let one be of a mean.

    Attributes:
        groups: how many there are, examples alone counted as one each.
        error: standard error of the mean.
    """

    groups: int
    error: float

    @classmethod
    def of(cls, values: NDArray[Any], groups: Groups) -> "Scatter | None":
        """Of the mean of `values`, `(n,)`; None where every example is alone."""
        place = places(groups, len(values))
        if place is None:
            return None
        sums, sizes = np.bincount(place, weights=values), np.bincount(place)
        count = len(sums)
        if count == 1:
            return cls(1, math.inf)
        residuals = sums - sizes * float(np.mean(values))
        return cls(count, math.sqrt(count / (count - 1) * float((residuals**2).sum())) / len(values))

    def widened(self, interval: Interval, level: float, *, low: float, high: float) -> Interval:
        """`interval`, no narrower than Student's t over groups makes it, within [`low`, `high`].

        As many degrees of freedom as there are groups, less one; of a single group nothing is known.
        """
        from scipy.stats import t as student

        reach = math.inf if self.groups < 2 else float(student.ppf((1 + level) / 2, self.groups - 1)) * self.error
        return replace(
            interval,
            low=min(interval.low, max(low, interval.value - reach)),
            high=max(interval.high, min(high, interval.value + reach)),
        )

    def document(self) -> dict[str, Any]:
        """`{groups, error}`; the error is null where it is unknown, as JSON has no infinity."""
        return {**asdict(self), "error": self.error if math.isfinite(self.error) else None}

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> "Scatter | None":
        """The inverse of `document()`; None for None."""
        if document is None:
            return None
        error = document["error"]
        return cls(int(document["groups"]), math.inf if error is None else float(error))


def places(groups: Groups, n: int) -> NDArray[np.int64] | None:
    """`(n,)`, a number for each example's group; None where every example is alone.

    Raises:
        ValueError: if there are not `n` of them.
    """
    if groups is None:
        return None
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups of {n} examples")
    if all(group is None for group in groups):
        return None
    own = [f"row {row}" if group is None else f"group {group}" for row, group in enumerate(groups)]
    names, place = np.unique(own, return_inverse=True)
    return None if len(names) == n else place


def count(groups: Groups) -> int | None:
    """How many groups there are, examples alone counted as one each; None where every example is alone."""
    place = places(groups, len(groups or ()))
    return None if place is None else len(np.unique(place))


def share(right: NDArray[np.bool_], level: float, groups: Groups = None) -> Interval:
    """The share of `right`, `(n,)`: Wilson's interval, no narrower than the groups' scatter makes it.

    Args:
        right: which examples are.
        level: two-sided confidence, in (0, 1).
        groups: `(n,)`, which group each example is of.
    """
    found = wilson(int(right.sum()), len(right), level)
    scatter = Scatter.of(np.asarray(right, dtype=np.float64), groups)
    return scatter.widened(found, level, low=0.0, high=1.0) if scatter else found

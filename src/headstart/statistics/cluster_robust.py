"""Cluster-robust standard errors and intervals: rows of one document, patient or camera are right or wrong together.

The standard error of a mean is the delete-one-group jackknife: it is valid whatever the correlation within a group and
however unequal groups are. With few groups it is wider than the sandwich estimate that statsmodels computes (CV1:
0.060 where this gives 0.064, 12 groups), which is too narrow there; statsmodels takes 300 times as long, and seconds
to import.
Sources: Cameron and Miller 2015, doi:10.3368/jhr.50.2.317, section VI (few and unequal clusters); the delete-one-group
jackknife of MacKinnon, Nielsen and Webb 2023, doi:10.1002/jae.2969; effective number of groups: Kish 1965.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.statistics.interval import Interval, wilson

Groups = Sequence[str | None] | None  # None: there are none; a None among them: an example alone
LEAST = 0.5  # degrees of freedom: one group may hold nearly all examples
FEW = 5  # groups in which something differs; with fewer the cluster-robust error is unreliable


@dataclass(frozen=True)
class ClusterRobust:
    """Cluster-robust standard error of a mean.

    Attributes:
        groups: how many there are, examples alone counted as one each.
        effective: the equivalent number of equally large groups: n^2 / sum of squared sizes, at most `groups`.
        error: standard error of the mean; infinite for a single group.
    """

    groups: int
    effective: float
    error: float

    @classmethod
    def of(cls, values: NDArray[Any], groups: Groups) -> "ClusterRobust | None":
        """Of the mean of `values`, `(n,)`; None where every example is alone."""
        place = places(groups, len(values))
        return None if place is None else cls.over(values, place)

    @classmethod
    def over(cls, values: NDArray[Any], place: NDArray[np.int64]) -> "ClusterRobust":
        """The same, from the number of each example's group, as `places` gives it."""
        n, sums, sizes = len(values), np.bincount(place, weights=values), np.bincount(place)
        count = len(sums)
        if count == 1:
            return cls(1, 1.0, math.inf)
        moved = (sums - sizes * float(np.mean(values))) / (n - sizes)  # by how much leaving each group out moves it
        error = math.sqrt((count - 1) / count * float((moved**2).sum()))
        return cls(count, effective(sizes), error)

    def reach(self, level: float) -> float:
        """Half the width of Student's t interval, with as many degrees of freedom as effective groups, less one."""
        return math.inf if self.groups < 2 else quantile(self.effective, level) * self.error

    def widened(self, interval: Interval, level: float, *, low: float, high: float) -> Interval:
        """`interval`, no narrower than the cluster-robust one, within [`low`, `high`]."""
        reach = self.reach(level)
        return replace(
            interval,
            low=min(interval.low, max(low, interval.value - reach)),
            high=max(interval.high, min(high, interval.value + reach)),
        )

    def document(self) -> dict[str, Any]:
        """`{groups, effective, error}`; the error is null where it is unknown, as JSON has no infinity."""
        return {**asdict(self), "error": self.error if math.isfinite(self.error) else None}

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> "ClusterRobust | None":
        """The inverse of `document()`; None for None.

        Raises:
            ValueError: if it is not such a document.
        """
        if document is None:
            return None
        try:
            groups, effective, error = int(document["groups"]), float(document["effective"]), document["error"]
            found = cls(groups, effective, math.inf if error is None else float(error))
        except (KeyError, TypeError) as wrong:
            raise ValueError(f"{document!r} is not a cluster-robust standard error") from wrong
        if not 1 <= found.effective <= found.groups or not found.error >= 0:
            raise ValueError(f"{document!r} is not a cluster-robust standard error")
        return found


def effective(sizes: NDArray[np.int64]) -> float:
    """The equivalent number of equally large groups, for groups of these sizes."""
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())


def quantile(groups: float, level: float) -> float:
    """The critical value of Student's t: half the width, in standard errors, of an interval at `level`."""
    from scipy.stats import t as student

    return float(student.ppf((1 + level) / 2, max(groups - 1, LEAST)))


def places(groups: Groups, n: int) -> NDArray[np.int64] | None:
    """`(n,)`, a number for each example's group; None where every example is alone.

    Raises:
        ValueError: if there are not `n` of them.
    """
    if groups is None:
        return None
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups of {n} examples")
    number = dict[str, int]()
    place = np.empty(n, dtype=np.int64)
    alone = 0
    for row, group in enumerate(groups):
        if group is None:
            place[row], alone = -1 - alone, alone + 1
        else:
            place[row] = number.setdefault(group, len(number))
    if alone + len(number) == n:
        return None
    return np.where(place < 0, len(number) - 1 - place, place)


def count(groups: Groups) -> int | None:
    """How many groups there are, examples alone counted as one each; None where every example is alone."""
    place = places(groups, len(groups or ()))
    return None if place is None else len(np.unique(place))


def error(values: NDArray[np.float64], groups: Groups = None) -> float:
    """Standard error of the mean of `values`, `(n,)`: the larger of the naive and the cluster-robust one."""
    alone = float(values.std(ddof=min(1, len(values) - 1))) / math.sqrt(len(values))
    robust = ClusterRobust.of(values, groups)
    return alone if robust is None else max(alone, robust.error)


def share(right: NDArray[np.bool_], level: float, groups: Groups = None) -> Interval:
    """The share of `right`, `(n,)`: Wilson's interval, no narrower than the cluster-robust one.

    Where fewer than `FEW` groups hold a right answer, or a wrong one, the cluster-robust error is unreliable: the
    interval is then also no narrower than Wilson's with the effective number of groups as its sample size.

    Args:
        right: which examples are.
        level: two-sided confidence, in (0, 1).
        groups: `(n,)`, which group each example is of.
    """
    found = wilson(int(right.sum()), len(right), level)
    if (place := places(groups, len(right))) is None:
        return found
    robust = ClusterRobust.over(right.astype(np.float64), place)
    found = robust.widened(found, level, low=0.0, high=1.0)
    if min(len(np.unique(place[right])), len(np.unique(place[~right]))) < FEW:
        few = wilson(found.value * robust.effective, robust.effective, level)
        found = replace(found, low=min(found.low, few.low), high=max(found.high, few.high))
    return found

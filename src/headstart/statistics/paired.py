"""Two models on the same examples: only the examples on which they differ count.

    candidate right, champion wrong: wins        value = (wins - losses) / n
    candidate wrong, champion right: losses

Far fewer examples are needed than with two test sets: a drop of 1 point is seen (level 0.05, power 0.8) with 1,231
examples where 2% differ, against 11,100 for each model at accuracy 0.9.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.statistics import cluster_robust
from headstart.statistics.cluster_robust import ClusterRobust, Groups
from headstart.statistics.interval import Interval, normal_quantile

STEPS = 60  # halvings of [-1, 1] when an end of the interval is sought: 2^-59


@dataclass(frozen=True)
class Difference:
    """Accuracy of the candidate minus that of the champion, with its interval.

    Attributes:
        interval: Tango's score interval; no narrower than one clustered by group, where examples come in groups.
        p_value: exact McNemar, two-sided: how often a split as uneven turns up between equally good models.
        wins: examples that only the candidate got right.
        losses: examples that only the champion got right.
        cluster_robust: of the groups that examples come in; None where each is alone.
    """

    interval: Interval
    p_value: float
    wins: int
    losses: int
    cluster_robust: ClusterRobust | None = None

    def counts(self) -> dict[str, Any]:
        """What `from_counts` needs to make the interval anew at another level."""
        own = (
            {"cluster_robust": self.cluster_robust.document()} if self.cluster_robust else {}
        )  # McNemar counts rows: not for groups
        return {"wins": self.wins, "losses": self.losses, "n": self.interval.n, "p_value": self.p_value, **own}


def difference(
    correct_a: NDArray[np.bool_],
    correct_b: NDArray[np.bool_],
    level: float,
    groups: Groups = None,
) -> Difference:
    """How much better A is than B on the same examples.

    Examples of one group are right or wrong together, so a hundred of them tell less than a hundred alone.

    Args:
        correct_a: `(n,)`, whether the candidate was right.
        correct_b: `(n,)`, whether the champion was, on the same examples in the same order.
        level: two-sided confidence of the interval.
        groups: `(n,)`, which group each example is of; None for one alone. The p-value takes no notice of them.

    Raises:
        ValueError: if the lengths differ.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"answers of shapes {a.shape} and {b.shape} are not paired")
    robust = ClusterRobust.of(a.astype(np.float64) - b, groups)
    return from_counts(int((a & ~b).sum()), int((~a & b).sum()), len(a), level, robust)


def from_counts(wins: int, losses: int, n: int, level: float, robust: ClusterRobust | None = None) -> Difference:
    """`difference`, from counts that were kept; with no example all of [-1, 1] is possible.

    Raises:
        ValueError: if the counts are negative or more than `n`.
    """
    if min(wins, losses) < 0 or wins + losses > n:
        raise ValueError(f"{wins} wins and {losses} losses of {n} examples are not counts of pairs")
    interval = _tango(wins, losses, n, level)
    if robust is not None and n:
        interval = robust.widened(interval, level, low=-1.0, high=1.0)
    return Difference(interval, mcnemar(wins, losses), wins, losses, robust)


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p-value that two models are equally good; 1 where they never differ.

    Among the examples on which just one is right, each is so with probability one half.
    Source: McNemar 1947, doi:10.1007/BF02295996, with the binomial instead of its approximation.
    """
    differing, rarer = wins + losses, min(wins, losses)
    tail = ways = 1  # how many of the 2^differing splits have 0 on the rarer side; then 1, 2, ...
    for k in range(rarer):
        ways = ways * (differing - k) // (k + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**differing))


def non_inferior(difference: Interval, margin: float) -> Literal["pass", "fail", "unsure"]:
    """Whether the candidate is worse by no more than `margin` (0 or more), as far as the interval tells.

    `pass` if all of the interval lies above `-margin`, `fail` if all of it lies below, else `unsure`. With an
    interval of level `1 - 2 * a`, a candidate that is worse by the margin or more passes at most `a` of the time.
    """
    if difference.low > -margin:
        return "pass"
    return "fail" if difference.high < -margin else "unsure"


def sureness(found: Difference, margin: float) -> float:
    """How sure one may be that the true difference is above `margin`, in [0, 1]: where the interval just reaches it.

    `1 - a` means that `margin` is the lower end of the interval of level `1 - 2 * a`: Tango's score, and Student's t
    over the groups where that is less sure.
    """
    from scipy.stats import t as student

    n, robust = found.interval.n, found.cluster_robust
    if n == 0:
        return 0.5
    sure = NormalDist().cdf(_score(found.wins, found.losses, n, margin))
    if robust is None:
        return sure
    gap = found.interval.value - margin
    if not 0 < robust.error < math.inf:
        return sure if robust.error == 0 else 0.5
    by_group = float(student.cdf(gap / robust.error, max(robust.effective - 1, cluster_robust.LEAST)))
    return min(sure, by_group) if gap > 0 else max(sure, by_group)


def sample_size(drop: float, differing: float, level: float, power: float) -> int:
    """How many paired examples show a drop in accuracy.

    Args:
        drop: the difference to be seen, e.g. 0.01.
        differing: share of examples on which just one of the two is right; at least `drop`.
        level: one-sided, e.g. 0.05.
        power: chance to see it, e.g. 0.8.

    Raises:
        ValueError: if `drop` is not in (0, differing].
    """
    if not 0 < drop <= differing:
        raise ValueError(f"a drop of {drop} where {differing} of the examples differ is not possible")
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level) + normal.inv_cdf(power)
    return math.ceil(reach**2 * (differing - drop**2) / drop**2)


def _tango(wins: int, losses: int, n: int, level: float) -> Interval:
    """Score interval of a paired difference; sound where wins and losses are few or none.

    Source: Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B.
    """
    if n == 0:
        return Interval(0.0, -1.0, 1.0, 0)
    value, z = (wins - losses) / n, normal_quantile(level)
    low = -1.0 if losses == n else _end(wins, losses, n, z, -1.0, value)
    high = 1.0 if wins == n else _end(wins, losses, n, -z, 1.0, value)
    return Interval(value, low, high, n)


def _end(wins: int, losses: int, n: int, z: float, outside: float, inside: float) -> float:
    """Where the score statistic equals `z`, between `outside` (more extreme) and `inside` (less), by halving."""
    for _ in range(STEPS):
        middle = (outside + inside) / 2
        if abs(_score(wins, losses, n, middle)) > abs(z):
            outside = middle
        else:
            inside = middle
    return inside


def _score(wins: int, losses: int, n: int, true: float) -> float:
    """Standardised distance between the observed difference and a `true` one, in (-1, 1)."""
    # share of losses, estimated under the true difference: the root of a x^2 + b x + c
    a, b, c = 2 * n, -wins - losses + (2 * n - wins + losses) * true, -losses * true * (1 - true)
    losing = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * losing + true * (1 - true))
    distance = wins - losses - n * true
    if variance <= 0:
        return 0.0 if distance == 0 else math.inf
    return distance / math.sqrt(variance)

"""A number and how sure we are of it: what every metric, gate and monitor passes around."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided confidence interval.

    Attributes:
        value: the point estimate.
        low: lower end, at most `value`.
        high: upper end, at least `value`.
        n: how many examples it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def document(self) -> dict[str, Any]:
        """`{value, low, high, n}` as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Interval":
        """The inverse of `document()`; other keys are left alone."""
        return cls(float(document["value"]), float(document["low"]), float(document["high"]), int(document["n"]))


def wilson(successes: float, n: float, level: float) -> Interval:
    """A share with Wilson's score interval; right also where every example, or none, is a success.

    With no example the share is 0.5 and the interval all of [0, 1]: nothing is known.
    Source: Wilson 1927; recommended for small n by Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286.

    Args:
        successes: in [0, n].
        n: examples, or how many they are worth.
        level: two-sided confidence, in (0, 1), e.g. 0.95.

    Raises:
        ValueError: if the counts or the level are out of range.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} examples is not a share")
    if n == 0:
        return Interval(0.5, 0.0, 1.0, 0)
    z2 = normal_quantile(level) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high, int(n))


def normal_quantile(level: float) -> float:
    """How many standard deviations to either side hold `level` of a normal: 1.96 for 0.95.

    Raises:
        ValueError: if `level` is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} is not in (0, 1)")
    return NormalDist().inv_cdf((1 + level) / 2)

"""Is a number that goes with each answer distributed as in the reference? Asked of confidence and input properties."""

import numpy as np
from numpy.typing import NDArray

from headstart.findings import Finding
from headstart.statistics import two_sample


def compare(
    check: str, reference: NDArray[np.float64], window: NDArray[np.float64], level: float, *, noun: str, action: str
) -> Finding:
    """The two-sample test of Kolmogorov and Smirnov as a finding; values that are not finite are left out.

    Args:
        check: the finding's name.
        reference: `(n,)`.
        window: `(m,)`.
        level: it fails at p-values at or below.
        noun: what the number is, to begin a sentence with.
        action: what to do when it fails.
    """
    before, after = reference[np.isfinite(reference)], window[np.isfinite(window)]
    if not len(before) or not len(after):
        return Finding(check, "unsure", None, level, f"{noun} was not measured on both sides.")
    test = two_sample.ks(before, after)
    medians = float(np.median(before)), float(np.median(after))
    failed = test.p_value <= level
    return Finding(
        check=check,
        verdict="fail" if failed else "pass",
        statistic=test.p_value,
        bar=level,
        reason=(
            f"{noun} has median {medians[1]:.4g}, {medians[0]:.4g} in the reference; the distributions differ by "
            f"{test.statistic:.3f} at most, by chance with p = {test.p_value:.2g}"
            f"{'' if failed else ', which is no alarm'}."
        ),
        action=action if failed else "",
        evidence={"distance": test.statistic, "median_reference": medians[0], "median_window": medians[1]},
    )

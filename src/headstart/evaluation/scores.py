"""The published metrics, each with its interval: accuracy, macro_f1, nll, ece."""

import math

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation import metrics
from headstart.statistics import bootstrap, cluster_robust
from headstart.statistics.bootstrap import Sampling
from headstart.statistics.cluster_robust import Groups
from headstart.statistics.interval import Interval


def score(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.int64],
    *,
    bins: int,
    sampling: Sampling,
    groups: Groups = None,
) -> dict[str, Interval]:
    """All four metrics of `(examples, classes)` probabilities against `(examples,)` class indices.

    Raises:
        DataError: if there is no example, or a row does not sum to 1.
    """
    classified = labelled(probabilities.argmax(axis=1), targets, probabilities.shape[1], sampling, groups)
    return {**classified, **probabilistic(probabilities, targets, bins=bins, sampling=sampling, groups=groups)}


def labelled(
    predicted: NDArray[np.int64],
    targets: NDArray[np.int64],
    classes: int,
    sampling: Sampling,
    groups: Groups = None,
) -> dict[str, Interval]:
    """`accuracy` (Wilson, widened by groups where there are some) and `macro_f1` (percentile bootstrap) of indices.

    Where no example is wrong, resampling can't show any error either; then Wilson's lower end stands in for macro-F1's.
    """
    right = cluster_robust.share(predicted == targets, sampling.level, groups)
    f1 = bootstrap.interval(
        lambda chosen, true: metrics.macro_f1_each(chosen, true, classes),
        predicted,
        targets,
        **sampling.document(),
        groups=groups,
        within=(0.0, 1.0),
    )
    if right.value == 1.0:
        f1 = Interval(f1.value, right.low, f1.high, f1.n)
    return {"accuracy": right, "macro_f1": f1}


def probabilistic(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.int64],
    *,
    bins: int,
    sampling: Sampling,
    groups: Groups = None,
) -> dict[str, Interval]:
    """`nll` (percentile bootstrap) and `ece` (symmetric bootstrap, cut off at 0 and 1)."""
    nll = bootstrap.interval(
        bootstrap.mean,
        metrics.surprise(probabilities, targets),
        **sampling.document(),
        groups=groups,
        within=(0.0, -math.log(metrics.SMALLEST)),
    )
    place, gap = metrics.calibration_gaps(probabilities, targets, bins)
    ece = bootstrap.interval(
        lambda cell, off: metrics.calibration_error_each(cell, off, bins),
        place,
        gap,
        **sampling.document(),
        method="symmetric",
        groups=groups,
        within=(0.0, 1.0),
    )
    return {"nll": nll, "ece": Interval(ece.value, max(ece.low, 0.0), min(ece.high, 1.0), ece.n)}

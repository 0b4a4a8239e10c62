"""Temperature scaling: one number, fitted on validation, so that a probability means what it says."""

import math

import numpy as np
from numpy.typing import NDArray

from headstart.bundle import Calibration
from headstart.errors import DataError

COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> Calibration:
    """The temperature under which validation labels are least surprising; it changes no label.

    A standard normal prior on its logarithm, worth about one example, keeps it near 1 where validation can't tell:
    with every answer right, likelihood alone would make each of them certain. With no example it is 1.
    Source: Guo et al. 2017, arXiv:1706.04599.

    Args:
        logits: `(examples, classes)`, as the model gives them.
        targets: `(examples,)`, class indices.

    Raises:
        DataError: if a logit is not finite.
    """
    from scipy.optimize import minimize_scalar

    scores = np.asarray(logits, dtype=np.float64)  # (examples, classes)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DataError(
            f"the logits of validation example {row} are not all finite numbers.",
            action="Train again with a lower learning rate, or in float32.",
        )
    scores = scores - scores.max(axis=1, keepdims=True)
    true = scores[np.arange(len(targets)), targets]

    def surprise(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        nats = np.log(np.exp(scores * inverse).sum(axis=1)) - true * inverse
        return float(nats.sum()) + log_temperature**2 / 2

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Calibration(temperature=math.exp(float(found.x)), bias=(0.0,) * scores.shape[1], abstain_below=0.0)

"""What is done where a trained network forgot more than `forgetting.budget`, the cheapest first.

    interpolation   between the weights at the start and after training (WiSE-FT); nothing is trained
    pull            trained once more, each step pulled back towards the start (L2-SP)

The second is tried only where no interpolation stays within the budget at an accuracy within `WORTH` of the network's.
Of all points that do, the one of least loss is taken; where there is none, the most accurate within the budget; where
there is none either, the one that forgot least, and the report says so: no gate is closed by it.
Sources: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT); Li et al. 2018, arXiv:1802.01483 (L2-SP).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from headstart.backbones.network import Network
from headstart.transfer.retention import Retention

Weights = Mapping[str, Tensor]
Code = Literal["unknown", "within_budget", "mitigated", "none_within_budget"]

ALPHAS = (0.75, 0.5, 0.25)  # shares of the trained weights
PULL = 1.0  # share of the distance to the start that a step goes back, times the learning rate
WORTH = 0.005  # validation accuracy that a mitigation may cost before the next one is tried
TRAINED, INTERPOLATION, PULLED = "trained", "interpolation", "pull"


@dataclass(frozen=True)
class Point:
    """One network: what it kept against how accurate it is.

    Attributes:
        name: `trained`, `interpolation 0.75`, `pull`.
        accuracy: on validation.
        loss: on validation, after temperature scaling; None where it is not finite.
        retention: what it kept.
        weights: of the whole network.
    """

    name: str
    accuracy: float
    loss: float | None
    retention: Retention
    weights: Weights

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "accuracy": self.accuracy, "loss": self.loss, "lost": self.retention.lost}


@dataclass(frozen=True)
class Mitigation:
    """What was tried.

    Attributes:
        points: in the order they were made; the first is the network as training left it.
        chosen: the place of one among them.
        code: why.
    """

    points: list[Point]
    chosen: int
    code: Code

    @property
    def point(self) -> Point:
        return self.points[self.chosen]

    def document(self, budget: float) -> dict[str, Any]:
        points = [point.document() for point in self.points]
        return {"budget": budget, "points": points, "chosen": self.point.name, "code": self.code}


def mitigate(
    trained: Point,
    start: Weights,
    budget: float,
    judge: Callable[[str, Weights], Point],
    retrain: Callable[[float], Weights | None],
) -> Mitigation:
    """Mitigate until a point is good enough.

    Args:
        trained: the network, over the budget or not.
        start: weights of the network that training started from: the pretrained backbone under the probe.
        budget: accuracy on the backbone's own sample that may be lost.
        judge: makes a point of weights.
        retrain: weights of a network trained from the start with this pull; None where its losses were not finite.
    """
    if trained.retention.lost is None:
        return Mitigation([trained], 0, "unknown")
    if trained.retention.lost <= budget:
        return Mitigation([trained], 0, "within_budget")
    points = [trained]
    for alpha in ALPHAS:
        points.append(judge(f"{INTERPOLATION} {alpha:g}", interpolated(start, trained.weights, alpha)))
    if not _near(points, budget) and (weights := retrain(PULL)) is not None:
        points.append(judge(PULLED, weights))
    near, within = _near(points, budget), [at for at, point in enumerate(points) if _within(point, budget)]
    if near:
        chosen = min(near, key=lambda at: _loss(points[at]))
    elif within:
        chosen = max(within, key=lambda at: (points[at].accuracy, -_loss(points[at])))
    else:
        least = min(range(len(points)), key=lambda at: points[at].retention.lost or 0.0)
        return Mitigation(points, least, "none_within_budget")
    return Mitigation(points, chosen, "mitigated")


def interpolated(start: Weights, trained: Weights, alpha: float) -> Weights:
    """`(1 - alpha) * start + alpha * trained`; numbers that are not floating-point are the start's."""
    return {
        name: torch.lerp(value, trained[name], alpha) if value.is_floating_point() else value
        for name, value in start.items()
    }


def put(network: Network, weights: Weights) -> Network:
    """`network` with these weights, in evaluation mode."""
    network.load_state_dict(dict(weights))
    return network.eval()


def _near(points: Sequence[Point], budget: float) -> list[int]:
    """Places of the mitigated points within the budget that cost no more than `WORTH`."""
    bar = points[0].accuracy - WORTH
    return [at for at, point in enumerate(points) if at and _within(point, budget) and point.accuracy >= bar]


def _within(point: Point, budget: float) -> bool:
    return point.retention.lost is not None and point.retention.lost <= budget


def _loss(point: Point) -> float:
    return math.inf if point.loss is None else point.loss

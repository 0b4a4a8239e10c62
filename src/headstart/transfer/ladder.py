"""Where a fine-tune forgot more than `forgetting.budget` allows: the ladder of cures, the cheapest first.

    1  interpolation   between the start and the tuned weights (WiSE-FT), alpha chosen on validation: nothing is trained
    2  pull            trained again, pulled towards its start (L2-SP)
    3  layer decay     trained again, lower layers slower

It is climbed until a rung stays within the budget at a target accuracy within `worth` of the tuned network's; then of
all such points the one of least loss is handed on, and where there is none the most accurate within the budget. Where
that is none either, the most retentive point is, and the report page says so; no gate is closed by it.
Sources: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT); Li et al. 2018, arXiv:1802.01483 (L2-SP).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headstart.backbones.network import Network
from headstart.params.transfer import Forgetting
from headstart.transfer.retention import Retention

Weights = Mapping[str, Tensor]
INTERPOLATION = "interpolation"  # how the names of those rungs begin


@dataclass(frozen=True)
class Point:
    """One candidate: what it keeps against how right it is on the target.

    Attributes:
        name: the rung, `tuned` for the fine-tune itself.
        accuracy: on validation.
        loss: on validation, after temperature scaling.
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
class Climb:
    """What the ladder gave.

    Attributes:
        points: every candidate, in the order it was made; the first is the fine-tune.
        chosen: its place among them.
        reason: in plain words.
    """

    points: list[Point]
    chosen: int
    reason: str

    def document(self, budget: float) -> dict[str, Any]:
        return {
            "budget": budget,
            "points": [point.document() for point in self.points],
            "chosen": self.points[self.chosen].name,
            "reason": self.reason,
        }


def climb(
    tuned: Point,
    start: Weights,
    params: Forgetting,
    judge: Callable[[str, Weights], Point],
    retrain: Callable[[str, Mapping[str, float]], Weights | str],
    *,
    by_layer: bool = True,
) -> Climb:
    """Climb until a rung is good enough.

    Args:
        tuned: the fine-tune, over the budget or not.
        start: weights of the network it started from: the pretrained backbone under the probe.
        params: the budget, and each rung's setting.
        judge: makes a point of weights.
        retrain: weights of a fine-tune from the start with keys of `fine_tune` replaced, or why there are none.
        by_layer: whether the strategy's layers learn at rates of their own, so that a stronger decay is another run.
    """
    if tuned.retention.lost is None or tuned.retention.lost <= params.budget:
        return Climb([tuned], 0, _said(tuned, params.budget))
    points, broken = [tuned], list[str]()
    for alpha in sorted(params.alphas, reverse=True):
        mixed = interpolated(dict(start), dict(tuned.weights), alpha)
        points.append(judge(f"{INTERPOLATION} {alpha:g}", mixed))
    rungs: list[tuple[str, Mapping[str, float]]] = [
        (f"pull {params.pull:g}", {"pull": params.pull}),
        (f"layer decay {params.layer_decay:g}", {"layer_decay": params.layer_decay}),
    ]
    for name, changes in rungs if by_layer else rungs[:1]:
        if _good_enough(points, params):
            break
        if isinstance(weights := retrain(name, changes), str):
            broken.append(f"{name} ({weights})")
        else:
            points.append(judge(name, weights))
    found = _chosen(points, params)
    told = f" Not climbed: {', '.join(broken)}." if broken else ""
    return replace(found, reason=found.reason + told)


def _good_enough(points: list[Point], params: Forgetting) -> bool:
    return any(
        _within(point, params.budget) and point.accuracy >= points[0].accuracy - params.worth for point in points[1:]
    )


def _within(point: Point, budget: float) -> bool:
    return point.retention.lost is not None and point.retention.lost <= budget


def _chosen(points: list[Point], params: Forgetting) -> Climb:
    tuned = points[0]
    within, worth = [at for at, point in enumerate(points) if _within(point, params.budget)], params.worth
    told = _said(tuned, params.budget)
    if within:
        near = [at for at in within if points[at].accuracy >= tuned.accuracy - worth]
        best = (
            min(near, key=lambda at: _or_inf(points[at].loss))
            if near
            else max(within, key=lambda at: (points[at].accuracy, -_or_inf(points[at].loss)))
        )
        point = points[best]
        return Climb(
            points,
            best,
            f"{told} {point.name} lost {point.retention.lost:.3f} and is right on {point.accuracy:.3f} of validation "
            f"({tuned.accuracy:.3f} before).",
        )
    best = min(range(len(points)), key=lambda at: points[at].retention.lost or 0.0)
    point = points[best]
    return Climb(
        points,
        best,
        f"{told} No rung stayed within it; {point.name}, which lost {point.retention.lost:.3f}, came nearest.",
    )


def _or_inf(loss: float | None) -> float:
    return math.inf if loss is None else loss


def _said(tuned: Point, budget: float) -> str:
    lost = tuned.retention.lost
    if lost is None:
        return (
            "What was forgotten is unknown: the backbone has no reference sample with labels. Name one under "
            "backbones.*.reference: any source of what it was made for, some hundred rows of two classes or more."
        )
    return f"The fine-tune lost {lost:.3f} of accuracy on the backbone's own sample; {budget:g} is allowed."


def put(network: Network, weights: Weights) -> Network:
    """`network` with these weights, in evaluation mode."""
    with torch.no_grad():
        network.load_state_dict(dict(weights))
    return network.eval()


def interpolated(first: Weights, second: Weights, share: float) -> Weights:
    """`(1 - share) * first + share * second`, number by number; what is not a floating-point number is the first's."""
    return {
        name: torch.lerp(value, second[name], share) if value.is_floating_point() else value
        for name, value in first.items()
    }

"""Greedy soup: the average of a run's best epochs, each kept in only if validation does not get worse by it.

Weights along one run lie in one basin; their average is often flatter and better calibrated than any of them.
BatchNorm statistics that learned (from scratch) are averaged with them.
Source: Wortsman et al. 2022, arXiv:2203.05482 (greedy soup).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

INGREDIENTS = 3  # epochs whose weights are kept, the best first

Weights = dict[str, Tensor]


def greedy(paths: Sequence[Path], judge: Callable[[Weights], tuple[float, float]]) -> tuple[Weights, int]:
    """The averaged weights, and how many epochs went into them.

    Args:
        paths: weights of epochs, the best first; at least one.
        judge: the lower the better, of weights.
    """
    kept = load_file(paths[0])
    count, reached = 1, judge(kept)
    for path in paths[1:INGREDIENTS]:
        tried = mixed(kept, load_file(path), 1 / (count + 1))
        if (score := judge(tried)) <= reached:
            kept, count, reached = tried, count + 1, score
    return kept, count


def mixed(first: Weights, second: Weights, share: float) -> Weights:
    """`(1 - share) * first + share * second`, number by number; what is not a floating-point number is the first's."""
    return {
        name: torch.lerp(value, second[name], share) if value.is_floating_point() else value
        for name, value in first.items()
    }

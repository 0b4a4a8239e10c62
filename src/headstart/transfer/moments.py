"""Moments of what a network sees: of its features against a reference's, of each BatchNorm's input against the stored.

Intervals come from random halves of the examples: what a statistic varies by from half to half is what it varies by
from sample to sample of the whole size. Source: the delete-half jackknife, Shao and Wu 1989,
doi:10.1214/aos/1176347263.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.backbones.batchnorm import norms
from headstart.backbones.network import Network
from headstart.predictor import Preprocessor
from headstart.statistics.gaussian import Moments, symmetric_divergence
from headstart.statistics.interval import Interval
from headstart.statistics.representation import frechet
from headstart.transfer.examples import tensors

BATCH = 32


@dataclass(frozen=True)
class Divergence:
    """How far the inputs of the BatchNorms have moved from the statistics that they normalise by.

    Attributes:
        mean: over all layers.
        layers: by layer, input side first.
    """

    mean: Interval
    layers: list[tuple[str, Interval]]


def feature_distance(
    seen: NDArray[np.float32], own: NDArray[np.float32], *, draws: int, level: float, seed: int
) -> tuple[Interval, Interval]:
    """Squared Fréchet distance of features to a reference's, and the yardstick: between two halves of the reference.

    Each draw takes a random part of the data and two of the reference, all of one size, since small samples look
    further apart than large ones. A distance no larger than its yardstick is none.

    Args:
        seen: `(examples, d)`, at least 4.
        own: `(reference, d)`, at least 4.
        draws: how many; more: steadier ends, more time.
        level: two-sided confidence.
        seed: of the draws.

    Returns:
        Both as the mean over draws, `n` the size of a part, in squared units of the features.
    """
    generator = np.random.default_rng(seed)
    size = min(len(seen), len(own)) // 2
    distances, yardsticks = [], []
    for _ in range(draws):
        part, order = seen[generator.permutation(len(seen))[:size]], generator.permutation(len(own))
        one, other = own[order[:size]], own[order[size : 2 * size]]
        distances.append(frechet(part, one))
        yardsticks.append(frechet(other, one))
    return _spread(np.array(distances), level, size), _spread(np.array(yardsticks), level, size)


def batch_norm_divergence(
    network: Network, preprocessor: Preprocessor, inputs: Sequence[Any], *, draws: int, level: float, seed: int
) -> Divergence | None:
    """Symmetric divergence, in nats, between each BatchNorm's input on these images and its running statistics.

    Averaged over channels; see `statistics.gaussian.symmetric_divergence`.

    Args:
        network: run in evaluation mode, and left as it was.
        preprocessor: the contract's.
        inputs: raw images, at least 2.
        draws: random halves behind the intervals.
        level: two-sided confidence.
        seed: of the draws.

    Returns:
        None where the network has no BatchNorm that keeps statistics.
    """
    generator, count = np.random.default_rng(seed), len(inputs)
    halves = np.array([generator.permutation(count) < count // 2 for _ in range(draws)])
    weight = np.concatenate([np.ones((1, count)), halves]).astype(np.float64)  # (1 + draws, examples)
    taps = {name: _Tap(module) for name, module in _kept(network).items()}
    if not taps:
        return None
    device, mode = next(network.parameters()).device, network.training
    network.eval()
    with torch.inference_mode(), _tapped(taps):
        for start in range(0, count, BATCH):
            for tap in taps.values():
                tap.weight = torch.from_numpy(weight[:, start : start + BATCH]).to(device)
            items = preprocessor.prepare(inputs[start : start + BATCH])
            network.features(**tensors(preprocessor.collate(items), device))
    network.train(mode)
    by_layer = {name: tap.divergences() for name, tap in taps.items() if tap.seen is not None}
    layers = [(name, _around(values, level, count)) for name, values in by_layer.items()]
    return Divergence(_around(np.mean(list(by_layer.values()), axis=0), level, count), layers)


class _Tap:
    """Adds up what enters a BatchNorm: once with every example, once a half."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.weight = torch.empty(0)
        self.seen: Tensor | None = None  # (3, 1 + draws, channels): counts, sums, sums of squares

    def add(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        values = values.reshape(*values.shape[:2], -1)  # (n, channels, positions)
        counts = torch.full_like(values[..., 0], values.shape[-1])
        sums = [counts, values.sum(dim=-1), values.square().sum(dim=-1)]
        weighted = torch.stack([self.weight @ each for each in sums])
        self.seen = weighted if self.seen is None else self.seen + weighted

    def divergences(self) -> NDArray[np.float64]:
        """Mean over channels, `(1 + draws,)`: of all examples, then of each half."""
        assert self.seen is not None
        seen = Moments(*self.seen.cpu().numpy())
        stored_mean, stored_variance = (
            each.double().cpu().numpy() for each in (self.module.running_mean, self.module.running_var)
        )
        apart = symmetric_divergence(seen.mean, seen.variance, stored_mean, stored_variance, epsilon=self.module.eps)
        return np.asarray(apart.mean(axis=1), dtype=np.float64)


def _kept(network: Network) -> dict[str, nn.Module]:
    """BatchNorms that keep statistics, by their place in the backbone."""
    known = {id(module) for module in norms([network.backbone])}
    return {
        name: module
        for name, module in network.backbone.named_modules()
        if id(module) in known and module.running_mean is not None
    }


@contextmanager
def _tapped(taps: dict[str, _Tap]) -> Iterator[None]:
    hooks = [tap.module.register_forward_pre_hook(tap.add) for tap in taps.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _spread(values: NDArray[np.float64], level: float, count: int) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean), count)


def _around(values: NDArray[np.float64], level: float, count: int) -> Interval:
    """The first value with the quantiles of the others, moved to where it stands: halves look further away."""
    value = float(values[0])
    low, high = np.quantile(values[1:] - values[1:].mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, max(0.0, value + min(0.0, float(low))), value + max(0.0, float(high)), count)

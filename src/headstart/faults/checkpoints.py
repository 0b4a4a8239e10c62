"""Faults of a network's stored BatchNorm statistics; each changes a `model.safetensors` in place.

They are what public bug reports describe: statistics that moved while layers were frozen, statistics lost when
training was resumed, batches that are too small, a last batch of one image, and a momentum of TensorFlow read as
PyTorch's, which keeps little but the last batch.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEAN, VARIANCE = ".running_mean", ".running_var"
Statistic = NDArray[np.floating]


def statistics_moved(path: Path, severity: int, generator: np.random.Generator) -> None:
    """Running means drift by a share of their own deviation, variances by a factor: what another domain leaves."""
    shift = (0.1, 0.3, 0.6, 1.0, 1.6)[severity - 1]

    def moved(mean: Statistic, variance: Statistic) -> tuple[Statistic, Statistic]:
        sign = generator.choice([-1.0, 1.0], size=mean.shape)
        return mean + sign * shift * np.sqrt(variance), variance * (1 + shift)

    _edit(path, moved)


def statistics_lost(path: Path) -> None:
    """Means of 0 and variances of 1, as a new network has them."""
    _edit(path, lambda mean, variance: (np.zeros_like(mean), np.ones_like(variance)))


def last_batch_kept(path: Path, severity: int, generator: np.random.Generator) -> None:
    """Statistics of one small batch: unbiased but noisy, the noisier the smaller the batch."""
    batch = (64, 32, 16, 8, 2)[severity - 1]

    def noisy(mean: Statistic, variance: Statistic) -> tuple[Statistic, Statistic]:
        error = generator.normal(0.0, 1.0, mean.shape) / np.sqrt(batch)
        factor = generator.chisquare(batch - 1, variance.shape) / (batch - 1)
        return mean + error * np.sqrt(variance), np.maximum(variance * factor, 1e-6)

    _edit(path, noisy)


def last_image_kept(path: Path, severity: int, generator: np.random.Generator) -> None:
    """Half of each statistic is that of a last batch of one image; has no degrees."""

    def noisy(mean: Statistic, variance: Statistic) -> tuple[Statistic, Statistic]:
        error = generator.normal(0.0, 1.0, mean.shape)
        factor = generator.chisquare(1, variance.shape)
        return mean + 0.5 * error * np.sqrt(variance), np.maximum(variance * (0.5 + 0.5 * factor), 1e-6)

    _edit(path, noisy)


def momentum_misread(path: Path, severity: int, generator: np.random.Generator) -> None:
    """0.99, the share that stays in TensorFlow, is PyTorch's share of the new batch: 99% of one batch of 32 images.

    The momentum of transformers' MobileNets and EfficientNet; has no degrees.
    """

    def noisy(mean: Statistic, variance: Statistic) -> tuple[Statistic, Statistic]:
        error = generator.normal(0.0, 1.0, mean.shape) / np.sqrt(32)
        factor = generator.chisquare(31, variance.shape) / 31
        return mean + 0.99 * error * np.sqrt(variance), variance * (0.01 + 0.99 * factor)

    _edit(path, noisy)


def _edit(path: Path, change: Callable[[Statistic, Statistic], tuple[Statistic, Statistic]]) -> None:
    """Change each BatchNorm's mean and variance; other weights stay as they are.

    Raises:
        ValueError: if the file holds no BatchNorm.
    """
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    weights = load_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    layers = sorted(name.removesuffix(MEAN) for name in weights if name.endswith(MEAN))
    if not layers:
        raise ValueError(f"{path} holds no BatchNorm statistics")
    for layer in layers:
        mean, variance = weights[layer + MEAN], weights[layer + VARIANCE]
        new_mean, new_variance = change(mean, variance)
        weights[layer + MEAN] = new_mean.astype(mean.dtype)
        weights[layer + VARIANCE] = new_variance.astype(variance.dtype)
    save_file(weights, path, metadata=metadata)

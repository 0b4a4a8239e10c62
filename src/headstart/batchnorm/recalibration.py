"""BatchNorm statistics re-estimated from recent images: no label, no gradient, no torch.

What a BatchNorm subtracts and divides by are moments of images of the past. Where images are darker, softer or noisier
now, other statistics give the layers above what they are used to: those under which each channel's normalised input has
the mean and variance that it has on the reference. AdaBN takes the moments of recent images themselves; but a network
whose statistics are frozen has learned to live with normalised inputs that are not of mean 0 and variance 1, and loses
by it even where nothing has changed (`docs/batchnorm.md` has the numbers).

A layer's input depends on the statistics below it, so layers are aligned on the way up, in batches. Moments measured in
one pass under the old statistics are useless (accuracy falls to chance), and repeating such passes diverges in deep
networks. Images are drawn so that the predicted classes keep their shares: else a shift of the classes would be taken
for one of the images. The new statistics are shrunk towards the stored ones, which count as `SOURCE_IMAGES`.
Sources: Li et al. 2016, arXiv:1603.04779 (AdaBN); Schneider et al. 2020, arXiv:2006.16971 (shrinkage).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import layer_statistics, profile
from headstart.batchnorm.instrumented import MEAN, VARIANCE, Instrumented
from headstart.contract.inputs import Item
from headstart.errors import DataError
from headstart.layer_statistics import Statistics, divergences, summed
from headstart.predictor import Preprocessor
from headstart.statistics.gaussian import Moments

LEAST = 16
"""Images: fewer say too little of a channel's moments. Source: Schneider et al. 2020, figure 3."""
SOURCE_IMAGES = 16.0  # Schneider et al. 2020 take 8 to 512 by the number of images; more protects small samples
MOST_IMAGES = 1000  # more hardly change the moments, and all of them are held in memory
BATCH = 64  # images aligned together: more memory, and nearer to what one batch of all would give
HEAVIEST = 5.0  # a rare class must not rest on few images
SEED = 0


@dataclass(frozen=True)
class Recalibration:
    """Re-estimated statistics.

    Attributes:
        statistics: shrunk towards the stored ones.
        images: how many they come from.
        moved: by layer, in the order in which an image passes them: the divergence of the new statistics from the
            stored ones, in nats.
    """

    statistics: Statistics
    images: int
    moved: dict[str, float]


@dataclass(frozen=True)
class Cure:
    """Statistics to be exported.

    Attributes:
        tensors: means and variances by their name in the network's state.
        network: SHA-256 of the network's other weights.
        source: how many images they come from, and how far each layer moved.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    network: str
    source: Mapping[str, Any]


def recalibrate(
    network: Instrumented,
    reference: Moments | Statistics,
    raw: Sequence[bytes],
    *,
    shares: Mapping[str, float] | None = None,
) -> Recalibration:
    """The statistics of recent images, that `cure` makes a cure of.

    Args:
        network: the champion's.
        reference: what its BatchNorms' inputs were on the reference: `Reference.whole`.
        raw: encoded images, as the contract takes them; equal ones count once, of more than 1,000 the first count.
        shares: of the predicted classes in the reference, by label; images are weighted to keep them. None: all alike.

    Raises:
        DataError: if there are fewer than 16 distinct images.
        ContractError: if the contract refuses one.
    """
    distinct = list(dict.fromkeys(raw))[:MOST_IMAGES]
    if len(distinct) < LEAST:
        raise DataError(
            f"{len(distinct)} distinct images are too few to take BatchNorm statistics from; {LEAST} are the least.",
            action="Give more recent images; 500 or more are better.",
        )
    items = network.preprocessor.prepare(distinct)
    classes = network.preprocessor.contract.labels
    targets = None if shares is None else np.array([shares.get(name, 0.0) for name in classes])
    return reestimate(network, items, reference, targets=targets)


def reestimate(
    network: Instrumented,
    items: Sequence[Item],
    reference: Moments | Statistics,
    *,
    targets: NDArray[np.float64] | None = None,
    source_images: float = SOURCE_IMAGES,
) -> Recalibration:
    """The statistics of prepared images; see `recalibrate`.

    Args:
        network: runs them.
        items: prepared images.
        reference: moments of the BatchNorms' inputs on the reference; the stored statistics themselves make it AdaBN.
        targets: share of each class among the answers, `(classes,)`; None leaves the images alike.
        source_images: how many images the stored statistics count as; 0 forgets them.
    """
    seen = network.adapt(items, reference, batch=BATCH)
    if targets is not None:
        weights = balance(seen.logits.argmax(axis=1), targets)
        drawn = np.random.default_rng(SEED).choice(len(items), len(items), p=weights / weights.sum())
        seen = network.adapt([items[row] for row in drawn], reference, batch=BATCH)
    share = len(items) / (len(items) + source_images)
    found = aligned(network, summed(seen.moments), reference, share=share)
    moved = divergences(network.layers, found, network.stored)
    by_layer = dict(zip(network.layers.names, moved.tolist(), strict=True))
    return Recalibration(found, len(items), by_layer)


def aligned(
    network: Instrumented, own: Moments | Statistics, reference: Moments | Statistics, *, share: float
) -> Statistics:
    """The statistics under which inputs of moments `own` are normalised as the stored ones normalise the reference's.

    Args:
        network: whose stored statistics are the start.
        own: moments of recent images.
        reference: moments of the reference's.
        share: of the way from the stored statistics that is gone.
    """
    stored, epsilon = network.stored, network.layers.epsilon
    ratio = (own.variance + epsilon) / (reference.variance + epsilon)
    mean = own.mean + (stored.mean - reference.mean) * np.sqrt(ratio)
    variance = np.maximum((stored.variance + epsilon) * ratio - epsilon, 0.0)
    return Statistics(share * mean + (1 - share) * stored.mean, share * variance + (1 - share) * stored.variance)


def balance(predicted: NDArray[np.int64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of images, of mean 1, under which the predicted classes have their target shares.

    A class that is predicted far less often than its target is raised `HEAVIEST` times at most.

    Args:
        predicted: class indices, `(images,)`.
        targets: shares, `(classes,)`.
    """
    seen = np.bincount(predicted, minlength=len(targets)) / len(predicted)
    ratio = np.divide(targets, seen, out=np.zeros_like(targets), where=seen > 0)
    weights = np.clip(ratio, 1 / HEAVIEST, HEAVIEST)[predicted]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def cure(bundle: Path, raw: Sequence[bytes]) -> Cure:
    """What `data.cures.write_batchnorm` takes, so that the stage `export` puts other statistics into the network.

    >>> found = recalibration.cure(bundle, images)
    >>> cures.write_batchnorm(cures.ensure(model), found.tensors, network=found.network, source=found.source)

    Args:
        bundle: of the version at work. A cure that it was exported with is replaced: re-estimation starts from the
            statistics that the network was trained with.
        raw: recent encoded images, without labels.

    Raises:
        DataError: if the network has no BatchNorm, or there are too few images.
        ContractError: if the contract refuses an image; its `index` is the place.
    """
    known = layer_statistics.read(bundle)
    network = Instrumented.load(bundle, Preprocessor.load(bundle))
    if known is None or network is None:
        raise DataError(
            f"the network in {bundle} has no BatchNorm statistics that could be re-estimated.",
            action="Choose another remedy. If it has BatchNorm, seal it again first: headstart run.",
        )
    counts = profile.read(bundle).predicted_counts
    shares = {name: count / sum(counts.values()) for name, count in counts.items()}
    found = recalibrate(network, known.whole, raw, shares=shares)
    source = {"images": found.images, "moved": found.moved}
    return Cure(tensors(network, found.statistics), network.network, source)


def tensors(network: Instrumented, statistics: Statistics) -> dict[str, NDArray[np.float32]]:
    """Statistics by their name in the network's state."""
    found: dict[str, Any] = {}
    for kind, values in ((MEAN, statistics.mean), (VARIANCE, statistics.variance)):
        for name, part in network.layers.split(values.astype(np.float32)).items():
            found[f"{name}.{kind}"] = np.ascontiguousarray(part)
    return found

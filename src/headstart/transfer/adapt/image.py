"""BatchNorm statistics of a network, taken anew on images of the target's domain: no label, no gradient.

What a BatchNorm subtracts and divides by are moments of the images it was trained on. Images that are darker, softer
or noisier have others; with theirs, the layers above see what they are used to.
Sources: Li et al. 2016, arXiv:1603.04779 (AdaBN); Schneider et al. 2020, arXiv:2006.16971 (shrunk to the source).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones import batchnorm, store
from headstart.backbones.network import Network
from headstart.determinism import digest
from headstart.errors import BackboneError, DataError
from headstart.predictor import Preprocessor
from headstart.progress import bar
from headstart.transfer.examples import tensors

FORMAT = 1
LEAST = 16
"""Images: fewer say too little of a channel's moments (Schneider et al. 2020, figure 3), and no batch is smaller."""
SOURCE_IMAGES = 16.0  # how many images the stored statistics count as (Schneider et al. 2020, figure 3)


@dataclass(frozen=True)
class Reestimate:
    """What became of the statistics.

    Attributes:
        images: distinct ones that were seen.
        norms: BatchNorms that were re-estimated.
        moved: how far the images' means lie from the stored ones, in stored standard deviations, mean over channels.
    """

    images: int
    norms: int
    moved: float

    def document(self) -> dict[str, Any]:
        """The values as plain JSON, with `format`."""
        return {"format": FORMAT, **asdict(self)}


def adapt(backbone: Path, images: Sequence[bytes], *, preprocessor: Preprocessor, out: Path) -> Reestimate:
    """Write the backbone into the folder `out` with statistics of `images`; see `reestimate`."""
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    network.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    found = reestimate(network, images, preprocessor, batch_size=LEAST, source_images=SOURCE_IMAGES)
    store.with_weights(backbone, network.to("cpu").backbone.state_dict(), out)
    return found


def reestimate(
    network: Network, images: Sequence[bytes], preprocessor: Preprocessor, *, batch_size: int, source_images: float
) -> Reestimate:
    """Replace every BatchNorm's running mean and variance by those of all `images`, in place.

    Each batch is normalised by its own moments on its way up; what is stored are the moments of all images together,
    not a moving average: of n images with moments t and the source's s it is (n t + source_images s) /
    (n + source_images). Equal images count once, and neither their order nor their copies change the result.

    Args:
        network: frozen BatchNorms are re-estimated too; its mode stays as it is.
        images: encoded files, as the contract takes them.
        preprocessor: the contract's.
        batch_size: images at once, at least 16; more: closer to what one batch of all would give, more memory.
        source_images: how many images the stored statistics count as; 0 forgets them.

    Raises:
        DataError: if there are fewer than 16 distinct images.
        BackboneError: if the network has no BatchNorm that keeps statistics.
        ContractError: if the contract refuses an image.
    """
    unique = [image for _, image in sorted({digest(image): image for image in images}.items())]
    if len(unique) < LEAST:
        raise DataError(
            f"{len(unique)} distinct images are too few to take BatchNorm statistics from; {LEAST} are the least.",
            action="Give more unlabelled images.",
        )
    norms: list[Any] = [norm for norm in batchnorm.norms([network]) if getattr(norm, "running_mean", None) is not None]
    if not norms:
        raise BackboneError(
            f"{network.backbone.config.model_type} has no BatchNorm that keeps statistics to be re-estimated.",
            action="Choose another strategy than adapt_then_fine_tune.",
        )
    place = next(network.parameters()).device
    moments = {norm: _Moments() for norm in norms}
    parts = np.array_split(np.arange(len(unique)), max(1, len(unique) // max(batch_size, LEAST)))
    with _listening(network, moments), torch.no_grad(), bar("BatchNorm statistics", "images", len(unique)) as shown:
        for rows in parts:
            prepared = preprocessor.prepare([unique[row] for row in rows], first=int(rows[0]))
            network.features(**tensors(preprocessor.collate(prepared), place))
            shown.update(len(rows))
    return Reestimate(len(unique), len(norms), _settle(moments, len(unique), source_images))


class _Moments:
    """Sums over everything a BatchNorm was given, a channel, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.squares = torch.zeros(())

    def add(self, _norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)  # (channels, images * places)
        self.count += values.shape[1]
        self.total = self.total + values.sum(dim=1)
        self.squares = self.squares + values.square().sum(dim=1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """The variance as running statistics hold it: divided by one less than the count."""
        mean = self.total / self.count
        return mean, (self.squares - self.count * mean.square()).clamp(min=0.0) / max(1, self.count - 1)


@contextmanager
def _listening(network: Network, moments: dict[Any, _Moments]) -> Iterator[None]:
    """BatchNorms normalise by the batch and report what they get; their own running statistics stand still."""
    mode = network.training
    network.eval()
    before = {norm: (norm.training, norm.momentum, norm.num_batches_tracked.clone()) for norm in moments}
    hooks = [norm.register_forward_pre_hook(moment.add) for norm, moment in moments.items()]
    for norm in moments:
        norm.training, norm.momentum = True, 0.0
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        network.train(mode)
        for norm, (training, momentum, batches) in before.items():
            norm.training, norm.momentum = training, momentum
            norm.num_batches_tracked.copy_(batches)


def _settle(moments: dict[Any, _Moments], images: int, source_images: float) -> float:
    """Store the new statistics; how far the means moved."""
    share, moved = images / (images + source_images), []
    for norm, moment in moments.items():
        mean, variance = (value.to(norm.running_mean) for value in moment.mean_and_variance())
        moved.append(((mean - norm.running_mean).abs() / (norm.running_var + norm.eps).sqrt()).cpu())
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance, share)
    return float(torch.cat(moved).mean())

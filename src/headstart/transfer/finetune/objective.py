"""What training minimises: cross-entropy, with smoothed labels and weighted classes where `fine_tune` says so."""

from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from headstart.backbones.network import Network
from headstart.params.transfer import FineTune
from headstart.transfer.finetune.frozen import BELOW, Frozen


class Objective(nn.Module):
    """A network as `Trainer` wants it: labels in, loss out, and nothing it would gather in vain.

    In evaluation mode the loss is the plain one, so that validation losses compare across settings. A batch that brings
    what the frozen layers made of it starts above them.
    """

    accepts_loss_kwargs = False

    def __init__(
        self, network: Network, targets: NDArray[np.int64], params: FineTune, frozen: Frozen | None = None
    ) -> None:
        super().__init__()
        self._frozen = frozen
        self.network = network
        self.smoothing = params.label_smoothing
        weights = balanced(targets, network.classes) if params.class_weights == "balanced" else None
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        below = inputs.pop(BELOW, None)
        with self._frozen.given(below) if self._frozen and below is not None else nullcontext():
            logits = self.network(**inputs)["logits"].float()
        weights, smoothing = (self.weights, self.smoothing) if self.training else (None, 0.0)
        loss = functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
        return {"loss": loss, "logits": logits}


def balanced(targets: NDArray[np.int64], classes: int) -> Tensor:
    """`(classes,)` weights that make every class count alike: n / (classes shown * its examples); 1 where it has none.

    Source: King and Zeng 2001; scikit-learn's `class_weight="balanced"`.
    """
    counts = np.bincount(targets, minlength=classes)
    shown = int((counts > 0).sum())
    weights = np.where(counts > 0, len(targets) / (shown * np.maximum(counts, 1)), 1.0)
    return torch.tensor(weights, dtype=torch.float32)

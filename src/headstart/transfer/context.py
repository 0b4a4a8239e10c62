"""The training context that strategies share, and a split with its features."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.determinism import folder_digest
from headstart.params.adapt import Adapt
from headstart.params.transfer import FineTune, Lora, Plan, Probe, Scratch, Train
from headstart.predictor import Preprocessor
from headstart.transfer import features
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import augment

LEVEL = 0.95  # two-sided confidence of every interval in plan.json and history.json


@dataclass(frozen=True)
class Split:
    """Examples with their features.

    Attributes:
        examples: raw payloads and labels.
        targets: `(examples,)`, class indices.
        features: of the frozen backbone, `(examples, d)`.
    """

    examples: Dataset
    targets: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: NDArray[np.int64]) -> "Split":
        """The examples at `rows`, in that order."""
        return Split(self.examples.select(rows.tolist()), self.targets[rows], self.features[rows])


@dataclass(frozen=True)
class Validation:
    """What training is judged by after each epoch, and where its checkpoints go.

    Attributes:
        examples: the validation split.
        checkpoints: folder of checkpoints and best weights; belongs to this run alone.
    """

    examples: Examples
    checkpoints: Path


@dataclass(frozen=True)
class TrainingContext:
    """What strategies share: the contract, the backbone, how to train and where to compute.

    Attributes:
        preprocessor: the contract's.
        backbone: folder; its architecture serves all strategies, its weights all but `scratch`.
        classes: how many the head answers with.
        probe: how the head that training starts from is fitted.
        fine_tune: how layers learn.
        lora: what low-rank updates do otherwise.
        scratch: how training from random weights differs.
        adapt: how the backbone is adapted first.
        unlabelled: Parquet file of unlabelled examples; None where there is none.
        cache: folder of features and adapted backbones; may be deleted at any time.
        device: where to compute.
    """

    preprocessor: Preprocessor
    backbone: Path
    classes: int
    probe: Probe
    fine_tune: FineTune
    lora: Lora
    scratch: Scratch
    adapt: Adapt
    unlabelled: Path | None
    cache: Path
    device: torch.device

    @classmethod
    def of(
        cls, params: Plan | Train, *, backbone: Path, data: Path, cache: Path, device: torch.device
    ) -> "TrainingContext":
        """The context of a stage; `data` is what `prepare` wrote."""
        preprocessor, unlabelled = Preprocessor.load(data / "contract"), data / "unlabelled.parquet"
        return cls(
            preprocessor,
            backbone,
            len(preprocessor.contract.labels),
            params.probe,
            params.fine_tune,
            params.lora,
            params.scratch,
            params.adapt,
            unlabelled if unlabelled.is_file() else None,
            cache,
            device,
        )

    @property
    def modality(self) -> Literal["text", "image"]:
        return self.preprocessor.contract.modality

    def with_fine_tune(self, **changes: Any) -> "TrainingContext":
        """The same with keys of `fine_tune` replaced."""
        return replace(self, fine_tune=self.fine_tune.model_copy(update=changes))

    def frozen(self) -> Network:
        """The pretrained network under a head of zeros, in evaluation mode."""
        return Network.from_backbone(self.backbone, self.classes, dropout=0.0).to(self.device)

    def features(self, examples: Dataset, *, progress: str) -> NDArray[np.float32]:
        """`(examples, d)`, what the frozen backbone makes of them, from the cache where it has them."""
        key = folder_digest(self.backbone)
        return features.extract(
            self.frozen(), self.preprocessor, examples, cache=self.cache, key=key, progress=progress
        )

    def split(self, examples: Dataset, *, progress: str) -> Split:
        """Examples with their targets and features."""
        seen = self.features(examples, progress=progress)
        return Split(examples, examples.targets(self.preprocessor.contract.labels), seen)

    def read(self, data: Path, name: str) -> Split:
        """A split that `prepare` wrote."""
        return self.split(dataset.read(data / f"{name}.parquet"), progress=f"features of {name}")

    def shown(self, split: Split, *, augmented: bool = True) -> Examples:
        """A split as training reads it; images are changed by chance as `fine_tune.augmentation` says."""
        changed = augmented and self.modality == "image"
        change = augment.augmentation(self.fine_tune.augmentation) if changed else None
        return Examples(self.preprocessor, split.examples, split.targets, augment=change)

"""What every strategy is given: the contract, the backbone, how to train, where to compute; and the examples."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data.dataset import Dataset
from headstart.determinism import folder_digest
from headstart.params.adapt import Adapt
from headstart.params.transfer import FineTune, Lora, Plan, Probe, Scratch, Train
from headstart.predictor import Preprocessor
from headstart.transfer import features
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import augment


@dataclass(frozen=True)
class Split:
    """A split with what the frozen backbone makes of it.

    Attributes:
        examples: raw payloads and labels.
        targets: `(examples,)`, class indices.
        features: `(examples, d)`.
    """

    examples: Dataset
    targets: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: NDArray[np.int64]) -> "Split":
        """The examples at `rows`, in that order."""
        return Split(self.examples.select(rows.tolist()), self.targets[rows], self.features[rows])

    def joined(self, other: "Split") -> "Split":
        """These examples, then the other's."""
        names = ("ids", "labels", "inputs", "groups", "times")
        columns: list[Any] = [[*getattr(self.examples, name), *getattr(other.examples, name)] for name in names]
        return Split(
            Dataset(self.examples.modality, *columns),
            np.concatenate([self.targets, other.targets]),
            np.concatenate([self.features, other.features]),
        )


@dataclass(frozen=True)
class Setting:
    """What strategies share.

    Attributes:
        preprocessor: the contract's.
        backbone: folder; its architecture serves all strategies, its weights all but `scratch`.
        classes: how many the head answers with.
        probe: how the head that training starts from is fitted.
        fine_tune: how layers learn.
        lora: what low-rank updates do otherwise.
        scratch: how training from random weights differs.
        adapt: how the backbone is adapted first.
        pool: Parquet file of unlabelled examples; None where there is none.
        cache: folder of features and adapted backbones; may be deleted at any time.
        level: two-sided confidence of accuracies.
        place: where to compute.
    """

    preprocessor: Preprocessor
    backbone: Path
    classes: int
    probe: Probe
    fine_tune: FineTune
    lora: Lora
    scratch: Scratch
    adapt: Adapt
    pool: Path | None
    cache: Path
    level: float
    place: torch.device

    @classmethod
    def of(
        cls, params: Plan | Train, *, backbone: Path, data: Path, cache: Path, level: float, place: torch.device
    ) -> "Setting":
        """The setting of a stage; `data` is what `prepare` wrote."""
        preprocessor, pool = Preprocessor.load(data / "contract"), data / "unlabelled.parquet"
        return cls(
            preprocessor,
            backbone,
            len(preprocessor.contract.labels),
            params.probe,
            params.fine_tune,
            params.lora,
            params.scratch,
            params.adapt,
            pool if pool.is_file() else None,
            cache,
            level,
            place,
        )

    @property
    def modality(self) -> Literal["text", "image"]:
        return self.preprocessor.contract.modality

    def with_fine_tune(self, **changes: Any) -> "Setting":
        """The same with keys of `fine_tune` replaced."""
        return replace(self, fine_tune=self.fine_tune.model_copy(update=changes))

    def split(self, examples: Dataset, *, progress: str) -> Split:
        """Examples with what this setting's backbone makes of them, from the cache where it is there."""
        network = Network.from_backbone(self.backbone, self.classes, dropout=0.0).to(self.place)
        key = folder_digest(self.backbone)
        seen = features.extract(network, self.preprocessor, examples, cache=self.cache, key=key, progress=progress)
        return Split(examples, examples.targets(self.preprocessor.contract.labels), seen)

    def shown(self, split: Split, *, augmented: bool = True) -> Examples:
        """A split as training reads it; images are changed by chance as `fine_tune.augmentation` says."""
        changed = augmented and self.modality == "image"
        change = augment.augmentation(self.fine_tune.augmentation) if changed else None
        return Examples(self.preprocessor, split.examples, split.targets, augment=change)

"""Raw examples as batches of tensors: prepared by the contract, kept while they fit, changed only in training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from headstart.data.dataset import Dataset
from headstart.predictor import Preprocessor

KEPT_BYTES = 512 << 20  # prepared examples beyond this are prepared again when asked for: slower, the same numbers

Augment = Callable[[Tensor], Tensor]


class Examples(TorchDataset[Mapping[str, Any]]):
    """One split, with targets, as transformers' `Trainer` reads it: by row, or a whole batch of rows at once.

    Attributes:
        targets: `(examples,)`, class indices.
        augmented: whether images are changed by chance each time.
    """

    def __init__(
        self,
        preprocessor: Preprocessor,
        dataset: Dataset,
        targets: NDArray[np.int64],
        *,
        augment: Augment | None = None,
    ) -> None:
        self.targets = targets
        self._items = Prepared(preprocessor, dataset.inputs)
        self._preprocessor = preprocessor
        self._augment = augment
        self.augmented = augment is not None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        """One example, unpadded: what samplers measure lengths on."""
        if row >= len(self):
            raise IndexError(row)
        name = "input_ids" if self._preprocessor.contract.modality == "text" else "pixel_values"
        return {name: self._items.get([row])[0], "labels": int(self.targets[row])}

    def __getitems__(self, rows: list[int], *, augmented: bool = True) -> dict[str, Tensor]:
        """The batch of `rows`, padded together: the name is torch's door for fetching many at once."""
        inputs = tensors(self._preprocessor.collate(self._items.get(rows)))
        if augmented and self._augment is not None:
            inputs["pixel_values"] = self._augment(inputs["pixel_values"])
        return {**inputs, "labels": torch.from_numpy(self.targets[rows])}


class Prepared:
    """Raw inputs prepared when asked for; the first `KEPT_BYTES` of them stay in memory."""

    def __init__(self, preprocessor: Preprocessor, inputs: Sequence[Any]) -> None:
        self._preprocessor, self._inputs = preprocessor, inputs
        self._kept: dict[int, NDArray[Any]] = {}
        self._bytes = 0

    def get(self, rows: Sequence[int]) -> list[NDArray[Any]]:
        """The prepared arrays of `rows`, in their order."""
        absent = [row for row in dict.fromkeys(rows) if row not in self._kept]
        prepared = self._preprocessor.prepare([self._inputs[row] for row in absent]) if absent else []
        fresh = dict(zip(absent, prepared, strict=True))
        result = [fresh[row] if row in fresh else self._kept[row] for row in rows]
        for row, array in fresh.items():
            if self._bytes + array.nbytes <= KEPT_BYTES:
                self._kept[row] = array
                self._bytes += array.nbytes
        return result


def tensors(batch: Mapping[str, NDArray[Any]], device: torch.device | None = None) -> dict[str, Tensor]:
    """A collated batch as torch tensors, on `device` if given."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in batch.items()}

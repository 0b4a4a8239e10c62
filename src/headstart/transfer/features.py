"""What a frozen network makes of each example, computed once: the same numbers whatever order the examples come in.

Each distinct payload is computed once, in batches of the shortest first (ties by content), so that no example's
neighbours, and with them its padding and last bits, depend on the data set's order.
"""

import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.data.dataset import Dataset
from headstart.determinism import digest, versions
from headstart.predictor import Preprocessor
from headstart.progress import bar
from headstart.transfer.examples import Prepared, tensors
from headstart.transfer.finetune import memory

FORMAT = 3
BATCH = 32

Layers = list[tuple[str, NDArray[np.float32]]]


def extract(
    network: Network, preprocessor: Preprocessor, dataset: Dataset, *, cache: Path, key: str, progress: str
) -> NDArray[np.float32]:
    """Features of every example, `(examples, d)`, from the cache if this content was seen before.

    Args:
        network: its head does not matter.
        preprocessor: the contract's.
        dataset: labels do not matter.
        cache: folder; files under `features/` may be deleted at any time.
        key: hash of the backbone's weights and configuration.
        progress: what the progress bar says.
    """
    unique, rows = _distinct(dataset.inputs)
    path = _path(cache, "last", key, preprocessor, unique, network)
    if (kept := _read(path)) is not None:
        return kept["features"][rows]
    columns = list(_run(network, preprocessor, list(unique.values()), progress, layers=False))
    features = columns[0][1]
    _write(path, {"features": features})
    return features[rows]


def extract_layers(
    network: Network, preprocessor: Preprocessor, dataset: Dataset, *, cache: Path, key: str, progress: str
) -> Layers:
    """The pooled output of each layer group, input side first: `[(name, (examples, width))]`; cached likewise."""
    unique, rows = _distinct(dataset.inputs)
    path = _path(cache, "layers", key, preprocessor, unique, network)
    kept = _read(path)
    if kept is None:
        columns = _run(network, preprocessor, list(unique.values()), progress, layers=True)
        kept = {f"{position:03d}:{name}": values for position, (name, values) in enumerate(columns)}
        _write(path, kept)
    return [(name.partition(":")[2], kept[name][rows]) for name in sorted(kept)]


def compute(network: Network, preprocessor: Preprocessor, dataset: Dataset, *, progress: str) -> NDArray[np.float32]:
    """Features of every example, `(examples, d)`, not cached: for a network that is being trained."""
    unique, rows = _distinct(dataset.inputs)
    return _run(network, preprocessor, list(unique.values()), progress, layers=False)[0][1][rows]


def logits(network: Network, preprocessor: Preprocessor, dataset: Dataset, *, progress: str) -> NDArray[np.float64]:
    """`(examples, classes)`, what the network as it is now answers; its head is applied in double precision."""
    seen = compute(network, preprocessor, dataset, progress=progress).astype(np.float64)
    weight, bias = (value.detach().cpu().numpy().astype(np.float64) for value in network.head.parameters())
    result: NDArray[np.float64] = seen @ weight.T + bias
    return result


def compute_layers(network: Network, preprocessor: Preprocessor, dataset: Dataset, *, progress: str) -> Layers:
    """Each layer group's pooled output, input side first, not cached; the last one is the features a head sees."""
    unique, rows = _distinct(dataset.inputs)
    layers = _run(network, preprocessor, list(unique.values()), progress, layers=True)
    return [(name, values[rows]) for name, values in layers]


def _distinct(inputs: Sequence[Any]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Payloads by their digest, sorted, and for each input its place among them."""
    digests = [digest(payload) for payload in inputs]
    unique = dict(sorted(dict(zip(digests, inputs, strict=True)).items()))
    place = {name: position for position, name in enumerate(unique)}
    return unique, np.array([place[name] for name in digests], dtype=np.int64)


def _path(
    cache: Path, kind: str, key: str, preprocessor: Preprocessor, unique: dict[str, Any], network: Network
) -> Path:
    device = next(network.parameters()).device.type  # another device rounds otherwise
    made_by = [*versions(), str(torch.get_num_threads()), device]
    name = digest([FORMAT, kind, key, preprocessor.contract.input_hash, made_by, list(unique)])
    return cache / "features" / f"{name}.npz"


def _read(path: Path) -> dict[str, NDArray[np.float32]] | None:
    """None where nothing is kept, or what is kept is damaged: then it is computed and written anew."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (EOFError, OSError, ValueError, BadZipFile, zlib.error) as error:
        warnings.warn(f"{path} is damaged ({error}); its features are computed anew.", stacklevel=2)
        return None


def _write(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    with artifacts.replaced(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _run(network: Network, preprocessor: Preprocessor, payloads: list[Any], progress: str, *, layers: bool) -> Layers:
    """Names and arrays, one row a payload in the order given; one entry named `features` unless `layers`."""
    device = next(network.parameters()).device
    prepared = Prepared(preprocessor, payloads)
    order = _by_length(preprocessor, prepared, len(payloads))
    names: list[str] = []
    arrays: list[NDArray[np.float32]] = []
    mode = network.training
    network.eval()
    most = BATCH  # examples that memory holds at once
    with torch.inference_mode(), bar(progress, "examples", len(order)) as shown:
        for rows in _batches(order):
            outputs, most = _answered(network, preprocessor, prepared, rows, device, most, layers=layers)
            if not arrays:
                names = [name for name, _ in outputs]
                arrays = [np.empty((len(payloads), values.shape[1]), dtype=np.float32) for _, values in outputs]
            for array, (_, values) in zip(arrays, outputs, strict=True):
                array[rows] = values
            shown.update(len(rows))
    network.train(mode)
    return list(zip(names, arrays, strict=True))


def _answered(
    network: Network, preprocessor: Preprocessor, prepared: Prepared, rows: list[int], device: torch.device,
    most: int, *, layers: bool,
) -> tuple[Layers, int]:  # fmt: skip
    """Names and arrays of one batch, `most` examples at a time; and how many it were, fewer where memory ran out."""
    while True:
        try:
            pieces = []
            for start in range(0, len(rows), most):
                inputs = tensors(preprocessor.collate(prepared.get(rows[start : start + most])), device)
                outputs = network.layer_features(**inputs) if layers else [("features", network.features(**inputs))]
                pieces.append([(name, _numpy(values)) for name, values in outputs])
            columns = zip(*pieces, strict=True)
            return [(column[0][0], np.concatenate([values for _, values in column])) for column in columns], most
        except (MemoryError, RuntimeError) as error:
            if most == 1 or not memory.ran_out(error):
                raise
        memory.release()
        most = max(1, min(most, len(rows)) // 2)


def _by_length(preprocessor: Preprocessor, prepared: Prepared, count: int) -> list[int]:
    """Rows, shortest text first; images have one size and keep their order."""
    if preprocessor.contract.modality == "image":
        return list(range(count))
    lengths = [len(ids) for ids in prepared.get(range(count))]
    return sorted(range(count), key=lengths.__getitem__)


def _batches(order: list[int]) -> Iterator[list[int]]:
    return (order[start : start + BATCH] for start in range(0, len(order), BATCH))


def _numpy(values: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = values.float().cpu().numpy()
    return result

"""What remedies change about a model: tracked inputs of its stages, one file a kind, there even where it is empty.

    data/cures/<model>/prior.json              class shares that production sees    ─► evaluate
    data/cures/<model>/batchnorm.safetensors   re-estimated BatchNorm statistics    ─► export

A remedy writes one of them; the stages below are stale then, and what they make goes through the same gates as any
other candidate. Removing a cure is writing the empty one. They are recorded with DVC like data.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.errors import DataError

FORMAT = 1
PRIOR, BATCHNORM = "prior.json", "batchnorm.safetensors"
NAMED = 10
NO_PRIOR: Mapping[str, Any] = {"format": FORMAT, "shares": None, "source": None}
NO_TENSORS = struct.pack("<Q", 2) + b"{}"
"""A safetensors file that holds nothing: the length of its header, and the header."""
TAKE_BACK = "Take the cure back: headstart remedy NAME none."


@dataclass(frozen=True)
class BatchNorm:
    """Re-estimated statistics.

    Attributes:
        tensors: means and variances by their name in the network's state.
        network: SHA-256 of the other weights of the network that they were estimated for.
        source: where they come from.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    network: str
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Prior:
    """The class shares that production sees, and who says so.

    Attributes:
        shares: by class, every class of the model, summing to 1.
        origin: `cure`, which a remedy wrote, or `expected_shares` of params.yaml.
        source: of a cure: the window it was estimated on.
        overrules: whether params.yaml says something else, which the cure overrules.
    """

    shares: Mapping[str, float]
    origin: Literal["cure", "expected_shares"]
    source: Mapping[str, Any] | None = None
    overrules: bool = False

    def document(self) -> dict[str, Any]:
        """As plain JSON values, the shares under `values`."""
        return {
            "values": dict(self.shares),
            "origin": self.origin,
            "source": None if self.source is None else dict(self.source),
            "overrules": self.overrules,
        }


def ensure(model: str) -> Path:
    """The folder of a model's cures, with an empty file of each kind that is not there yet.

    Raises:
        DataError: if DVC has a record of cures and the files are not here, as in a fresh clone.
    """
    folder = artifacts.cures(model)
    if missing(model):
        pointer = folder.with_name(f"{folder.name}.dvc")
        raise DataError(
            f"{pointer} records cures of {model} whose files are not in {folder}.", action=f"dvc pull {pointer}"
        )
    return _fill(folder)


def missing(model: str) -> bool:
    """Whether DVC has a record of a model's cures and their files are not here."""
    folder = artifacts.cures(model)
    there = all((folder / name).is_file() for name in (PRIOR, BATCHNORM))
    return folder.with_name(f"{folder.name}.dvc").is_file() and not there


def written(model: str) -> list[str]:
    """The files of the cures that are in force: those that are not empty."""
    folder = artifacts.cures(model)
    found = [PRIOR] if (folder / PRIOR).is_file() and _document(folder)["shares"] is not None else []
    tensors = folder / BATCHNORM
    return found + ([BATCHNORM] if tensors.is_file() and tensors.read_bytes() != NO_TENSORS else [])


def contents(model: str) -> dict[str, bytes]:
    """The files of a model's cures as they are, for `put_back`."""
    return {path.name: path.read_bytes() for path in sorted(ensure(model).iterdir()) if path.is_file()}


def put_back(model: str, files: Mapping[str, bytes]) -> None:
    """Let a model's cures be what `contents` read."""
    for name, content in files.items():
        with artifacts.replaced(artifacts.cures(model) / name) as temporary:
            temporary.write_bytes(content)


def prior(folder: Path, classes: Sequence[str], expected: Mapping[str, float] | None = None) -> Prior | None:
    """The class shares that production sees; None where neither a cure nor params.yaml says so.

    Args:
        folder: from `ensure`.
        classes: of the model.
        expected: `data.expected_shares`; a cure overrules it.

    Raises:
        DataError: if one of the two names a class that the model does not have, or the cure is of another format.
    """
    if (shares := read_prior(folder, classes)) is not None:
        return Prior(shares, "cure", _document(folder)["source"], overrules=expected is not None)
    if expected is None:
        return None
    if unknown := sorted(set(expected) - set(classes)):
        close = get_close_matches(unknown[0], classes, n=1)
        raise DataError(
            f"data.expected_shares names {unknown[0]!r}, which is not one of the {len(classes)} classes.",
            action=f"Did you mean {close[0]!r}?" if close else f"They are {', '.join(classes[:NAMED])}.",
        )
    total = sum(expected.values())
    return Prior({name: expected.get(name, 0.0) / total for name in classes}, "expected_shares")


def clear(model: str) -> Path:
    """Take back every cure of a model; its folder."""
    folder = artifacts.cures(model)
    for name in (PRIOR, BATCHNORM):
        (folder / name).unlink(missing_ok=True)
    return _fill(folder)


def write_prior(folder: Path, shares: Mapping[str, float], *, source: Mapping[str, Any]) -> None:
    """Say which class shares production sees.

    Args:
        folder: from `ensure`.
        shares: by class, summing to 1.
        source: where they come from: the window they were estimated on.
    """
    artifacts.write_json(folder / PRIOR, {"format": FORMAT, "shares": dict(shares), "source": dict(source)})


def write_batchnorm(
    folder: Path, tensors: Mapping[str, NDArray[np.float32]], *, network: str, source: Mapping[str, Any]
) -> None:
    """Say which statistics the network's BatchNorms have from now on.

    Args:
        folder: from `ensure`.
        tensors: means and variances by their name in the network's state: `batchnorm.recalibration.tensors`.
        network: SHA-256 of the network's other weights: `Instrumented.network`. Another network is not changed.
        source: where they come from, as JSON can hold it: how many images, of which window or source.
    """
    from safetensors.numpy import save_file

    metadata = {"format": str(FORMAT), "network": network, "source": json.dumps(dict(source), sort_keys=True)}
    with artifacts.replaced(folder / BATCHNORM) as temporary:
        save_file(dict(tensors), temporary, metadata=metadata)


def read_batchnorm(folder: Path) -> "BatchNorm | None":
    """The statistics that a cure puts into the network; None where there is no cure.

    Raises:
        DataError: if the file is of another format, or unreadable.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / BATCHNORM
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise DataError(f"{path} cannot be read: {error}.", action=TAKE_BACK) from error
    if not tensors:
        return None
    if metadata.get("format") != str(FORMAT) or "network" not in metadata:
        raise DataError(
            f"{path} has format {metadata.get('format')!r}; this headstart reads {FORMAT}.", action=TAKE_BACK
        )
    return BatchNorm(tensors, metadata["network"], json.loads(metadata.get("source", "{}")))


def read_prior(folder: Path, classes: Sequence[str]) -> dict[str, float] | None:
    """The class shares that production sees; None where no cure says so.

    Raises:
        DataError: if the file is of another format, or was made for other classes: one that is gone leaves shares that
            do not sum to 1, and one that was added would count as one that never comes.
    """
    shares = _document(folder)["shares"]
    if shares is None:
        return None
    if unknown := sorted(set(shares) - set(classes)):
        raise DataError(
            f"{folder / PRIOR} holds a share of class {unknown[0]!r}, which the model no longer has.",
            action="Take the cure back (headstart remedy NAME none), or estimate it again.",
        )
    if added := [name for name in classes if name not in shares]:
        raise DataError(
            f"{folder / PRIOR} holds no share of class {added[0]!r}, which the model did not have when it was made.",
            action="Take the cure back (headstart remedy NAME none), and estimate it again when that class was seen.",
        )
    return {name: float(shares[name]) for name in classes}


def _fill(folder: Path) -> Path:
    """Write an empty file of each kind that is not there."""
    if not (folder / PRIOR).is_file():
        artifacts.write_json(folder / PRIOR, NO_PRIOR)
    if not (folder / BATCHNORM).is_file():
        with artifacts.replaced(folder / BATCHNORM) as temporary:
            temporary.write_bytes(NO_TENSORS)
    return folder


def _document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / PRIOR).read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise DataError(
            f"{folder / PRIOR} has format {document.get('format')!r}; this headstart reads {FORMAT}.",
            action="Take the cure back: headstart remedy NAME none.",
        )
    return document

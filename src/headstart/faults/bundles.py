"""Faults of the deployed files; each changes a copy of a bundle in place.

Where the manifest is written anew the folder is consistent with itself, as after a careless edit or a wrong copy, and
only the registry knows that it is not what passed the gates.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from headstart import artifacts, bundle
from headstart.contract import spec


def labels_permuted(folder: Path, generator: np.random.Generator) -> None:
    """The contract's labels in another order, none at its old place; the manifest is written anew."""
    contract = spec.read(folder)
    turn = int(generator.integers(1, len(contract.labels)))
    permuted = dataclasses.replace(contract, labels=contract.labels[turn:] + contract.labels[:turn])
    artifacts.write_json(folder / spec.CONTRACT_FILE, permuted.document())
    bundle.seal(folder, {})


def logits_inflated(folder: Path, *, factor: float = 2.0) -> None:
    """Every answer surer than it should be, none of them another one; the manifest is written anew."""
    path = folder / bundle.CALIBRATION
    known = bundle.Calibration.from_document(artifacts.read_json(path))
    bias = tuple(factor * value for value in known.bias)
    inflated = dataclasses.replace(known, temperature=known.temperature / factor, bias=bias)
    artifacts.write_json(path, inflated.document())
    bundle.seal(folder, {})


def file_altered(folder: Path, *, name: str = bundle.MODEL) -> None:
    """One bit of a file is another; the manifest is left as it was."""
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def replaced_by(folder: Path, other: Path) -> None:
    """Another model's bundle, or an older version's, in this one's place; it fits its own manifest."""
    shutil.rmtree(folder)
    shutil.copytree(other, folder)

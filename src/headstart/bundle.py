"""The bundle: the deployable folder, complete as soon as its manifest stands in it.

    model.onnx  preprocess.onnx | tokenizer.json  contract.json  calibration.json  profile.json  profile.parquet
    signatures.json  golden.parquet  plan.json  evaluation.json  params.yaml  lineage.json  MANIFEST.json
    layers.npz  what entered its layers on the test split; batchnorm.onnx  where the network has BatchNorm

The manifest holds the SHA-256 of every other file and is written last. Nothing in a bundle depends on a clock or a
path: the same inputs give the same bytes, in any folder.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.contract import documents
from headstart.contract.spec import CONTRACT_FILE, PREPROCESS_FILE, TOKENIZER_FILE
from headstart.determinism import altered, file_digest
from headstart.errors import BundleError, listed
from headstart.params.section import Modality

FORMAT = 1
MANIFEST = "MANIFEST.json"
MODEL = "model.onnx"
CALIBRATION = "calibration.json"
EVIDENCE = ("profile.json", "profile.parquet", "golden.parquet", "plan.json", "evaluation.json")
RECORD = ("params.yaml", "lineage.json")
FILES: Mapping[Modality, tuple[str, ...]] = {
    "text": (MODEL, TOKENIZER_FILE, CONTRACT_FILE, CALIBRATION, *EVIDENCE, *RECORD),
    "image": (MODEL, PREPROCESS_FILE, CONTRACT_FILE, CALIBRATION, *EVIDENCE, *RECORD),
}


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities: `softmax(logits / temperature + bias)`.

    The bias comes after the temperature, so it is a difference of log-probabilities: the cure for changed class
    frequencies is `log(new share / old share)`, whatever the temperature.

    Attributes:
        temperature: above 1 makes probabilities less extreme, 1 leaves them.
        bias: one a class; zeros leave them.
        abstain_below: an answer less probable than this is marked as abstained; 0 never abstains.
    """

    temperature: float
    bias: tuple[float, ...]
    abstain_below: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise BundleError(f"the temperature is {self.temperature}; expected a finite number above 0.")
        if not all(math.isfinite(value) for value in self.bias):
            raise BundleError(f"the bias is {self.bias}; expected finite numbers, one a class.")
        if not 0 <= self.abstain_below <= 1:
            raise BundleError(f"abstain_below is {self.abstain_below}; expected a probability.")

    @classmethod
    def identity(cls, classes: int) -> "Calibration":
        """The calibration that changes nothing."""
        return cls(1.0, (0.0,) * classes, 0.0)

    def apply(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Probabilities in double precision, `(n, classes)` for logits of that shape; each row sums to 1."""
        if logits.ndim != 2 or logits.shape[1] != len(self.bias):
            raise BundleError(f"logits have shape {logits.shape}; the calibration is for {len(self.bias)} classes.")
        scores = logits.astype(np.float64) / self.temperature + np.array(self.bias)
        scores -= scores.max(axis=1, keepdims=True)
        exponents = np.exp(scores)
        shares: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
        return shares

    def document(self) -> dict[str, Any]:
        """The calibration as plain JSON values."""
        return {
            "format": FORMAT,
            "temperature": self.temperature,
            "bias": list(self.bias),
            "abstain_below": self.abstain_below,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Calibration":
        """The calibration that `document` describes; the inverse of `document()`.

        Raises:
            BundleError: if it is of another format, or lacks a value.
        """
        documents.check_format(document, FORMAT, CALIBRATION)
        try:
            bias = tuple(float(value) for value in document["bias"])
            return cls(float(document["temperature"]), bias, float(document["abstain_below"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{CALIBRATION} cannot be read: {error!r}.", action="Build the model again.") from error


@dataclass(frozen=True)
class Bundle:
    """A sealed folder.

    Attributes:
        folder: where it lies.
        files: SHA-256 (hex) by file name, as the manifest has them.
    """

    folder: Path
    files: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """The bundle in `folder`, by its manifest; the files are not looked at yet.

        Raises:
            BundleError: if there is no manifest (the bundle was never finished), or it can't be read.
        """
        document = documents.read(folder / MANIFEST)
        documents.check_format(document, FORMAT, str(folder / MANIFEST))
        files = document.get("files")
        if not isinstance(files, dict) or not all(_is_name(name) and isinstance(files[name], str) for name in files):
            raise BundleError(f"{folder / MANIFEST} does not list files with their hashes.", action=documents.REBUILD)
        return cls(folder, files)

    def verify(self) -> None:
        """Compare every file with its hash.

        Raises:
            BundleError: naming each file that is missing or altered, with both hashes.
        """
        problems = altered(self.folder, self.files)
        if problems:
            raise BundleError(
                f"{self.folder} is not the bundle that was sealed:\n{listed(problems)}\n", action=documents.REBUILD
            )

    def path(self, name: str) -> Path:
        """Where the file `name` lies.

        Raises:
            BundleError: if the manifest does not list it: what is not hashed is not read.
        """
        if name not in self.files:
            raise BundleError(
                f"{self.folder} has no {name}; it has {', '.join(sorted(self.files))}.", action=documents.REBUILD
            )
        return self.folder / name


def seal(folder: Path, files: Mapping[str, Path | bytes]) -> str:
    """Add `files` to `folder` and write the manifest of all that lies in it; its existence means complete.

    Args:
        folder: made where it does not exist; what other writers already left in it is sealed too.
        files: contents by name, as bytes or as the file to copy.

    Returns:
        The manifest's hash, as `manifest_hash`.

    Raises:
        BundleError: if a name is not a plain file name, a file to copy does not exist, or the folder holds another
            folder.
    """
    for name, content in files.items():
        if not _is_name(name):
            raise BundleError(f"{name!r} cannot be a file of a bundle; expected a plain name other than {MANIFEST}.")
        if isinstance(content, Path) and not content.is_file():
            raise BundleError(f"{content} does not exist; the bundle needs it as {name}.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, content in files.items():
        with artifacts.replaced(folder / name) as temporary:
            if isinstance(content, Path):
                shutil.copyfile(content, temporary)
            else:
                temporary.write_bytes(content)
    paths = sorted(folder.iterdir())
    if odd := next((path for path in paths if not path.is_file()), None):
        raise BundleError(f"{odd} is not a file; a bundle is one flat folder of files.", action=f"Remove {odd}.")
    artifacts.write_json(
        folder / MANIFEST, {"format": FORMAT, "files": {path.name: file_digest(path) for path in paths}}
    )
    return manifest_hash(folder)


def manifest_hash(folder: Path) -> str:
    """SHA-256 (hex) of the manifest: two bundles with the same one hold the same bytes.

    Raises:
        BundleError: if there is no manifest.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} has no {MANIFEST}: the bundle was never finished.", action=documents.REBUILD)
    return file_digest(folder / MANIFEST)


def _is_name(name: str) -> bool:
    return bool(name) and Path(name).name == name and name not in (MANIFEST, ".", "..")

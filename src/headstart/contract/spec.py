"""What the contract is: frozen values, two hashes, and a folder that holds it.

    contract.json      the values below, with `format`
    tokenizer.json     text: the backbone's own, byte for byte
    preprocess.onnx    images: authored from the values, see `contract.preprocess`

`input` and `labels` are hashed apart: new labels leave features and tokens valid, new pixels don't.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from headstart.contract import documents
from headstart.determinism import digest
from headstart.errors import BackboneError, BundleError
from headstart.params.section import Modality

FORMAT = 1
CONTRACT_FILE = "contract.json"
TOKENIZER_FILE = "tokenizer.json"
PREPROCESS_FILE = "preprocess.onnx"

Mode = Literal["L", "RGB"]
Resize = Literal["stretch", "shortest_edge", "none"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]

CHANNELS: Mapping[Mode, int] = {"L": 1, "RGB": 3}


@dataclass(frozen=True)
class TextSpec:
    """How a text becomes token ids.

    Attributes:
        max_tokens: longer texts are cut to this many, special tokens included.
        max_characters: longer texts are refused.
        pad_id: fills the shorter texts of a batch, at their end.
        pad_token: its name in the vocabulary.
        truncation_side: the end that is cut off.
        tokenizer_sha256: of `tokenizer.json`, 64 hex digits.
    """

    max_tokens: int
    max_characters: int
    pad_id: int
    pad_token: str
    truncation_side: Literal["right"]
    tokenizer_sha256: str

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1")
        _require(self.max_characters >= 1, "max_characters", self.max_characters, "at least 1")
        _require(self.pad_id >= 0, "pad_id", self.pad_id, "an index into the vocabulary")
        _require(self.truncation_side == "right", "truncation_side", self.truncation_side, "'right'")
        _require(len(self.tokenizer_sha256) == 64, "tokenizer_sha256", self.tokenizer_sha256, "64 hex digits")


@dataclass(frozen=True)
class ImageSpec:
    """How encoded image bytes become one float tensor: decode, resize, crop, rescale, normalise.

    Attributes:
        mode: the colour mode pictures are converted to.
        resize: `stretch` to `height` x `width`; `shortest_edge` keeps the proportions; or `none`.
        height: what a stretch makes of every height; elsewhere it changes nothing.
        width: likewise.
        shortest_edge: what the shorter side becomes; None for the other two ways.
        resample: Pillow's filter of that name.
        crop: height and width cut from the middle after the resize, smaller pictures filled up with black; or None.
        rescale: what levels 0 to 255 are multiplied with.
        mean: subtracted after that, one a channel.
        std: divided by after that, one a channel.
        max_pixels: larger pictures are refused before they are decoded.
        max_bytes: larger files are refused.
        flip_channels: whether the network takes blue first (BGR); `mean` and `std` are in the network's order.
    """

    mode: Mode
    resize: Resize
    height: int
    width: int
    shortest_edge: int | None
    resample: Resample
    crop: tuple[int, int] | None
    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    max_pixels: int
    max_bytes: int
    flip_channels: bool = False

    def __post_init__(self) -> None:
        _require(self.mode in CHANNELS, "mode", self.mode, "'L' or 'RGB'")
        _require(self.resize in ("stretch", "shortest_edge", "none"), "resize", self.resize, "a known way to resize")
        known = get_args(Resample)
        _require(self.resample in known, "resample", self.resample, f"one of {', '.join(known)}")
        for name in ("height", "width", "max_pixels", "max_bytes"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        by_edge = self.resize == "shortest_edge"
        edge_fits = (
            isinstance(self.shortest_edge, int) and self.shortest_edge >= 1 if by_edge else not self.shortest_edge
        )
        _require(edge_fits, "shortest_edge", self.shortest_edge, f"{'at least 1' if by_edge else 'None'} here")
        _require(self.resize == "stretch" or self.crop is not None, "crop", self.crop, "a size: all outputs are alike")
        if self.crop is not None:
            _require(len(self.crop) == 2 and min(self.crop) >= 1, "crop", self.crop, "a height and a width")
        for name in ("mean", "std"):
            values = getattr(self, name)
            fits = len(values) == self.channels and all(math.isfinite(value) for value in values)
            _require(fits, name, values, f"{self.channels} finite numbers, one a channel of mode {self.mode}")
        _require(all(self.std), "std", self.std, "no zero")
        _require(math.isfinite(self.rescale), "rescale", self.rescale, "a finite number")

    @property
    def channels(self) -> int:
        return CHANNELS[self.mode]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the tensor that comes out."""
        height, width = self.crop or (self.height, self.width)
        return self.channels, height, width


@dataclass(frozen=True)
class Contract:
    """Input and labels; what was trained with one contract is served with the same."""

    modality: Modality
    input: TextSpec | ImageSpec
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        _require(self.modality in get_args(Modality), "modality", self.modality, "'text' or 'image'")
        kind = TextSpec if self.modality == "text" else ImageSpec
        _require(
            isinstance(self.input, kind), "input", type(self.input).__name__, f"{kind.__name__} for {self.modality}"
        )
        _require(len(self.labels) >= 2, "labels", self.labels, "at least two")
        _require(len(set(self.labels)) == len(self.labels), "labels", self.labels, "no label twice")

    @property
    def input_hash(self) -> str:
        """SHA-256 (hex) of everything that decides how raw input becomes numbers."""
        return digest([FORMAT, self.modality, _values(self.input)])

    @property
    def labels_hash(self) -> str:
        """SHA-256 (hex) of the labels in their order."""
        return digest(list(self.labels))

    @property
    def hash(self) -> str:
        """Short form of both, for answers, journals and tags."""
        return f"{self.input_hash[:12]}.{self.labels_hash[:12]}"

    def document(self) -> dict[str, Any]:
        """The contract as plain JSON values."""
        return {
            "format": FORMAT,
            "modality": self.modality,
            "input": _values(self.input),
            "labels": list(self.labels),
            "hash": {"input": self.input_hash, "labels": self.labels_hash},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Contract":
        """The contract that `document` describes; the inverse of `document()`.

        Raises:
            BundleError: if the format is another one, a value is missing, unknown or impossible, or the values do
                not give the hashes that stand beside them.
        """
        documents.check_format(document, FORMAT, CONTRACT_FILE)
        try:
            modality = cast(Modality, document["modality"])
            values = _plain(TextSpec if modality == "text" else ImageSpec, document["input"])
            spec = TextSpec(**values) if modality == "text" else ImageSpec(**values)
            contract = cls(modality, spec, tuple(document["labels"]))
            expected = {"input": contract.input_hash, "labels": contract.labels_hash}
        except (KeyError, TypeError, AttributeError, BackboneError) as error:
            raise BundleError(f"{CONTRACT_FILE} cannot be read: {error}.", action=documents.REBUILD) from error
        if document.get("hash") != expected:
            raise BundleError(
                f"{CONTRACT_FILE} was altered: its values give {expected}, beside them stands {document.get('hash')}.",
                action=documents.REBUILD,
            )
        return contract


def read(folder: Path) -> Contract:
    """The contract that `contract.files.write` wrote into `folder`.

    Raises:
        BundleError: if it is absent, unreadable, altered, or of another format.
    """
    return Contract.from_document(documents.read(folder / CONTRACT_FILE))


def _values(spec: TextSpec | ImageSpec) -> dict[str, Any]:
    """The specification as plain values; `flip_channels` only where it is set, so that older contracts keep their hash.

    A headstart that does not know `flip_channels` refuses such a contract as one with an unknown value.
    """
    return {name: value for name, value in asdict(spec).items() if name != "flip_channels" or value}


def _plain(kind: type[TextSpec] | type[ImageSpec], document: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments for `kind`: JSON lists as tuples, unknown names refused."""
    names = {field.name for field in fields(kind)}
    if unknown := sorted(set(document) - names):
        raise TypeError(f"input has the unknown value {unknown[0]!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def _require(holds: bool, name: str, arrived: object, expected: str) -> None:
    if not holds:
        raise BackboneError(f"the contract's {name} is {arrived!r}; expected {expected}.")

"""How a backbone wants its input, read from its own tokenizer and processor files, and what those would compute.

`input_spec` gives the values a contract is made of; `reference` runs transformers' own tokenizer or image processor
(its Pillow backend), which the contract is then compared with.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from headstart import artifacts
from headstart.backbones.checkpoint import configuration
from headstart.backbones.network import DESCRIPTION_FILE
from headstart.backbones.quiet_logging import quiet
from headstart.contract import image as contract_image
from headstart.contract.spec import ImageSpec, Mode, Resample, TextSpec
from headstart.determinism import digest
from headstart.errors import BackboneError, listed
from headstart.findings import Finding
from headstart.params.prepare import Limits

TOKENIZER_FILE = "tokenizer.json"
VOCABULARIES = (TOKENIZER_FILE, "vocab.txt", "vocab.json")
PROCESSOR_FILE = "preprocessor_config.json"
MEGABYTE = 1_000_000
RESAMPLES: dict[int, Resample] = {
    Image.Resampling.NEAREST: "nearest",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
    Image.Resampling.LANCZOS: "lanczos",
}
MODES: dict[int, Mode] = {1: "L", 3: "RGB"}
PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK")
"""Without transparency, `Image.convert` alone gives these the colours that the contract gives them."""

CONVNEXT_STRETCHES_FROM = 384
DINOV3 = "DINOv3ViTImageProcessor"


def input_spec(folder: Path, limits: Limits) -> tuple[TextSpec | ImageSpec, str | None]:
    """The input half of a contract, and the text of `tokenizer.json` (None for images).

    Args:
        folder: a stored backbone.
        limits: what is cut (tokens) and refused (the others) on top of the backbone's own limits.

    Raises:
        BackboneError: if its files ask for something a contract cannot say.
    """
    if artifacts.read_json(folder / DESCRIPTION_FILE)["modality"] == "image":
        return image_spec(folder, limits), None
    text = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
    return text_spec(folder, limits, text, longest=longest(folder)), text


def longest(folder: Path) -> int | None:
    """The most tokens the network of a stored backbone takes, as `store` measured it; None where it sets no limit.

    Backbones stored before that was measured give what their configuration claims, less what position embeddings
    that are counted from the padding token lack.
    """
    document = artifacts.read_json(folder / DESCRIPTION_FILE)
    if "max_tokens" in document:  # format 2
        return document["max_tokens"]  # type: ignore[no-any-return]
    config = configuration(folder)
    positions = getattr(config, "max_position_embeddings", None)
    return positions and int(positions) - (getattr(config, "pad_token_id", None) or 0) - 1


def token_limit(spec: TextSpec | ImageSpec, limits: Limits) -> list[Finding]:
    """The finding `token_limit`, where `prepare.limits.tokens` asks for more than the backbone takes; else nothing."""
    if isinstance(spec, ImageSpec) or spec.max_tokens >= limits.tokens:
        return []
    return [Finding("token_limit", "unsure", float(spec.max_tokens), float(limits.tokens))]


def reference(folder: Path, limits: Limits) -> Callable[[Sequence[Any]], list[NDArray[Any]]]:
    """What transformers computes from raw inputs: token ids int64 `(tokens,)`, or pixels float32 `(c, h, w)`.

    Texts are cut at the same length as by the contract. Images are decoded by Pillow, turned as their EXIF says and
    converted to the backbone's number of channels; the rest is the backbone's own processor. A processor does not say
    what becomes of transparency, 16 bits or rare colour modes: such images are decoded as the contract decodes them, so
    that only the processor's own steps are compared.
    """
    spec, _ = input_spec(folder, limits)
    if isinstance(spec, TextSpec):
        return _text_reference(folder, spec)
    return _image_reference(folder, spec)


def text_spec(folder: Path, limits: Limits, tokenizer_json: str, *, longest: int | None) -> TextSpec:
    """Length and padding of a tokenizer; as many tokens as limits, tokenizer and network (`longest`) all allow."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.pad_token is None or tokenizer.pad_token_id is None:
        raise BackboneError(
            f"the tokenizer of {folder} has no padding token: it belongs to a generative model.",
            action="Use an encoder (BERT, RoBERTa, DistilBERT, MPNet).",
        )
    if tokenizer.truncation_side != "right":
        raise BackboneError(f"the tokenizer of {folder} cuts texts on the left; a contract cuts on the right.")
    return TextSpec(
        max_tokens=int(min(limits.tokens, tokenizer.model_max_length, longest or limits.tokens)),
        max_characters=limits.characters,
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        truncation_side="right",
        tokenizer_sha256=digest(tokenizer_json),
    )


def image_spec(folder: Path, limits: Limits) -> ImageSpec:
    """Size, crop, scale and channel order of an image processor, as one declarative value.

    What its options say is read here; whether its code does what they say is measured by `export.trial`.

    Raises:
        BackboneError: naming every option of the processor that a contract has no word for.
    """
    processor, config = load_processor(folder), configuration(folder)
    channels = getattr(config, "num_channels", 3)
    stretch, edge, crop = _geometry(processor)
    _refuse_unknown(folder, processor, channels, fixed=bool(crop or stretch), sized=bool(stretch or edge))
    height, width = stretch or crop or (0, 0)
    mean, std = _normalisation(processor, channels)
    return ImageSpec(
        mode=MODES[channels],
        resize="stretch" if stretch else "shortest_edge" if edge else "none",
        height=height,
        width=width,
        shortest_edge=edge,
        resample=RESAMPLES.get(int(processor.resample or 0), "nearest"),  # unknown ones are refused where they count
        crop=crop,
        rescale=float(processor.rescale_factor) if processor.do_rescale else 1.0,
        mean=mean,
        std=std,
        max_pixels=limits.pixels,
        max_bytes=limits.megabytes * MEGABYTE,
        flip_channels=channels == 3 and bool(getattr(processor, "do_flip_channel_order", False)),
    )


def load_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer of a folder.

    Raises:
        BackboneError: if there is none that transformers can load without running foreign code.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARIES):  # transformers would make up an empty one
        raise BackboneError(
            f"{folder} has no tokenizer: none of {', '.join(VOCABULARIES)}.",
            action=f"Put the checkpoint's {TOKENIZER_FILE} beside config.json.",
        )
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"{folder} has no tokenizer that transformers can load: {' '.join(str(error).split())[:200]}",
            action="Put the checkpoint's tokenizer.json beside config.json.",
        ) from error


def load_processor(folder: Path) -> Any:
    """transformers' image processor of a folder, computed by Pillow and numpy.

    Raises:
        BackboneError: if there is no processor file, its kind is unknown, or it can't be computed without torchvision.
    """
    from transformers import AutoImageProcessor
    from transformers.image_processing_backends import PilBackend

    path = folder / PROCESSOR_FILE
    kind = _declared(path) or _mapped(configuration(folder).model_type).get("torchvision") or ""
    try:
        with quiet():
            if kind.startswith(DINOV3):
                return _dinov3().from_pretrained(folder, local_files_only=True)
            processor = AutoImageProcessor.from_pretrained(
                folder, backend="pil", trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        raise _unloadable(path, kind, error) from error
    if not isinstance(processor, PilBackend):
        raise BackboneError(
            f"{path} names {type(processor).__name__}, whose steps are not stated in its file.",
            action="Use a processor that states its resize, crop, scale and normalisation, such as ViTImageProcessor.",
        )
    return processor


def default_processor(folder: Path) -> Any:
    """The processor that the architecture of `config.json` has when nobody says otherwise.

    Raises:
        BackboneError: if transformers knows none for it, or none that works without torchvision.
    """
    from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

    kind = configuration(folder).model_type
    names = _mapped(kind)
    if (names.get("torchvision") or "").startswith(DINOV3):
        found = _dinov3()
    else:
        found = get_image_processor_class_from_name(names["pil"]) if names.get("pil") else None
    if found is None:
        lacking = f"its {names['torchvision']} needs torchvision" if names else f"transformers knows none for {kind}"
        raise BackboneError(
            f"{folder} has no {PROCESSOR_FILE}, and there is no default image processor for {kind}: {lacking}.",
            action=f"Put the {PROCESSOR_FILE} that its images were prepared with beside config.json.",
        )
    with quiet():
        return found()


def _dinov3() -> Any:
    from headstart.backbones.dinov3 import DINOv3ViTImageProcessor

    return DINOv3ViTImageProcessor


def _declared(path: Path) -> str | None:
    """The kind a processor file names, without the suffix that says how it is computed."""
    try:
        document = artifacts.read_json(path) if path.is_file() else {}
    except ValueError:
        return None
    name = document.get("image_processor_type") if isinstance(document, dict) else None
    return str(name).removesuffix("Fast").removesuffix("Pil") if name else None


def _mapped(kind: str) -> dict[str, str | None]:
    """transformers' image processors of a model type, by how they are computed."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    return dict(IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {}))


def _unloadable(path: Path, kind: str, error: Exception) -> BackboneError:
    """Why a processor file can't be used; `kind` is the processor it names, or the architecture's own."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    told = " ".join(str(error).split())[:200]
    if not path.is_file():
        action = f"Put the checkpoint's {PROCESSOR_FILE} beside config.json."
        return BackboneError(f"{path} does not exist: {told}", action=action)
    every = [names for names in IMAGE_PROCESSOR_MAPPING_NAMES.values() if kind in names.values()]
    if kind and all(not names.get("pil") for names in every):
        why = "transformers computes with torchvision only" if every else "this version of transformers does not know"
        return BackboneError(
            f"{path} names {kind}, which {why}; headstart prepares images with Pillow and ONNX, and can't tell what "
            "its steps are.",
            action="Use a backbone whose processor has a Pillow version in transformers (docs/backbones.md).",
        )
    return BackboneError(
        f"{path} can't be loaded as {kind or 'an image processor'}: {told}",
        action="Compare it with the file that the checkpoint was published with.",
    )


def _kind(processor: Any) -> str:
    """The name that processor files know it by."""
    return type(processor).__name__.removesuffix("Pil")


def _geometry(processor: Any) -> tuple[tuple[int, int] | None, int | None, tuple[int, int] | None]:
    """What every picture is stretched to, or else what its shorter side becomes; and what is cut from the middle.

    Sources of what single processors make of `size`: transformers 5.23, `image_processing_pil_<kind>.py`.
    """
    size, crop, kind = _size(processor.size), _crop(processor), _kind(processor)
    if not processor.do_resize:
        return None, None, crop
    stretch = (size["height"], size["width"]) if {"height", "width"} <= set(size) else None
    edge = size.get("shortest_edge") if stretch is None and "longest_edge" not in size else None
    share: Any = getattr(processor, "crop_pct", None)
    if kind == "ConvNextImageProcessor" and edge and (share or edge >= CONVNEXT_STRETCHES_FROM):
        if edge >= CONVNEXT_STRETCHES_FROM:
            return (edge, edge), None, crop
        return None, int(edge / share), (edge, edge)  # it cuts what it enlarged by 1 / crop_pct
    if kind == "PoolFormerImageProcessor" and share:
        if stretch and stretch[0] != stretch[1]:
            return (int(stretch[0] / share), int(stretch[1] / share)), None, crop
        if square := edge or (stretch and stretch[0]):
            return None, int(square / share), crop
    if kind == "LevitImageProcessor" and edge:
        return None, int(256 / 224 * edge), crop
    return stretch, edge, crop


def _normalisation(processor: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What is subtracted from rescaled levels, and what the rest is divided by.

    EfficientNet's processor may shift levels by one after rescaling (`rescale_offset`) and divide by `image_std` once
    more (`include_top`); both are part of the same subtraction and division. MobileViT's never normalises.
    """
    normalised = bool(processor.do_normalize) and _kind(processor) != "MobileViTImageProcessor"
    mean = _per_channel(processor.image_mean, channels) if normalised else (0.0,) * channels
    std = _per_channel(processor.image_std, channels) if normalised else (1.0,) * channels
    if processor.do_rescale and getattr(processor, "rescale_offset", False):
        mean = tuple(value + 1.0 for value in mean)
    if getattr(processor, "include_top", False):
        std = tuple(a * b for a, b in zip(std, _per_channel(processor.image_std, channels), strict=True))
    return mean, std


def _refuse_unknown(folder: Path, processor: Any, channels: int, *, fixed: bool, sized: bool) -> None:
    """Raise with every option that an `ImageSpec` cannot hold."""
    normalises = bool(processor.do_normalize) or bool(getattr(processor, "include_top", False))
    problems = {
        f"resample is {processor.resample}, known are {RESAMPLES}": bool(processor.do_resize)
        and int(processor.resample or 0) not in RESAMPLES,
        f"size is {_size(processor.size)}; height and width, or shortest_edge alone, were expected": bool(
            processor.do_resize
        )
        and not sized,
        "images of different sizes come out (no crop, no fixed height and width)": not fixed,
        "do_pad is on": bool(getattr(processor, "do_pad", False)),
        f"the network takes {channels} channels, 1 or 3 were expected": channels not in MODES,
        f"image_mean and image_std have {_length(processor.image_mean)} and {_length(processor.image_std)} values "
        f"for {channels} channels": normalises and not _fits(processor, channels),
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise BackboneError(
            f"{folder / PROCESSOR_FILE} asks for what a contract cannot say:\n{listed(found)}",
            action="Use a processor that resizes to a fixed size, or to a shorter side and a crop, rescales and "
            "normalises.",
        )


def _text_reference(folder: Path, spec: TextSpec) -> Callable[[Sequence[Any]], list[NDArray[Any]]]:
    tokenizer = load_tokenizer(folder)

    def encode(raw: Sequence[Any]) -> list[NDArray[Any]]:
        encoded = tokenizer(list(raw), truncation=True, max_length=spec.max_tokens, padding=False)
        return [np.array(ids, dtype=np.int64) for ids in encoded["input_ids"]]

    return encode


def _image_reference(folder: Path, spec: ImageSpec) -> Callable[[Sequence[Any]], list[NDArray[Any]]]:
    processor = load_processor(folder)

    def compute(raw: Sequence[Any]) -> list[NDArray[Any]]:
        arrays = []
        for data in raw:
            batch = processor(_levels(data, spec), return_tensors="np", input_data_format="channels_last")
            arrays.append(np.asarray(batch["pixel_values"][0], dtype=np.float32))
        return arrays

    return compute


def _levels(data: bytes, spec: ImageSpec) -> NDArray[np.uint8]:
    """The decoded image, `(height, width, channels)`: by Pillow alone where its own conversion is well defined."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in PLAIN_MODES and "transparency" not in image.info:
                levels = np.asarray(ImageOps.exif_transpose(image).convert(spec.mode), dtype=np.uint8)
                return levels if levels.ndim == 3 else levels[..., None]
    except contract_image.DAMAGED:  # a damaged EXIF block, which the contract passes over
        pass
    return contract_image.decode(data, spec)


def set_sizes(processor: Any) -> dict[str, int]:
    """What of a processor's size is set."""
    return _size(processor.size)


def _size(size: Any) -> dict[str, int]:
    """What of a processor's size is set."""
    return {key: int(value) for key, value in dict(size or {}).items() if value}


def _crop(processor: Any) -> tuple[int, int] | None:
    if not getattr(processor, "do_center_crop", False):
        return None
    crop = _size(processor.crop_size)
    return (crop["height"], crop["width"]) if {"height", "width"} <= set(crop) else None


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | tuple) else 0 if values is None else 1


def _fits(processor: Any, channels: int) -> bool:
    return all(_length(values) in (1, channels) for values in (processor.image_mean, processor.image_std))


def _per_channel(values: Any, channels: int) -> tuple[float, ...]:
    each = tuple(float(value) for value in (values if isinstance(values, list | tuple) else [values]))
    return each * (channels if len(each) == 1 else 1)


def counter(tokenizer_json: str | None) -> Callable[[Sequence[str]], list[int]] | None:
    """How many tokens each text has before it is cut, special ones included; None where there is no tokenizer."""
    if tokenizer_json is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts))]

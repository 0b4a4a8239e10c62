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
from headstart.backbones.silence import quiet
from headstart.contract import image as contract_image
from headstart.contract.spec import ImageSpec, Mode, Resample, TextSpec
from headstart.determinism import digest
from headstart.errors import BackboneError, listed
from headstart.params.prepare import Limits

TOKENIZER_FILE = "tokenizer.json"
VOCABULARIES = (TOKENIZER_FILE, "vocab.txt", "vocab.json")
PROCESSOR_FILE = "preprocessor_config.json"
MEGABYTE = 1_000_000
RESAMPLES: dict[int, Resample] = {
    Image.Resampling.NEAREST: "nearest",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
}
MODES: dict[int, Mode] = {1: "L", 3: "RGB"}
PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK")
"""Without transparency, `Image.convert` alone gives these the colours that the contract gives them."""

COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
CONVNEXT_STRETCHES_FROM = 384


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
    return text_spec(folder, limits, text), text


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


def text_spec(folder: Path, limits: Limits, tokenizer_json: str) -> TextSpec:
    """Length and padding of a tokenizer; as many tokens as limits, tokenizer and position embeddings all allow."""
    tokenizer, config = load_tokenizer(folder), configuration(folder)
    if tokenizer.pad_token is None or tokenizer.pad_token_id is None:
        raise BackboneError(
            f"the tokenizer of {folder} has no padding token: it belongs to a generative model.",
            action="Use an encoder (BERT, RoBERTa, DistilBERT, MPNet).",
        )
    if tokenizer.truncation_side != "right":
        raise BackboneError(f"the tokenizer of {folder} cuts texts on the left; a contract cuts on the right.")
    positions = getattr(config, "max_position_embeddings", None) or limits.tokens
    if config.model_type in COUNTED_FROM_PADDING:
        positions -= tokenizer.pad_token_id + 1
    return TextSpec(
        max_tokens=min(limits.tokens, int(min(tokenizer.model_max_length, positions))),
        max_characters=limits.characters,
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        truncation_side="right",
        tokenizer_sha256=digest(tokenizer_json),
    )


def image_spec(folder: Path, limits: Limits) -> ImageSpec:
    """Size, crop and normalisation of an image processor, as one declarative value.

    Raises:
        BackboneError: naming every option of the processor that a contract has no word for.
    """
    processor, config = load_processor(folder), configuration(folder)
    channels = getattr(config, "num_channels", 3)
    size, crop = _size(processor.size), _crop(processor)
    stretch = size.get("height") and size.get("width")
    edge = None if stretch else size.get("shortest_edge")
    if edge and type(processor).__name__.startswith("ConvNext"):
        if edge >= CONVNEXT_STRETCHES_FROM:
            stretch, size, edge = edge, {"height": edge, "width": edge}, None
        else:  # it cuts what it enlarged by 1 / crop_pct
            crop, edge = (edge, edge), int(edge / processor.crop_pct)
    if not processor.do_resize:
        stretch = edge = None
    _refuse_unknown(folder, processor, channels, fixed=bool(crop or stretch), sized=bool(stretch or edge))
    height, width = (size["height"], size["width"]) if stretch else crop or (0, 0)
    return ImageSpec(
        mode=MODES[channels],
        resize="stretch" if stretch else "shortest_edge" if edge else "none",
        height=height,
        width=width,
        shortest_edge=edge,
        resample=RESAMPLES[int(processor.resample)],
        crop=crop,
        rescale=float(processor.rescale_factor) if processor.do_rescale else 1.0,
        mean=_per_channel(processor.image_mean, channels) if processor.do_normalize else (0.0,) * channels,
        std=_per_channel(processor.image_std, channels) if processor.do_normalize else (1.0,) * channels,
        max_pixels=limits.pixels,
        max_bytes=limits.megabytes * MEGABYTE,
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
        BackboneError: if there is no processor file, or its kind is unknown.
    """
    from transformers import AutoImageProcessor

    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BackboneError(
            f"{folder} has no image processor that transformers can load: {' '.join(str(error).split())[:200]}",
            action=f"Put the checkpoint's {PROCESSOR_FILE} beside config.json.",
        ) from error


def default_processor(folder: Path) -> Any:
    """The processor that the architecture of `config.json` has when nobody says otherwise.

    Raises:
        BackboneError: if transformers knows none for it.
    """
    from transformers.models.auto.image_processing_auto import (
        IMAGE_PROCESSOR_MAPPING_NAMES,
        get_image_processor_class_from_name,
    )

    kind = configuration(folder).model_type
    name = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {}).get("pil")
    found = get_image_processor_class_from_name(name) if name else None
    if found is None:
        raise BackboneError(
            f"{folder} has no {PROCESSOR_FILE}, and transformers knows no default image processor for {kind}.",
            action=f"Put the checkpoint's {PROCESSOR_FILE} beside config.json.",
        )
    with quiet():
        return found()


def _refuse_unknown(folder: Path, processor: Any, channels: int, *, fixed: bool, sized: bool) -> None:
    """Raise with every option that an `ImageSpec` cannot hold."""
    from transformers.image_processing_backends import PilBackend

    kind = type(processor)
    own_steps = kind._preprocess is not PilBackend._preprocess and not kind.__name__.startswith("ConvNext")
    problems = {
        f"{kind.__name__} has steps of its own": own_steps,
        f"resample is {processor.resample}, known are {RESAMPLES}": int(processor.resample or 0) not in RESAMPLES,
        f"size is {dict(_size(processor.size))}": bool(processor.do_resize) and not sized,
        "images of different sizes come out (no crop, no fixed height and width)": not fixed,
        "do_pad is on": bool(getattr(processor, "do_pad", False)),
        f"the network takes {channels} channels, 1 or 3 were expected": channels not in MODES,
        f"image_mean and image_std have {len(processor.image_mean or ())} and {len(processor.image_std or ())} values "
        f"for {channels} channels": bool(processor.do_normalize) and not _fits(processor, channels),
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise BackboneError(
            f"{folder / PROCESSOR_FILE} asks for what a contract cannot say:\n{listed(found)}",
            action="Use a processor that resizes to a fixed size, rescales and normalises.",
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


def _fits(processor: Any, channels: int) -> bool:
    return all(len(values or ()) in (1, channels) for values in (processor.image_mean, processor.image_std))


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(float(value) for value in values) * (channels if len(values) == 1 else 1)


def counter(tokenizer_json: str | None) -> Callable[[Sequence[str]], list[int]] | None:
    """How many tokens each text has before it is cut, special ones included; None where there is no tokenizer."""
    if tokenizer_json is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts))]

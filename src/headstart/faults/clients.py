"""What a client computed from one raw input, against what the contract computes: where they differ, and why.

A client that prepares inputs itself sends a tensor, token ids or logits. Each known mistake of such clients is carried
out here on the same raw input; the one whose numbers are the client's is the explanation. One input is enough.

    image   layout · colour order · scale · geometry    single mistakes first, then two at once
    text    special tokens · cut · padding · casing and cleaning · another tokenizer
    logits  any of the above through the network; probabilities or other labels instead of logits
"""

import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.contract import image as images
from headstart.contract import spec as contracts
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import UsageError
from headstart.faults import texts
from headstart.predictor import Predictor

SAME_LEVELS = 1.01  # grey levels; another version of Pillow rounds by one
EXPLAINED_LEVELS = 3.0  # libraries that resize without antialiasing differ from each other by as much
EXPLAINED_MEAN = 0.75
SAME_LOGITS = 1e-3
EXPLAINED_SHARE = 0.15  # of a difference in logits may remain: libraries round levels differently
NORMALISATIONS = {
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean and deviation 0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP's mean and deviation": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
Kind = Literal["tensor", "token_ids", "logits"]
Levels = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """How a client's numbers compare with ours.

    Attributes:
        agrees: they are the contract's, within what libraries round differently.
        kind: what was taken to have arrived.
        difference: the largest: in grey levels for tensors, in logits, in tokens that differ; None where the shapes do.
        where: the first place where they differ, or that they don't.
        faults: the known mistakes that together give the client's numbers; empty where none does.
        meaning: a sentence for people.
    """

    agrees: bool
    kind: Kind
    difference: float | None
    where: str
    faults: tuple[str, ...]
    meaning: str

    def document(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {**asdict(self), "faults": list(self.faults)}


def compare(folder: Path, predictor: Predictor, raw: str | bytes, arrived: Any) -> Comparison:
    """Hold a client's numbers for one raw input against the contract's.

    Args:
        folder: of the bundle.
        predictor: of the bundle.
        raw: the text, or the bytes of the picture.
        arrived: the client's tensor, token ids (with or without a batch dimension) or logits.

    Raises:
        ContractError: if the contract does not accept `raw`.
        UsageError: if `arrived` is no array of numbers, or of a shape that is none of the three.
    """
    try:
        numbers = np.asarray(arrived, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"what the client computed is no array of numbers: {error}.",
            action="Send the tensor, the token ids or the logits of one input, as nested lists or a .npy file.",
        ) from None
    while numbers.ndim > 1 and numbers.shape[0] == 1 and not _is_one_picture(numbers, predictor):
        numbers = numbers[0]  # a batch of one
    spec = predictor.contract.input
    if not np.isfinite(numbers).all():
        return _not_finite(numbers, predictor)
    if isinstance(spec, ImageSpec) and isinstance(raw, bytes):
        if numbers.ndim >= 2:
            return _compare_tensor(predictor, spec, raw, numbers)
        variants = ((names, tensor) for names, tensor, _ in _tensors(predictor, spec, raw))
        return _compare_logits(predictor, raw, numbers, variants)
    if isinstance(spec, TextSpec) and isinstance(raw, str) and numbers.ndim == 1:
        known = _Tokens(folder, spec)
        if (numbers == np.rint(numbers)).all() and len(numbers) != len(predictor.labels):
            return _compare_tokens(predictor, known, raw, numbers.astype(np.int64))
        if (numbers == np.rint(numbers)).all() and (numbers >= 0).all() and (numbers > 1).any():
            return _compare_tokens(predictor, known, raw, numbers.astype(np.int64))
        return _compare_logits(predictor, raw, numbers, known.variants(raw))
    raise UsageError(
        f"an array of shape {numbers.shape} arrived; expected "
        + ("a tensor of one picture" if isinstance(spec, ImageSpec) else "the token ids of one text")
        + f", or {len(predictor.labels)} logits."
    )


def _not_finite(numbers: NDArray[np.float64], predictor: Predictor) -> Comparison:
    """What is said of NaN and infinity, which no contract gives."""
    where = np.argwhere(~np.isfinite(numbers))
    place = tuple(int(at) for at in where[0])
    kind: Kind = "tensor" if numbers.ndim > 1 else "logits" if len(numbers) == len(predictor.labels) else "token_ids"
    return Comparison(
        agrees=False,
        kind=kind,
        difference=None,
        where=f"the value at {list(place)} is {numbers[place]}, one of {len(where)} of {numbers.size} that are NaN or "
        "infinite",
        faults=(),
        meaning="The contract gives finite numbers only: look for a division by zero or a half-precision overflow.",
    )


def _is_one_picture(numbers: NDArray[np.float64], predictor: Predictor) -> bool:
    """Whether the first dimension is a single channel and no batch."""
    spec = predictor.contract.input
    return isinstance(spec, ImageSpec) and numbers.ndim == 3 and spec.channels == 1


# ---------------------------------------------------------------------------------------------------------- pictures


def _compare_tensor(predictor: Predictor, spec: ImageSpec, raw: bytes, arrived: NDArray[np.float64]) -> Comparison:
    ours = predictor.preprocessor.prepare([raw])[0].astype(np.float64)  # (channels, height, width)
    step = abs(spec.rescale) / min(abs(value) for value in spec.std)  # one grey level
    if arrived.ndim == 2:
        arrived = arrived[None]
    difference = float(np.abs(arrived - ours).max() / step) if arrived.shape == ours.shape else None
    if difference is not None and difference <= SAME_LEVELS:
        return Comparison(True, "tensor", difference, "no value differs by more than a grey level", (), "It agrees.")
    if difference is None:
        where = f"its shape is {arrived.shape}; {ours.shape} was expected"
    else:
        place = tuple(int(at) for at in np.argwhere(np.abs(arrived - ours) > SAME_LEVELS * step)[0])
        named = f"channel {place[0]}, row {place[1]}, column {place[2]}"
        where = f"{named} is {arrived[place]:.4g}; {ours[place]:.4g} was expected"
    best: tuple[int, float, tuple[str, ...]] | None = None
    for names, tensor, level in _tensors(predictor, spec, raw):
        if not names or tensor.shape != arrived.shape:
            continue
        if best is not None and len(names) > best[0]:
            break  # simpler explanations come first
        gaps = np.abs(arrived - tensor) / level
        if np.quantile(gaps, 0.995) <= EXPLAINED_LEVELS and gaps.mean() <= EXPLAINED_MEAN:
            found = (len(names), float(gaps.mean()), names)
            best = found if best is None or found < best else best
    return _explained("tensor", difference, where, best[2] if best else ())


def _tensors(
    predictor: Predictor, spec: ImageSpec, raw: bytes
) -> Iterator[tuple[tuple[str, ...], NDArray[np.float64], float]]:
    """Each combination of at most two mistakes: their names, the tensor they give, and its size of one grey level."""
    geometries = {"": _ours, **_geometries(spec)}
    colours = {"": 0, "red and blue are swapped": 1, "colour was removed": 2} if spec.channels == 3 else {"": 0}
    scales = {"": (spec.rescale, spec.mean, spec.std), **_scales(spec)}
    layouts = {"": False, "channels come last": True}
    levels: dict[str, Levels | None] = {}
    combined = sorted(product(geometries, colours, scales, layouts), key=lambda names: sum(map(bool, names)))
    for names in combined:
        given = tuple(name for name in names if name)
        if len(given) > 2:
            return
        geometry, colour, scale, layout = names
        if geometry not in levels:
            levels[geometry] = geometries[geometry](raw, spec)
        seen = levels[geometry]
        if seen is None:
            continue
        values = seen[..., ::-1] if colours[colour] != getattr(spec, "flip_channels", False) else seen
        if colours[colour] == 2:
            values = np.repeat((seen @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
        rescale, mean, std = scales[scale]
        tensor = (values * rescale - np.array(mean)) / np.array(std)  # (height, width, channels)
        level = abs(rescale) / min(abs(value) for value in std)
        yield given, tensor if layouts[layout] else tensor.transpose(2, 0, 1), level


def _scales(spec: ImageSpec) -> dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]]:
    """Ways to scale levels that are not the contract's."""
    zeros, ones = (0.0,) * spec.channels, (1.0,) * spec.channels
    known = {
        "levels were not divided by 255": (1.0, spec.mean, spec.std),
        "levels were divided by 255 twice": (spec.rescale / 255, spec.mean, spec.std),
        "levels 0 to 255 are neither divided nor normalised": (1.0, zeros, ones),
        "mean and deviation were left out": (1 / 255, zeros, ones),
    }
    if spec.channels == 3:
        known |= {f"normalised by {name}": (1 / 255, *values) for name, values in NORMALISATIONS.items()}
    own = (spec.rescale, spec.mean, spec.std)
    return {name: values for name, values in known.items() if not _alike(values, own)}


def _alike(one: Any, other: Any) -> bool:
    return all(np.allclose(a, b) for a, b in zip(one, other, strict=True))


def _geometries(spec: ImageSpec) -> dict[str, Callable[[bytes, ImageSpec], Levels | None]]:
    """Ways to size pictures that are not the contract's; None where one makes no difference to this picture."""

    def filtered(name: str) -> Callable[[bytes, ImageSpec], Levels | None]:
        return lambda raw, spec: _sized(_decoded(raw, spec), spec, FILTERS[name])

    ways: dict[str, Callable[[bytes, ImageSpec], Levels | None]] = {"EXIF's orientation was ignored": _lying}
    if spec.resize == "none":
        return ways
    ways |= {f"resized by the {name} filter": filtered(name) for name in FILTERS if name != spec.resample}
    ways["resized without antialiasing"] = _aliased
    if spec.crop is not None:
        ways["squashed to size, proportions lost"] = _squashed
        ways["cropped without resizing first"] = _cropped
        ways["the shorter side was made as long as the crop"] = _tight
    return ways


def _decoded(raw: bytes, spec: ImageSpec) -> Image.Image:
    levels = images.decode(raw, spec)
    return Image.fromarray(levels if levels.shape[2] > 1 else levels[..., 0])


def _ours(raw: bytes, spec: ImageSpec) -> Levels:
    return _sized(_decoded(raw, spec), spec, FILTERS[spec.resample])


def _lying(raw: bytes, spec: ImageSpec) -> Levels | None:
    with Image.open(io.BytesIO(raw)) as picture:
        if picture.getexif().get(274, 1) == 1:
            return None
        return _sized(picture.convert(spec.mode), spec, FILTERS[spec.resample])


def _aliased(raw: bytes, spec: ImageSpec) -> Levels:
    """Bilinear between the nearest four pixels, whatever the reduction: OpenCV's and PyTorch's default."""
    picture = _decoded(raw, spec)
    height, width = _target(picture, spec)
    source = _array(picture)
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for new, old in ((height, source.shape[0]), (width, source.shape[1]))
    )
    top, left = rows.astype(int), columns.astype(int)
    below, right = np.minimum(top + 1, source.shape[0] - 1), np.minimum(left + 1, source.shape[1] - 1)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = source[top][:, left] * (1 - across) + source[top][:, right] * across
    lower = source[below][:, left] * (1 - across) + source[below][:, right] * across
    return _cut(np.rint(upper * (1 - down) + lower * down), spec)


def _squashed(raw: bytes, spec: ImageSpec) -> Levels:
    _, height, width = spec.shape
    return _array(_decoded(raw, spec).resize((width, height), FILTERS[spec.resample]))


def _cropped(raw: bytes, spec: ImageSpec) -> Levels:
    return _cut(_array(_decoded(raw, spec)), spec)


def _tight(raw: bytes, spec: ImageSpec) -> Levels:
    picture = _decoded(raw, spec)
    edge = min(spec.crop or (spec.height, spec.width))
    short = min(picture.size)
    size = (picture.width * edge // short, picture.height * edge // short)
    return _cut(_array(picture.resize(size, FILTERS[spec.resample])), spec)


def _sized(picture: Image.Image, spec: ImageSpec, resample: Image.Resampling) -> Levels:
    height, width = _target(picture, spec)
    return _cut(_array(picture if spec.resize == "none" else picture.resize((width, height), resample)), spec)


def _target(picture: Image.Image, spec: ImageSpec) -> tuple[int, int]:
    if spec.resize == "stretch":
        return spec.height, spec.width
    if spec.shortest_edge is None:
        return picture.height, picture.width
    short = min(picture.size)
    return picture.height * spec.shortest_edge // short, picture.width * spec.shortest_edge // short


def _array(picture: Image.Image) -> Levels:
    levels = np.asarray(picture, dtype=np.float64)
    return levels if levels.ndim == 3 else levels[..., None]


def _cut(levels: Levels, spec: ImageSpec) -> Levels:
    """The middle that the contract keeps, black where the picture is smaller."""
    if spec.crop is None:
        return levels
    for axis, size in enumerate(spec.crop):
        lacking = max(0, size - levels.shape[axis])
        pads = [(0, 0)] * 3
        pads[axis] = (lacking - lacking // 2, lacking // 2)
        levels = np.pad(levels, pads)
        start = (levels.shape[axis] - size) // 2
        levels = np.take(levels, np.arange(start, start + size), axis=axis)
    return levels


# ------------------------------------------------------------------------------------------------------------- texts


class _Tokens:
    """Ways to turn a text into token ids: the contract's, and those that clients use instead."""

    def __init__(self, folder: Path, spec: TextSpec) -> None:
        from tokenizers import Tokenizer

        self.spec = spec
        self._tokenizer = Tokenizer.from_str((folder / contracts.TOKENIZER_FILE).read_text(encoding="utf-8"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocabulary = int(self._tokenizer.get_vocab_size())

    def ids(self, text: str, *, special: bool = True, cut: int | None = None, side: str = "right") -> NDArray[np.int64]:
        """Token ids; `cut` counts special tokens."""
        if cut is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_length=cut, direction=side)
        return np.array(self._tokenizer.encode(text, add_special_tokens=special).ids, dtype=np.int64)

    def variants(self, text: str, length: int | None = None) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """Mistakes and the ids they give, single ones first.

        Args:
            text: the raw input.
            length: how many ids the client sent: what it was cut to, if it was cut.
        """
        most = self.spec.max_tokens
        special = self._tokenizer.num_special_tokens_to_add(False)
        lengths = {"": most}
        if length is not None and special < length != most and length < len(self.ids(text)):
            lengths[f"cut to {length} tokens instead of {most}"] = length
        for cleaning, cleaned in {"": text, **_cleanings(text)}.items():
            for cut_name, cut in lengths.items():
                yield _given(cleaning, cut_name), self.ids(cleaned, cut=cut)
            yield _given(cleaning, f"not cut to {most} tokens"), self.ids(cleaned)
            yield _given(cleaning, "cut at the beginning instead of the end"), self.ids(cleaned, cut=most, side="left")
            bare = self.ids(cleaned, special=False)
            yield _given(cleaning, "special tokens are missing"), bare[: most - special]
            for other in (most, length or most):
                yield _given(cleaning, "special tokens are missing"), bare[:other]
            yield _given(cleaning, "cut after tokenizing, the closing token is lost"), self.ids(cleaned)[:most]


def _given(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name)


def _cleanings(text: str) -> dict[str, str]:
    """What clients do to texts before they tokenize; those that leave this text as it is are left out."""
    generator = np.random.default_rng(0)
    without_accents = "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    ways = {
        "lower-cased": text.lower(),
        "punctuation was removed": texts.punctuation_removed(text, 1, generator),
        "HTML was escaped": texts.html_escaped(text, 1, generator),
        "decoded with another encoding": texts.mojibake(text, 1, generator),
        "accents were removed": without_accents,
        "white space was collapsed": re.sub(r"\s+", " ", text).strip(),
        "in capitals": text.upper(),
    }
    return {name: cleaned for name, cleaned in ways.items() if cleaned and cleaned != text}


def _compare_tokens(predictor: Predictor, known: _Tokens, raw: str, arrived: NDArray[np.int64]) -> Comparison:
    ours = predictor.preprocessor.prepare([raw])[0]
    pad = known.spec.pad_id
    filled = np.flatnonzero(arrived != pad)
    if not len(filled):
        return Comparison(False, "token_ids", float(len(ours)), "every token is padding", (), "Nothing was sent.")
    before, after = int(filled[0]), len(arrived) - 1 - int(filled[-1])
    core = arrived[before : len(arrived) - after]
    padding = ("padded at the beginning instead of the end",) if before else ()
    if np.array_equal(core, ours) and not before:
        return Comparison(True, "token_ids", 0.0, f"all {len(ours)} tokens are equal", (), "It agrees.")
    shared = min(len(core), len(ours))
    different = np.flatnonzero(core[:shared] != ours[:shared])
    count = float(len(different) + abs(len(core) - len(ours)))
    if before:
        where = f"{before} tokens of padding stand before the text"
    elif len(different):
        place = int(different[0])
        where = f"token {place} is {core[place]}; {ours[place]} was expected"
    else:
        where = f"it has {len(core)} tokens; {len(ours)} were expected"
    if np.array_equal(core, ours):
        return _explained("token_ids", count, where, padding)
    best: tuple[str, ...] = ()
    for names, ids in known.variants(raw, len(core)):
        if names and np.array_equal(ids, core) and (not best or len(names) < len(best)):
            best = names
    if best:
        return _explained("token_ids", count, where, (*padding, *best))
    if core.max() >= known.vocabulary or (shared and (core[:shared] == ours[:shared]).mean() < 0.5):
        return _explained("token_ids", count, where, (*padding, "another tokenizer or vocabulary was used"))
    return _explained("token_ids", count, where, padding)


# ------------------------------------------------------------------------------------------------------------ logits


def _compare_logits(
    predictor: Predictor,
    raw: str | bytes,
    arrived: NDArray[np.float64],
    variants: Iterator[tuple[tuple[str, ...], NDArray[Any]]],
) -> Comparison:
    ours = predictor.logits([raw])[0].astype(np.float64)
    if arrived.shape != ours.shape:
        raise UsageError(f"{arrived.shape[0]} logits arrived; the model has {len(ours)} classes.")
    difference = float(np.abs(arrived - ours).max())
    if difference <= SAME_LOGITS:
        return Comparison(True, "logits", difference, "no logit differs by more than 0.001", (), "It agrees.")
    place = int(np.abs(arrived - ours).argmax())
    where = f"the logit of {predictor.labels[place]!r} is {arrived[place]:.4g}; {ours[place]:.4g} was expected"
    softened = np.exp(ours - ours.max()) / np.exp(ours - ours.max()).sum()
    calibrated = predictor.probabilities(ours[None])[0]
    for name, other in {
        "probabilities were sent instead of logits": softened,
        "calibrated probabilities were sent instead of logits": calibrated,
        "classes stand in another order": np.sort(ours),
    }.items():
        mine = np.sort(arrived) if name.startswith("classes") else arrived
        if np.abs(mine - other).max() <= SAME_LOGITS:
            return _explained("logits", difference, where, (name,))
    fitting: list[tuple[float, tuple[str, ...]]] = []
    for names, item in _distinct(variants):
        if not names or (
            isinstance(predictor.contract.input, ImageSpec) and item.shape != predictor.contract.input.shape
        ):
            continue
        if fitting and len(names) > len(fitting[0][1]):
            break
        logits = predictor.run([item.astype(np.float32) if item.dtype.kind == "f" else item])[0][0]
        gap = float(np.abs(arrived - logits).max())
        if gap <= max(SAME_LOGITS, EXPLAINED_SHARE * difference):
            fitting.append((gap, names))
    return _explained("logits", difference, where, min(fitting)[1] if fitting else ())


def _distinct(
    variants: Iterator[tuple[tuple[str, ...], NDArray[Any]]],
) -> Iterator[tuple[tuple[str, ...], NDArray[Any]]]:
    """Variants, fewest mistakes first."""
    yield from sorted(variants, key=lambda each: len(each[0]))


def _explained(kind: Kind, difference: float | None, where: str, faults: Sequence[str]) -> Comparison:
    meaning = (
        f"The client's numbers are those of: {', and '.join(faults)}."
        if faults
        else "None of the known mistakes gives the client's numbers: send raw inputs, or compare step by step."
    )
    return Comparison(False, kind, difference, where, tuple(faults), meaning)

"""What careless clients make of a picture: each known mistake of theirs, carried out on the raw bytes.

    reading     EXIF ignored, transparency dropped, palette indices, 16 bits cut ...      one picture
    geometry    another filter, no antialiasing, squashed, cropped elsewhere ...          levels of the right size
    colour      red and blue swapped, colour removed, levels inverted
    scale       not divided by 255, or twice; mean and deviation of another network
    layout      channels last, rows and columns exchanged

The contract's own way is the empty name in each. Single mistakes come first, then two at once. Pictures are read once
and sized before anything becomes floating point, so a large picture costs a few resizes and no more memory than the
contract's own reading of it.
"""

import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops

from headstart.contract import image as images
from headstart.contract.spec import ImageSpec

AT_ONCE = 2  # mistakes; three at once are told by no client that we know of, and fit anything
SAME_LEVELS = 1.01  # grey levels; another version of Pillow rounds by one
EXPLAINED_LEVELS = 3.0  # libraries that resize without antialiasing differ from each other by as much
EXPLAINED_MEAN = 0.75
GREY = np.array([0.299, 0.587, 0.114])
NORMALISATIONS = {
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean and deviation 0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP's mean and deviation": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
GREY_NORMALISATIONS = {
    "mean and deviation 0.5": ((0.5,), (0.5,)),
    "MNIST's mean and deviation": ((0.1307,), (0.3081,)),
}
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What undoes the turn that the contract makes for each EXIF orientation."""

Levels = NDArray[Any]
"""`(height, width, channels)`, 0 to 255."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Variant:
    """What a client with these mistakes computes.

    Attributes:
        mistakes: their names; none for the contract's own way.
        tensor: what it feeds to the network.
        level: how large a step of one grey level is in it, broadcastable to it.
    """

    mistakes: tuple[str, ...]
    tensor: NDArray[np.float64]
    level: NDArray[np.float64]


def variants(raw: bytes, spec: ImageSpec) -> Iterator[Variant]:
    """The contract's own tensor, then those of clients with one mistake, then with two.

    Mistakes that make no difference to this picture are left out where that is known beforehand.

    Raises:
        ContractError: if the contract does not accept `raw`.
    """
    steps: list[Mapping[str, Any]] = [
        _readings(raw, spec),
        _geometries(spec),
        _colours(spec),
        {"": (spec.rescale, spec.mean, spec.std), **_scales(spec)},
        {"": (2, 0, 1), "channels come last": (0, 1, 2), "rows and columns are exchanged": (2, 1, 0)},
    ]
    sized: dict[tuple[str, str], Levels] = {}
    for count in range(AT_ONCE + 1):
        for places in itertools.combinations(range(len(steps)), count):
            options = [[name for name in steps[place] if name] for place in places]
            for chosen in itertools.product(*options):
                names = dict(zip(places, chosen, strict=True))
                read, shape, colour, scale, layout = (names.get(place, "") for place in range(len(steps)))
                if (read, shape) not in sized:
                    sized[read, shape] = steps[1][shape](steps[0][read](), spec)
                yield _made(chosen, steps[2][colour](sized[read, shape]), spec, steps[3][scale], steps[4][layout])


def explanation(
    arrived: NDArray[np.float64], found: Iterator[Variant], goes_on: Callable[[], bool] = lambda: True
) -> tuple[str, ...]:
    """The mistakes of the variant that `arrived` is, the fewest that explain it; none where nothing does.

    Args:
        arrived: a tensor, or its values in one row.
        found: from `variants`.
        goes_on: asked before each variant; nothing more is tried where it says no.
    """
    best: tuple[int, float, tuple[str, ...]] | None = None
    for each in found:
        if (best is not None and len(each.mistakes) > best[0]) or not goes_on():
            break  # simpler explanations come first
        fits = arrived.size == each.tensor.size if arrived.ndim == 1 else arrived.shape == each.tensor.shape
        if not each.mistakes or not fits:
            continue
        gaps = np.abs(arrived.reshape(each.tensor.shape) - each.tensor) / each.level
        if gaps.mean() <= EXPLAINED_MEAN and np.quantile(gaps, 0.995) <= EXPLAINED_LEVELS:
            candidate = (len(each.mistakes), float(gaps.mean()), each.mistakes)
            best = candidate if best is None or candidate < best else best
    return best[2] if best else ()


def _made(
    mistakes: tuple[str, ...],
    levels: Levels,
    spec: ImageSpec,
    scale: tuple[float, tuple[float, ...], tuple[float, ...]],
    axes: tuple[int, int, int],
) -> Variant:
    """The last steps: order of channels, scale, layout."""
    rescale, mean, std = scale
    ordered = levels[..., ::-1] if spec.flip_channels else levels
    tensor = (ordered * rescale - np.array(mean)) / np.array(std)  # (height, width, channels)
    step = np.array([abs(rescale / value) for value in std])[None, None, :]
    return Variant(mistakes, tensor.transpose(axes), step.transpose(axes))


# ------------------------------------------------------------------------------------------------------------ reading


def _readings(raw: bytes, spec: ImageSpec) -> dict[str, Callable[[], Image.Image]]:
    """Ways to read this file; the picture is decoded when it is first asked for, and once."""
    levels = images.decode(raw, spec)
    ours = Image.fromarray(levels if levels.shape[2] > 1 else levels[..., 0])
    ways: dict[str, Callable[[], Image.Image]] = {"": lambda: ours}
    with Image.open(io.BytesIO(raw), formats=images.FORMATS) as header:
        mode, colours = header.mode, len(header.getbands())
        try:
            orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
        except images.DAMAGED:
            orientation = 1
        transparent = mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in header.info

    def opened(change: Callable[[Image.Image], Image.Image]) -> Callable[[], Image.Image]:
        kept: list[Image.Image] = []

        def read() -> Image.Image:
            if not kept:
                with Image.open(io.BytesIO(raw), formats=images.FORMATS) as image:
                    changed = change(image)
                for turn in images.TURNS.get(orientation, ()):
                    changed = changed.transpose(turn)
                kept.append(changed.convert(spec.mode))
            return kept[0]

        return read

    if orientation in TURNED_BACK:
        ways["EXIF's orientation was ignored"] = lambda: ours.transpose(TURNED_BACK[orientation])
    if transparent:
        ways["transparency was dropped"] = opened(lambda image: image.convert("RGBA").convert("RGB"))
        ways["transparency was laid over black"] = opened(_over_black)
    if mode in ("P", "PA"):
        ways["palette indices were taken for levels"] = opened(lambda image: Image.fromarray(np.asarray(image)))
    if mode.startswith("I;16"):
        ways["16 bits were cut to 255 instead of divided"] = opened(
            lambda image: Image.fromarray(np.minimum(np.asarray(image), 255).astype(np.uint8))
        )
        ways["the low byte of 16 bits was taken"] = opened(
            lambda image: Image.fromarray((np.asarray(image).astype(np.uint16) & 255).astype(np.uint8))
        )
    if mode == "CMYK":
        ways["CMYK's inks were read the wrong way round"] = opened(lambda image: ImageChops.invert(image))
    if spec.mode == "L" and colours >= 3 and mode != "CMYK":
        ways["grey is the mean of the colours"] = opened(
            lambda image: Image.fromarray(np.asarray(image.convert("RGB")).mean(axis=2).round().astype(np.uint8))
        )
    return ways


def _over_black(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    black = Image.new("RGB", layer.size, "black")
    black.paste(layer, mask=layer.getchannel("A"))
    return black


# ----------------------------------------------------------------------------------------------------------- geometry


def _geometries(spec: ImageSpec) -> dict[str, Callable[[Image.Image, ImageSpec], Levels]]:
    """Ways to bring pictures to the network's size."""

    def filtered(name: str) -> Callable[[Image.Image, ImageSpec], Levels]:
        return lambda image, spec: _sized(image, spec, FILTERS[name])

    ways: dict[str, Callable[[Image.Image, ImageSpec], Levels]] = {"": _ours}
    if spec.resize != "none":
        ways |= {f"resized by the {name} filter": filtered(name) for name in FILTERS if name != spec.resample}
        ways["resized without antialiasing"] = _aliased
    if spec.crop is not None:
        ways["cropped at the top left instead of the middle"] = _cornered
        if spec.resize != "none":
            ways["squashed to size, proportions lost"] = _squashed
            ways["cropped without resizing first"] = lambda image, spec: _cut(image, spec)
            ways["the shorter side was made as long as the crop"] = _tight
    ways["made to fit with bars at the sides"] = _barred
    return ways


def _ours(image: Image.Image, spec: ImageSpec) -> Levels:
    return _sized(image, spec, FILTERS.get(spec.resample, Image.Resampling.BILINEAR))


def _sized(image: Image.Image, spec: ImageSpec, resample: Image.Resampling) -> Levels:
    height, width = _target(image, spec)
    return _cut(image if spec.resize == "none" else image.resize((width, height), resample), spec)


def _aliased(image: Image.Image, spec: ImageSpec) -> Levels:
    """Bilinear between the nearest four pixels, whatever the reduction: OpenCV's and PyTorch's default."""
    height, width = _target(image, spec)
    source = _array(image)
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for new, old in ((height, source.shape[0]), (width, source.shape[1]))
    )
    top, left = rows.astype(int), columns.astype(int)
    below, right = np.minimum(top + 1, source.shape[0] - 1), np.minimum(left + 1, source.shape[1] - 1)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = source[np.ix_(top, left)] * (1 - across) + source[np.ix_(top, right)] * across
    lower = source[np.ix_(below, left)] * (1 - across) + source[np.ix_(below, right)] * across
    return _middle(np.rint(upper * (1 - down) + lower * down), spec)


def _squashed(image: Image.Image, spec: ImageSpec) -> Levels:
    _, height, width = spec.shape
    return _array(image.resize((width, height), FILTERS[spec.resample]))


def _cornered(image: Image.Image, spec: ImageSpec) -> Levels:
    _, height, width = spec.shape
    new_height, new_width = _target(image, spec)
    if spec.resize != "none":
        image = image.resize((new_width, new_height), FILTERS[spec.resample])
    return _array(image.crop((0, 0, width, height)))


def _tight(image: Image.Image, spec: ImageSpec) -> Levels:
    edge = min(spec.crop or (spec.height, spec.width))
    short = min(image.size)
    size = (image.width * edge // short, image.height * edge // short)
    return _cut(image.resize(size, FILTERS[spec.resample]), spec)


def _barred(image: Image.Image, spec: ImageSpec) -> Levels:
    """The whole picture within the size, black beside it."""
    _, height, width = spec.shape
    factor = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    frame = Image.new(image.mode, (width, height))
    frame.paste(image.resize(size, FILTERS[spec.resample]), ((width - size[0]) // 2, (height - size[1]) // 2))
    return _array(frame)


def _target(image: Image.Image, spec: ImageSpec) -> Size:
    """Height and width after the contract's resize."""
    if spec.resize == "stretch":
        return spec.height, spec.width
    if spec.shortest_edge is None:
        return image.height, image.width
    short = min(image.size)
    return image.height * spec.shortest_edge // short, image.width * spec.shortest_edge // short


def _cut(image: Image.Image, spec: ImageSpec) -> Levels:
    """The middle that the contract keeps, black where the picture is smaller; only that much becomes an array."""
    if spec.crop is None:
        return _array(image)
    height, width = spec.crop
    left, top = max(0, (image.width - width) // 2), max(0, (image.height - height) // 2)
    part = image.crop((left, top, min(left + width, image.width), min(top + height, image.height)))
    return _middle(_array(part), spec)


def _middle(levels: Levels, spec: ImageSpec) -> Levels:
    """The same of an array."""
    for axis, size in enumerate(spec.crop or ()):
        lacking = max(0, size - levels.shape[axis])
        pads = [(0, 0)] * 3
        pads[axis] = (lacking - lacking // 2, lacking // 2)
        levels = np.pad(levels, pads)
        start = (levels.shape[axis] - size) // 2
        levels = np.take(levels, np.arange(start, start + size), axis=axis)
    return levels


def _array(image: Image.Image) -> Levels:
    levels = np.asarray(image)
    return levels if levels.ndim == 3 else levels[..., None]


# --------------------------------------------------------------------------------------------------- colour and scale


def _colours(spec: ImageSpec) -> dict[str, Callable[[Levels], Levels]]:
    ways: dict[str, Callable[[Levels], Levels]] = {"": lambda levels: levels}
    if spec.channels == 3:
        ways["red and blue are swapped"] = lambda levels: levels[..., ::-1]
        ways["colour was removed"] = lambda levels: np.repeat((levels @ GREY)[..., None], 3, axis=2)
    ways["black and white are inverted"] = lambda levels: 255.0 - levels
    return ways


def _scales(spec: ImageSpec) -> dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]]:
    """Ways to scale levels that are not the contract's; of those that come to the same, the first."""
    zeros, ones = (0.0,) * spec.channels, (1.0,) * spec.channels
    known = {
        "levels were not divided by 255": (1.0, spec.mean, spec.std),
        "levels were divided by 255 twice": (spec.rescale / 255, spec.mean, spec.std),
        "levels 0 to 255 are neither divided nor normalised": (1.0, zeros, ones),
        "mean and deviation were left out": (1 / 255, zeros, ones),
    }
    if spec.channels == 3:
        known["mean and deviation stand in the reverse order"] = (spec.rescale, spec.mean[::-1], spec.std[::-1])
    others = NORMALISATIONS if spec.channels == 3 else GREY_NORMALISATIONS
    known |= {f"normalised by {name}": (1 / 255, *values) for name, values in others.items()}
    different: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {}
    for name, values in known.items():
        if not any(_alike(values, other) for other in [(spec.rescale, spec.mean, spec.std), *different.values()]):
            different[name] = values
    return different


def _alike(one: Any, other: Any) -> bool:
    return all(np.allclose(a, b) for a, b in zip(one, other, strict=True))

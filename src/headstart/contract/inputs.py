"""The contract at work on batches of raw inputs: texts and pictures behind one shape.

Everything that prepares inputs goes through `headstart.predictor.Preprocessor`, which makes one of these; this module
knows neither onnxruntime nor files.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.contract import image, properties, text
from headstart.contract.spec import ImageSpec

Item = NDArray[Any]
"""One prepared input: token ids `(tokens,)` int64, or a picture `(channels, height, width)` float32."""

Examined = tuple[Item, dict[str, float]]
"""A prepared input and its properties; no properties where none were asked for."""


class Inputs(Protocol):
    """What texts and pictures have in common."""

    def accept(self, value: object, index: int) -> None:
        """Refuse a raw input with ContractError, or return."""

    def examine(self, raw: Sequence[Any], *, first: int, describe: bool) -> list[Examined]:
        """Prepare raw inputs in order; the first one's index in errors is `first`."""

    def collate(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """Make one batch of prepared inputs."""


class Texts:
    """Strings, through a tokenizer."""

    def __init__(self, encoder: text.Encoder) -> None:
        self._encoder = encoder

    def accept(self, value: object, index: int) -> None:
        text.check(value, self._encoder.spec, index=index)

    def examine(self, raw: Sequence[Any], *, first: int, describe: bool) -> list[Examined]:
        texts = [text.check(value, self._encoder.spec, index=index) for index, value in enumerate(raw, first)]
        items = self._encoder.encode(texts)
        if not describe:
            return [(ids, {}) for ids in items]
        unknown = self._encoder.unknown_id
        return [(ids, properties.of_text(value, ids, unknown)) for value, ids in zip(texts, items, strict=True)]

    def collate(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        return dict(self._encoder.pad(items))


class Pictures:
    """Encoded image files, through Pillow and the preprocessing graph; up to `threads` at once."""

    def __init__(
        self, spec: ImageSpec, tensor: Callable[[NDArray[np.uint8]], NDArray[np.float32]], *, threads: int
    ) -> None:
        self._spec = spec
        self._tensor = tensor
        self._threads = threads

    def accept(self, value: object, index: int) -> None:
        image.decode(value, self._spec, index=index)

    def examine(self, raw: Sequence[Any], *, first: int, describe: bool) -> list[Examined]:
        def one(index: int, value: Any) -> Examined:
            levels = image.decode(value, self._spec, index=index)
            return self._tensor(levels), properties.of_image(levels, len(value)) if describe else {}

        indices = range(first, first + len(raw))
        if self._threads == 1 or len(raw) <= 1:
            return list(map(one, indices, raw))
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(one, indices, raw))

    def collate(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        pictures = np.stack(items) if items else np.zeros((0, *self._spec.shape), dtype=np.float32)
        return {"pixel_values": pictures}

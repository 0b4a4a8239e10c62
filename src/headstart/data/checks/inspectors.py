"""Every check that has to see payloads, for one modality."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import ImageSpec, TextSpec
from headstart.data.checks import LEVEL, SEED, truncation
from headstart.data.checks.image import PictureInspector, Pictures
from headstart.data.checks.near_image import NearImages
from headstart.data.checks.near_text import NearTexts
from headstart.data.checks.pictures import PictureFaults
from headstart.data.checks.privacy import PersonalData
from headstart.data.checks.shortcuts import TextShortcuts
from headstart.data.checks.text import TextFaults
from headstart.data.checks.truncation import Truncation
from headstart.data.checks.watermark import ImageShortcuts
from headstart.data.examples import Inspector

SIMILAR_TEXTS = 0.8  # Jaccard index of their shingles from which on two are nearly equal
SIMILAR_IMAGES = 0.95  # share of equal bits of their perceptual hashes, likewise: three bits of 64 may differ
Tokens = Callable[[Sequence[str]], Sequence[int]]


def of_payloads(
    spec: TextSpec | ImageSpec, tokens: Tokens | None = None, *, most: int | None = None
) -> Callable[..., Sequence[Inspector]]:
    """A function from which rows are in the sample to the checks that look at them, none of them used before.

    Args:
        spec: how the contract reads an input.
        tokens: how many tokens each text has before it is cut; None for images.
        most: how many tokens the backbone takes; by default what the contract keeps.
    """

    def made(chosen: NDArray[np.bool_]) -> Sequence[Inspector]:
        if isinstance(spec, TextSpec):
            found: list[Inspector] = [
                TextFaults(LEVEL),
                PersonalData(LEVEL),
                NearTexts(chosen, SIMILAR_TEXTS, SEED),
                TextShortcuts(chosen, level=LEVEL, seed=SEED),
            ]
            if tokens is not None:
                limit, share = spec.max_tokens, truncation.ALLOWED
                found.append(Truncation(tokens, limit, most=most or limit, chosen=chosen, share=share, level=LEVEL))
            return found
        faults = PictureFaults("L" if spec.mode == "L" else "RGB", *_size(spec), level=LEVEL)
        shown: list[PictureInspector] = [
            faults,
            NearImages(chosen, SIMILAR_IMAGES),
            ImageShortcuts(chosen, level=LEVEL, seed=SEED),
        ]
        return [Pictures(shown, max_pixels=spec.max_pixels)]

    return made


def _size(spec: ImageSpec) -> tuple[int, int]:
    """Height and width of what the network sees, in pixels."""
    if spec.crop is not None:
        return spec.crop
    edge = spec.shortest_edge or 1
    return spec.height or edge, spec.width or edge

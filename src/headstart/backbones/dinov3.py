"""DINOv3's image processor without torchvision, which is the only library that transformers computes it with.

Its steps are its own: levels are rescaled first, then resized in floating point and never rounded. torch's
`interpolate` with `antialias` is what torchvision calls for that. Source: transformers 5.23,
`models/dinov3_vit/image_processing_dinov3_vit.py`.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature

MODES = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


class DINOv3ViTImageProcessor(PilBackend):
    """The processor under transformers' name and with its defaults."""

    resample = Image.Resampling.BILINEAR
    image_mean = (0.485, 0.456, 0.406)
    image_std = (0.229, 0.224, 0.225)
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True

    def _preprocess(
        self,
        images: list[NDArray[Any]],
        *,
        do_resize: bool,
        size: Any,
        resample: int,
        do_center_crop: bool | None,
        crop_size: Any,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        return_tensors: Any,
        **_: Any,
    ) -> BatchFeature:
        processed = []
        for levels in images:
            image: Any = levels.astype(np.float32) * (rescale_factor if do_rescale else 1.0)
            if do_resize:
                image = _resized(image, (size.height, size.width), resample)
            if do_center_crop:
                image = self.center_crop(image, crop_size)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            processed.append(image)
        return BatchFeature(data={"pixel_values": processed}, tensor_type=return_tensors)


def _resized(image: NDArray[np.float32], size: tuple[int, int], resample: int) -> NDArray[np.float32]:
    batch = torch.from_numpy(np.ascontiguousarray(image))[None]
    mode = MODES[Image.Resampling(resample)]
    resized = torch.nn.functional.interpolate(batch, size, mode=mode, align_corners=False, antialias=True)
    result: NDArray[np.float32] = resized[0].numpy()
    return result

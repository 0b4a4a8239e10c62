"""Random changes of prepared images, in training only: what makes few pictures go further."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from headstart.params.transfer import Augmentation


def augmentation(params: Augmentation) -> Callable[[Tensor], Tensor] | None:
    """A function of `(n, channels, height, width)` that turns, shifts and mirrors each image by chance.

    None where nothing is to change. Draws come from torch's global generator, which checkpoints keep.
    """
    if not (params.rotation or params.shift or params.mirror):
        return None
    return lambda images: change(images, *draw(len(images), params))


def draw(count: int, params: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Angles in radians `(n,)`, shifts as shares of a side `(n, 2)` across and down, and mirrored or not `(n,)`."""
    angles = (2 * torch.rand(count) - 1) * math.radians(params.rotation)
    shifts = (2 * torch.rand(count, 2) - 1) * params.shift
    mirrored = (torch.rand(count) < 0.5) & params.mirror
    return angles, shifts, mirrored


def change(images: Tensor, angles: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Each image turned about its centre, then shifted, then mirrored; the border's values fill what comes into view.

    A positive angle turns as a clock's hands do, a positive shift moves right or down.
    """
    height, width = images.shape[-2:]
    cosine, sine = torch.cos(angles), torch.sin(angles)
    # where each output pixel comes from, in coordinates that run from -1 to 1 on either side
    rows = torch.stack(
        [
            torch.stack([cosine, sine * (height / width)], dim=1),
            torch.stack([-sine * (width / height), cosine], dim=1),
        ],
        dim=1,
    )  # (n, 2, 2)
    offset = -(rows @ (2 * shifts).unsqueeze(2))  # (n, 2, 1)
    flip = torch.where(mirrored, -1.0, 1.0).view(-1, 1, 1)
    rows = torch.cat([rows[:, :, :1] * flip, rows[:, :, 1:]], dim=2)
    grid = functional.affine_grid(torch.cat([rows, offset], dim=2), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

"""A small image backbone pretrained here: a ResNet that learns to read printed letters and digits.

Nothing is downloaded: characters are drawn in the fonts that matplotlib ships, bright ink on black, as scans of
handwriting are. No two glyphs are alike: each is stretched, slanted, turned, moved, bent like a pen's line and, mostly,
coarsened to a scan's few pixels before it is seen, so that strokes are learned rather than typefaces. No handwriting is
among them: that is the gap which a model that starts here has to cross.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from headstart import artifacts, determinism
from headstart.backbones import checkpoint, reference
from headstart.backbones.network import Network
from headstart.backbones.quiet_logging import quiet
from headstart.errors import BackboneError
from headstart.findings import Finding
from headstart.params.backbones import Pretrain
from headstart.progress import bar

LETTERS = [*"ABDEFGHJLMNQRTUY", *"abdefghijmnqrtuy"]
ALIKE = ["Cc", "Il", "Kk", "Oo", "Pp", "Ss", "Vv", "Ww", "Xx", "Zz"]  # stretched to one size; one class each
DIGITS = list("0123456789")
CLASSES = (*LETTERS, *ALIKE, *DIGITS)
STROKES = (0, 1, 2)  # pixels added around a letter's ink
INK = 48  # a template's ink fills this square, whatever the letter's proportions
MARGIN = 8  # black around it
COARSE = (6, 8, 12)  # sides that coarsened glyphs pass through
BENDS = 4  # control points a side of the random field that bends a glyph
NARROW = 8  # input channels; with fewer, strided 1 x 1 channels-last convolutions of torch 2.13 corrupt memory (AVX2)
SAMPLE = 10  # glyphs of each class in the reference sample


@dataclass(frozen=True)
class Templates:
    """Every letter in every font and stroke, stretched to one square.

    Attributes:
        images: float32 in [0, 1], `(n, 1, INK + 2 MARGIN, INK + 2 MARGIN)`.
        aspects: width of the ink by its height, before it was stretched, `(n,)`.
        targets: indices into `CLASSES`, int64 `(n,)`.
    """

    images: Tensor
    aspects: Tensor
    targets: Tensor


def pretrain(fonts: Sequence[Path], params: Pretrain, out: Path) -> list[Finding]:
    """Train a backbone on glyphs and write it as `config.json`, `model.safetensors`, `preprocessor_config.json`.

    Beside it stands `reference.parquet`, a sample of such glyphs.

    The same fonts, parameters and number of threads give the same bytes.

    Raises:
        BackboneError: if there is no font, a font lacks a letter, or training diverges.
    """
    from transformers import AutoModel, ResNetConfig

    torch.set_num_threads(determinism.threads())
    every = templates(fonts)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(params.seed)
        config = ResNetConfig(
            num_channels=1,
            embedding_size=params.embedding,
            hidden_sizes=list(params.hidden),
            depths=list(params.depths),
            layer_type="basic",
        )
        network = Network(AutoModel.from_config(config), len(CLASSES), dropout=0.0)
    read = _train(network, every, params)
    checkpoint.write(network.backbone.to(memory_format=torch.contiguous_format), out)
    artifacts.write_json(out / "preprocessor_config.json", _processor(params.size))
    reference.write(out / reference.FILE, "image", *sample(every, params))
    chance = 1 / len(CLASSES)
    return [Finding("pretraining", "pass" if read > chance else "unsure", read, chance)]


def templates(fonts: Sequence[Path]) -> Templates:
    """Draw each letter of `CLASSES` once a font and stroke.

    Raises:
        BackboneError: if there is no font, or a font draws nothing for a letter.
    """
    if not fonts:
        raise BackboneError("no font arrived to draw glyphs with.", action="Fetch the backbone again: headstart run.")
    images, aspects, targets = [], [], []
    for path in sorted(fonts, key=lambda path: path.name):
        face = ImageFont.truetype(path, INK)
        for target, letters in enumerate(CLASSES):
            for letter in letters:
                for stroke in STROKES:
                    ink = _ink(letter, face, stroke, path)
                    square = Image.new("L", (INK + 2 * MARGIN, INK + 2 * MARGIN))
                    square.paste(ink.resize((INK, INK), Image.Resampling.BILINEAR), (MARGIN, MARGIN))
                    images.append(np.asarray(square))
                    aspects.append(ink.width / ink.height)
                    targets.append(target)
    stacked = torch.from_numpy(np.stack(images))[:, None].float() / 255
    return Templates(stacked, torch.tensor(aspects), torch.tensor(targets))


def draw(every: Templates, rows: Tensor, params: Pretrain, generator: torch.Generator) -> Tensor:
    """One fresh glyph for each of `rows`, `(n, 1, size, size)` in [-1, 1]: what the backbone sees.

    The first `coarse` of a batch are coarsened; everything else varies from glyph to glyph.
    """
    count, size = len(rows), params.size

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    height = between(0.7, 1.0)
    width = (height * every.aspects[rows] * between(-0.35, 0.35).exp()).clamp(0.18, 1.0)
    angle = between(-1.0, 1.0) * float(np.deg2rad(params.rotation))
    slant = between(-params.slant, params.slant)
    # from places in the glyph (-1 to 1) back to places in its template: turn, slant, stretch
    turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(count, 2, 2)
    lean = torch.stack([torch.ones(count), slant, torch.zeros(count), torch.ones(count)], 1).view(count, 2, 2)
    stretch = torch.diag_embed(torch.stack([1 / width, 1 / height], 1)) * (INK / (INK + 2 * MARGIN))
    linear = stretch @ lean @ turn  # (n, 2, 2)
    move = -linear @ between(-2 * params.shift, 2 * params.shift, 2, 1)
    places = functional.affine_grid(torch.cat([linear, move], 2), [count, 1, size, size], align_corners=False)
    bend = between(-params.warp, params.warp, 2, BENDS, BENDS)
    bend = functional.interpolate(bend, (size, size), mode="bicubic", align_corners=True)
    glyphs = functional.grid_sample(every.images[rows], places + bend.permute(0, 2, 3, 1), align_corners=False)
    coarse = torch.arange(int(count * params.coarse))
    for part, side in zip(coarse.chunk(len(COARSE)), COARSE, strict=False):
        small = functional.interpolate(glyphs[part], (side, side), mode="bilinear", antialias=True)
        glyphs[part] = functional.interpolate(small, (size, size), mode="bilinear")
    return glyphs.clamp(0, 1) * between(0.7, 1.0, 1, 1, 1) * 2 - 1


def sample(every: Templates, params: Pretrain) -> tuple[list[bytes], list[str]]:
    """Fresh glyphs as PNG files and what they show, ten of each class, in a random order.

    Drawn by a generator of their own, so that training does not depend on them.
    """
    generator = torch.Generator().manual_seed(params.seed + 1)
    of_class = [torch.nonzero(every.targets == target)[:, 0] for target in range(len(CLASSES))]
    rows = torch.cat([own[torch.randint(len(own), (SAMPLE,), generator=generator)] for own in of_class])
    rows = rows[torch.randperm(len(rows), generator=generator)]
    levels = ((draw(every, rows, params, generator)[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
    return [_png(glyph) for glyph in levels], [CLASSES[target] for target in every.targets[rows].tolist()]


def _train(network: Network, every: Templates, params: Pretrain) -> float:
    """Train in place, leave the network in evaluation mode; the share read right in the last epoch."""
    generator = torch.Generator().manual_seed(params.seed)
    steps = max(1, len(CLASSES) * params.glyphs_per_class // params.batch_size)
    network.train()
    if min(params.embedding, *params.hidden) >= NARROW:
        network.backbone.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.learning_rate, epochs=params.epochs, steps_per_epoch=steps
    )
    read = 0.0
    with bar("pretraining on glyphs", "batches", params.epochs * steps) as shown:
        for _ in range(params.epochs):
            right = 0
            for _ in range(steps):
                rows = torch.randint(len(every.targets), (params.batch_size,), generator=generator)
                logits = network(pixel_values=draw(every, rows, params, generator))["logits"]
                loss = functional.cross_entropy(logits, every.targets[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                right += int((logits.argmax(dim=1) == every.targets[rows]).sum())
                shown.update()
            if not bool(loss.isfinite()):
                raise BackboneError(
                    "pretraining on glyphs diverged: its loss is no number.", action="Lower learning_rate."
                )
            read = right / (steps * params.batch_size)
            shown.set_postfix(right=f"{read:.3f}")
    network.eval()
    return read


def _ink(letter: str, face: Any, stroke: int, path: Path) -> Image.Image:
    """A letter cut to its ink."""
    page = Image.new("L", (4 * INK, 4 * INK))
    ImageDraw.Draw(page).text((2 * INK, 2 * INK), letter, fill=255, font=face, anchor="mm", stroke_width=stroke)
    box = page.getbbox()
    if box is None:
        raise BackboneError(f"the font {path.name} draws nothing for {letter!r}.", action="Leave it out.")
    return page.crop(box)


def _png(levels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()


def _processor(size: int) -> dict[str, Any]:
    """How pixels become what `draw` gives: stretched to a square, one channel, -1 to 1."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": False,
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": int(Image.Resampling.BILINEAR),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5],
        "image_std": [0.5],
    }

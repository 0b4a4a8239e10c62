"""A small image backbone pretrained here: a ResNet that learns to read printed characters.

Nothing is downloaded: glyphs are rendered from the fonts that matplotlib ships, bright ink on black, as scans of
handwriting are. Each font draws each character; ink width, slant, aspect, rotation, position and resolution vary,
so that what is learned is strokes rather than typefaces. Characters that look alike once their size is gone
(`o` and `O`) are one class.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from headstart import artifacts
from headstart.backbones.silence import quiet
from headstart.errors import BackboneError
from headstart.params.backbones import Pretrain

ALPHABET = "ABCDEFGHIJKLMNPQRTUYabdefghijkmnqrtyosvwxzc"
DRAWN = 64
BRIGHT = 255


def render(fonts: Sequence[Path], params: Pretrain) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Glyphs and their classes, `(n, size, size)` and `(n,)`, in an order that mixes classes and fonts.

    Raises:
        BackboneError: if there is no font.
    """
    if not fonts:
        raise BackboneError("no font arrived to render glyphs from.", action="Fetch the backbone again: headstart run.")
    generator = np.random.default_rng(params.seed)
    faces = [ImageFont.truetype(str(path), round(DRAWN * 0.7)) for path in sorted(fonts, key=lambda path: path.name)]
    count = len(ALPHABET) * params.glyphs_per_class
    images = np.empty((count, params.size, params.size), dtype=np.uint8)
    targets = np.arange(count) % len(ALPHABET)
    for at, target in enumerate(targets):
        face = faces[generator.integers(len(faces))]
        images[at] = _glyph(ALPHABET[target], face, params, generator)
    order = generator.permutation(count)
    return images[order], targets[order].astype(np.int64)


def _glyph(character: str, face: Any, params: Pretrain, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One character, cut to its ink, then stretched, slanted, turned, moved and perhaps coarsened."""
    ink = Image.new("L", (2 * DRAWN, 2 * DRAWN))
    ImageDraw.Draw(ink).text((DRAWN, DRAWN), character, fill=BRIGHT, font=face, anchor="mm", stroke_width=int(generator.integers(0, 3)))
    box = ink.getbbox()
    if box is None:
        raise BackboneError(f"{face.path} draws nothing for {character!r}.")
    ink = ink.crop(box)
    height = params.size * generator.uniform(0.7, 1.0)
    aspect = ink.width / ink.height * generator.uniform(0.75, 1.35)
    width = min(max(height * aspect, 0.15 * params.size), params.size)
    angle = np.deg2rad(generator.uniform(-params.rotation, params.rotation))
    slant = generator.uniform(-params.slant, params.slant)
    move = generator.uniform(-params.shift, params.shift, size=2) * params.size
    # output pixel -> ink pixel: undo shift, rotation, slant, then scale
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scale = np.array([[ink.width / width, 0.0], [0.0, ink.height / height]])
    linear = scale @ np.array([[1.0, slant], [0.0, 1.0]]) @ turn
    centre = np.array([ink.width, ink.height]) / 2 - linear @ (np.array([params.size, params.size]) / 2 + move)
    blurred = ink.filter(ImageFilter.GaussianBlur(0.4 * ink.height / height))
    image = blurred.transform((params.size, params.size), Image.Transform.AFFINE, (*linear[0], centre[0], *linear[1], centre[1]), Image.Resampling.BILINEAR)
    if generator.random() < params.coarse:
        side = int(generator.integers(params.size // 4, params.size // 2 + 1))
        image = image.resize((side, side), Image.Resampling.BOX).resize((params.size, params.size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def pretrain(fonts: Sequence[Path], params: Pretrain, out: Path) -> dict[str, Any]:
    from headstart.backbones.network import Network
    import torch
    from transformers import AutoModel, ResNetConfig
    images, targets = render(fonts, params)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(params.seed)
        config = ResNetConfig(num_channels=1, embedding_size=params.embedding, hidden_sizes=list(params.hidden), depths=list(params.depths), layer_type="basic", downsample_in_first_stage=False)
        network = Network(AutoModel.from_config(config), len(ALPHABET), dropout=0.0)
        _train(network, images, targets, params)
    return network


def _train(network, images, targets, params):
    import torch
    from torch.nn.functional import cross_entropy
    x = torch.from_numpy(images)
    y = torch.from_numpy(targets)
    steps = params.epochs * (len(x) // params.batch_size)
    opt = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=0.05)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, params.learning_rate, total_steps=steps)
    network.train()
    for epoch in range(params.epochs):
        order = torch.randperm(len(x)); good = 0
        for at in range(len(x) // params.batch_size):
            rows = order[at * params.batch_size : (at + 1) * params.batch_size]
            logits = network(pixel_values=x[rows, None].float() / 127.5 - 1.0)["logits"]
            loss = cross_entropy(logits, y[rows])
            opt.zero_grad(); loss.backward(); opt.step(); sched.step()
            good += int((logits.argmax(1) == y[rows]).sum())
        print("epoch", epoch, float(loss), good / len(x), file=sys.stderr)
    network.eval()

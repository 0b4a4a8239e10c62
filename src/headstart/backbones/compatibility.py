"""Whether a network can be a backbone, measured by running it before anything is trained.

It must give one vector a token or a picture, the same one twice, and the same one alone as beside others: an answer
that changes with padding or with the rest of its batch is another one in training, in evaluation and when served.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones import depth
from headstart.backbones.checkpoint import FAILURES
from headstart.backbones.network import Network
from headstart.backbones.quiet_logging import quiet
from headstart.errors import BackboneError
from headstart.findings import Finding

CHECK = "batching"
LENGTHS = (5, 61, 131)  # tokens; odd, so that what pads to blocks or windows does
PICTURES = 3
PROBED = 2048
"""The most tokens a network is tried with: one block's attention over them holds about 200 MB."""

SHARE_ALLOWED = 1e-4
"""Of the distance between different inputs. Single precision moves features by about 1e-6 of it; architectures that
look at padding move them by 2e-3 and more, with random weights already (`docs/backbones.md`)."""

ROUNDING = 1e-5
"""Of the largest feature, allowed besides: where all inputs get nearly the same features, rounding is what remains."""

ENCODERS = "Use an encoder such as BERT, RoBERTa, DeBERTa, ModernBERT, ViT, DINOv2 or ConvNeXt (docs/backbones.md)."


def built(backbone: Any, shape: tuple[int, int, int] | None) -> Network:
    """A network on `backbone` in evaluation mode; `shape` is that of its images, None for texts.

    Raises:
        BackboneError: if the width of its features can't be told, because it does not run.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return Network(backbone, 2, dropout=0.0, shape=shape).eval()
    except FAILURES as error:
        raise _does_not_run(backbone.config, error) from error


def check(network: Network, *, pad_id: int | None = None, longest: int | None = None) -> Finding:
    """Run a network on texts (ids) or pictures of noise: all layers, twice, alone and in a batch.

    Args:
        network: in evaluation mode.
        pad_id: of its tokenizer; None for images.
        longest: what `longest_text` found.

    Returns:
        `batching`: the largest difference of a feature, alone and in a batch.

    Raises:
        BackboneError: naming the architecture and what it does not do.
    """
    kind = network.backbone.config.model_type
    alone = _inputs(network, pad_id, longest)
    together = _batch(alone, pad_id)
    try:
        with torch.no_grad(), quiet():
            _check_form(network, alone[0])
            singles = torch.cat([network.features(**inputs) for inputs in alone])
            batch, (_, again) = network.features(**together), network.layer_features(**together)[-1]
    except FAILURES as error:
        raise _does_not_run(network.backbone.config, error) from error
    if not bool(torch.isfinite(singles).all()):
        raise BackboneError(f"{kind} gives features that are not finite, on inputs of noise.", action=ENCODERS)
    allowed = _allowed(singles)
    if (gap := _gap(batch, again)) > allowed:
        raise BackboneError(
            f"{kind} does not give the same input the same features twice: they differ by {gap:.2g} "
            f"({allowed:.2g} is allowed). A part of it is drawn at random, outside training too.",
            action=ENCODERS,
        )
    gap = _gap(singles, batch)
    if gap > allowed:
        raise _depends_on_batch(network, gap, allowed)
    return Finding(CHECK, "pass", gap, allowed)


def longest_text(network: Network, pad_id: int) -> int | None:
    """The most tokens the network takes, found by running its lowest block; None where no limit is known.

    What the configuration claims (`max_position_embeddings`) is where the search starts: RoBERTa and its kin count
    positions from the padding token's id and take fewer. Up to `PROBED` tokens are tried; a larger claim is believed,
    less what counting from padding would cost.

    Raises:
        BackboneError: if it does not run at all, or texts of such lengths change with padding.
    """
    backbone = network.backbone
    if depth.can_end_at(backbone, 1):
        backbone = depth.lowest(backbone, 1)
    claim = _claimed(backbone.config)
    tried = min(claim or PROBED, PROBED)
    found = tried if _runs(backbone, tried, pad_id) else _bisected(backbone, tried, pad_id)
    if not found:
        return claim  # it does not run at all: `check` says why
    _check_long(network, backbone, found, pad_id)
    if found < tried:
        return found
    if claim is not None and claim > PROBED:
        return max(PROBED, claim - pad_id - 1)
    return claim


def _inputs(network: Network, pad_id: int | None, longest: int | None) -> list[dict[str, Tensor]]:
    """A few single inputs: ids of different lengths, or pictures of noise."""
    generator = np.random.default_rng(0)
    if network.shape is not None:
        noise = generator.standard_normal((PICTURES, *network.shape)).astype(np.float32)
        return [{"pixel_values": torch.from_numpy(picture[None])} for picture in noise]
    most = min(longest or LENGTHS[-1], LENGTHS[-1])
    most -= most % 2 == 0
    lengths = sorted({max(1, length * most // LENGTHS[-1]) for length in LENGTHS})
    return [_text(generator, network.backbone, length, pad_id) for length in lengths]


def _text(generator: np.random.Generator, backbone: Any, length: int, pad_id: int | None) -> dict[str, Tensor]:
    """A text of random ids, none of them special: positions counted from padding leave out what counts as padding."""
    config = backbone.config
    named = [value for name, value in vars(config).items() if name.endswith("_token_id")]
    padded = [module.padding_idx for module in backbone.modules() if isinstance(module, nn.Embedding)]
    special = {value for value in (*named, *padded, pad_id) if isinstance(value, int)}
    ordinary = sorted(set(range(config.vocab_size)) - special) or [0]
    ids = torch.from_numpy(generator.choice(ordinary, size=(1, length)))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _batch(alone: Sequence[dict[str, Tensor]], pad_id: int | None) -> dict[str, Tensor]:
    """All inputs as one batch, the shorter ones padded at their end."""
    if "pixel_values" in alone[0]:
        return {"pixel_values": torch.cat([inputs["pixel_values"] for inputs in alone])}
    longest = max(inputs["input_ids"].shape[1] for inputs in alone)
    ids = torch.full((len(alone), longest), pad_id or 0)
    mask = torch.zeros_like(ids)
    for row, inputs in enumerate(alone):
        length = inputs["input_ids"].shape[1]
        ids[row, :length], mask[row, :length] = inputs["input_ids"][0], 1
    return {"input_ids": ids, "attention_mask": mask}


def _check_form(network: Network, inputs: dict[str, Tensor]) -> None:
    """Raise unless the last layer gives what `Network` pools: a vector a token, or one an image."""
    kind, last = network.backbone.config.model_type, network.backbone(**inputs).last_hidden_state
    if "input_ids" in inputs and last.shape[:2] != inputs["input_ids"].shape:
        raise BackboneError(
            f"{kind} answers {tuple(inputs['input_ids'].shape)} texts and tokens with {tuple(last.shape)}; one vector "
            "a token was expected.",
            action=ENCODERS,
        )
    features = network.features(**inputs)
    rows = len(next(iter(inputs.values())))
    if features.shape != (rows, network.hidden_size):
        raise BackboneError(
            f"{kind} gave features of shape {tuple(features.shape)} for {rows} inputs; "
            f"({rows}, {network.hidden_size}) was expected.",
            action=ENCODERS,
        )


def _allowed(singles: Tensor) -> float:
    """What a feature of the same input may differ by."""
    distance = max((_gap(a, b) for a, b in pairwise(singles)), default=0.0)
    return SHARE_ALLOWED * distance + ROUNDING * float(singles.abs().max())


def _gap(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def _depends_on_batch(network: Network, gap: float, allowed: float) -> BackboneError:
    kind, text = network.backbone.config.model_type, network.shape is None
    beside = "padded beside a longer text" if text else "in a batch with other images"
    what = "text" if text else "image"
    return BackboneError(
        f"{kind} gives the same {what} other features {beside} than alone: they differ by {gap:.2g} ({allowed:.2g} is "
        "allowed). Its answers would depend on what else is asked at the same moment.",
        action=ENCODERS,
    )


def _does_not_run(config: Any, error: Exception) -> BackboneError:
    told = " ".join(str(error).split())[:300]
    if getattr(config, "is_encoder_decoder", False):
        told = f"it is an encoder with a decoder, which asks for more than one text ({told})"
    return BackboneError(
        f"{config.model_type} does not run as an encoder: {type(error).__name__}: {told}", action=ENCODERS
    )


def _claimed(config: Any) -> int | None:
    claim = getattr(config, "max_position_embeddings", None)
    return claim if isinstance(claim, int) and claim > 0 else None


def _runs(backbone: Any, length: int, pad_id: int) -> bool:
    """Whether the network gives finite answers to a text of `length` tokens."""
    inputs = _text(np.random.default_rng(0), backbone, length, pad_id)
    try:
        with torch.no_grad(), quiet():
            last = backbone(**inputs).last_hidden_state
    except FAILURES:
        return False
    return bool(torch.isfinite(last).all())


def _bisected(backbone: Any, failing: int, pad_id: int) -> int:
    """The longest text that runs, below a length that does not; 0 where none does."""
    if (counted_from_padding := failing - pad_id - 1) > 0 and _runs(backbone, counted_from_padding, pad_id):
        low = counted_from_padding
    else:
        low = 0
    while failing - low > 1:
        middle = (low + failing) // 2
        low, failing = (middle, failing) if _runs(backbone, middle, pad_id) else (low, middle)
    return low


def _check_long(network: Network, backbone: Any, length: int, pad_id: int) -> None:
    """Raise if a text is read otherwise beside one as long as the network takes: some change their attention there."""
    generator = np.random.default_rng(1)
    alone = [_text(generator, backbone, count, pad_id) for count in sorted({length // 2 or 1, length})]
    short = alone[0]["input_ids"].shape[1]
    try:
        with torch.no_grad(), quiet():
            single = backbone(**alone[0]).last_hidden_state[0, :short].mean(dim=0)
            beside = backbone(**_batch(alone, pad_id)).last_hidden_state[:, :short].mean(dim=1)
    except FAILURES as error:
        raise _does_not_run(network.backbone.config, error) from error
    allowed = _allowed(torch.stack([single, beside[-1]]))
    if (gap := _gap(single, beside[0])) > allowed:
        raise _depends_on_batch(network, gap, allowed)

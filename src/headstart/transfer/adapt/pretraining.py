"""Guessing hidden words, round by round: a pass over part of the texts, a look at texts held out, a checkpoint.

Order, masks and dropout of a round follow from the seed and the round's number, and a checkpoint is taken where one
ends: so a killed run ends in the bytes of one never stopped. A checkpoint is one file, whole or not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from headstart import artifacts
from headstart.backbones.masked_language import MaskedLanguageModel
from headstart.determinism import digest
from headstart.params.adapt import Adapt
from headstart.progress import bar
from headstart.transfer import device
from headstart.transfer.adapt.masking import Piece, Words
from headstart.transfer.adapt.rounds import Round
from headstart.transfer.finetune.rates import WEIGHT_DECAY, Schedule

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
HELD_OUT = 0  # the number of the masks that never change; rounds count from 1
WHOLE_TOKENS = 4096  # in a batch that is only measured
HIDDEN = 0.15  # share of words hidden: Devlin et al. 2019, arXiv:1810.04805
HEAD_LEARNING_RATE = 1.0e-3  # of a head that had to be made here
CLIP_NORM = 1.0  # of all gradients together
PATIENCE = 2  # epochs without a lower loss on texts held out


@dataclass(frozen=True)
class History:
    """How it went.

    Attributes:
        losses: summed over the hidden tokens of each text held out, in nats, `(1 + epochs, texts)`: before the backbone
            learned anything, then after each epoch.
        counts: hidden tokens of each text held out, `(texts,)`.
        tokens: that passed to learn from.
        stopped: why it ended, as a code with its numbers.
    """

    losses: NDArray[np.float64]
    counts: NDArray[np.float64]
    tokens: int
    stopped: dict[str, Any]

    @property
    def best(self) -> int:
        """The first epoch of least loss; 0: before the first."""
        return int(self.losses.sum(axis=1).argmin())


def run(
    model: MaskedLanguageModel,
    words: Words,
    learn: Sequence[Round],
    held_out: Sequence[Piece],
    params: Adapt,
    *,
    made: bool,
    partial: Path,
    place: torch.device,
) -> History:
    """Train `model` in place; it ends with the weights of the epoch of least held-out loss."""
    update = _optimizer(model, params, made=made)
    losses, counts = _resumed(partial / CHECKPOINT, model, update), _counts(words, held_out, params)

    def measured() -> NDArray[np.float64]:
        return measure(model, words, held_out, seed=params.seed)[0]

    if not losses and not learn[0].alone:
        losses.append(measured())
    done = len(losses) - (0 if learn[0].alone else 1)
    steps = Schedule(sum(len(one.batches) for one in learn if not one.alone))
    stopped: dict[str, Any] | None = None
    with bar("adapting", "tokens", sum(one.tokens for one in learn)) as shown:
        shown.update(sum(one.tokens for one in learn[:done]))
        while not (stopped := _ended(losses, done, learn, params)):
            before = sum(len(one.batches) for one in learn[:done] if not one.alone)
            sound = _pass(model, words, learn[done], update, params, schedule=steps, first=before, place=place)
            found = measured() if sound else np.array([np.nan])
            if not np.isfinite(found).all():
                stopped = {"code": "loss_not_finite", "round": done + 1}
                break
            losses.append(found)
            done += 1
            if len(losses) > 1 and _best(losses) == len(losses) - 1:
                _write(partial / BEST, _weights(model))
            _write(partial / CHECKPOINT, _state(model, update, losses))
            shown.update(learn[done - 1].tokens)
    if losses and _best(losses) > 0:
        _take(model, load_file(partial / BEST))
    model.eval()
    shown = np.stack(losses) if losses else np.full((1, len(counts)), np.nan)
    return History(shown, counts, sum(one.tokens for one in learn[:done]), stopped)


def measure(
    model: MaskedLanguageModel, words: Words, pieces: Sequence[Piece], *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loss in nats and hidden tokens, each summed over a text's pieces, `(texts,)`, under masks that stay the same.

    In float32, whatever the precision of training; texts are in the order of their numbers.
    """
    place = next(model.parameters()).device
    order = sorted(range(len(pieces)), key=lambda at: len(pieces[at]))
    sums, counts = np.zeros(len(pieces)), np.zeros(len(pieces))
    mode = model.training
    model.eval()
    start = 0
    with torch.inference_mode():
        while start < len(order):
            size = max(1, WHOLE_TOKENS // len(pieces[order[start]]))
            rows = order[start : start + size]
            batch = words.hide([pieces[at] for at in rows], HIDDEN, seed=seed, number=HELD_OUT, device=place)
            logits = model(batch.hidden, **batch.inputs).float()
            each = functional.cross_entropy(logits, batch.targets, reduction="none").double().cpu().numpy()
            sums[rows] = np.add.reduceat(each, np.cumsum(batch.counts) - batch.counts)
            counts[rows] = batch.counts
            start += size
    model.train(mode)
    return _by_text(pieces, sums), _by_text(pieces, counts)


def _optimizer(model: MaskedLanguageModel, params: Adapt, *, made: bool) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation weights are not decayed. `height` is a group's rate at the schedule's top."""
    head = list(model.head_parameters().values())
    own = {id(parameter) for parameter in head}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in own]
    rates = ((head, HEAD_LEARNING_RATE if made else params.learning_rate), (rest, params.learning_rate))
    options = [
        {
            "params": [parameter for parameter in parameters if (parameter.ndim > 1) is decayed],
            "weight_decay": WEIGHT_DECAY if decayed else 0.0,
            "height": rate,
        }
        for parameters, rate in rates
        for decayed in (True, False)
    ]
    return torch.optim.AdamW([option for option in options if option["params"]], fused=True)


def _pass(
    model: MaskedLanguageModel,
    words: Words,
    one: Round,
    update: torch.optim.Optimizer,
    params: Adapt,
    *,
    schedule: Schedule,
    first: int,
    place: torch.device,
) -> bool:
    """Learn from one round, whose first step is number `first`; False as soon as a number is not finite."""
    torch.manual_seed(int(digest([params.seed, one.number])[:12], 16))
    model.train()
    model.backbone.requires_grad_(not one.alone)
    autocast = torch.autocast(place.type, dtype=torch.bfloat16, enabled=device.precision("auto") == "bfloat16")
    for step, pieces in enumerate(one.batches, start=first):
        for group in update.param_groups:
            group["lr"] = group["height"] * (1.0 if one.alone else schedule(step))
        batch = words.hide(pieces, HIDDEN, seed=params.seed, number=one.number, device=place)
        with autocast:
            logits = model(batch.hidden, **batch.inputs)
        loss = functional.cross_entropy(logits.float(), batch.targets)
        update.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            return False
        update.step()
    return True


def _ended(
    losses: Sequence[NDArray[np.float64]], done: int, learn: Sequence[Round], params: Adapt
) -> dict[str, Any] | None:
    """Why no further round is due; None while one is."""
    if losses and not np.isfinite(losses[-1]).all():
        return {"code": "start_not_finite"}
    if done == len(learn):
        used = sum(one.tokens for one in learn)
        return {"code": "all_epochs", "epochs": len(losses) - 1, "tokens": used, "budget": params.budget}
    if losses and len(losses) - 1 - _best(losses) >= PATIENCE:
        return {"code": "patience", "epochs": PATIENCE}
    return None


def _best(losses: Sequence[NDArray[np.float64]]) -> int:
    return int(np.argmin([each.sum() for each in losses]))


def _counts(words: Words, pieces: Sequence[Piece], params: Adapt) -> NDArray[np.float64]:
    """Hidden tokens of each text under the masks that stay the same."""
    cpu = torch.device("cpu")
    found = [words.hide([piece], HIDDEN, seed=params.seed, number=HELD_OUT, device=cpu).counts[0] for piece in pieces]
    return _by_text(pieces, np.array(found, dtype=np.float64))


def _by_text(pieces: Sequence[Piece], values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place = np.unique([piece.text for piece in pieces], return_inverse=True)
    return np.asarray(np.bincount(place, weights=values), dtype=np.float64)


def _weights(model: MaskedLanguageModel) -> dict[str, Tensor]:
    """Every parameter once, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in model.named_parameters()}


def _take(model: MaskedLanguageModel, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def _state(
    model: MaskedLanguageModel, update: torch.optim.Optimizer, losses: Sequence[NDArray[np.float64]]
) -> dict[str, Tensor]:
    """All that a later round depends on."""
    state = {f"weights/{name}": value for name, value in _weights(model).items()}
    for name, parameter in model.named_parameters():
        state |= {f"update/{name}/{key}": value.cpu() for key, value in update.state.get(parameter, {}).items()}
    return state | {"losses": torch.from_numpy(np.stack(losses))}


def _resumed(path: Path, model: MaskedLanguageModel, update: torch.optim.Optimizer) -> list[NDArray[np.float64]]:
    """The losses so far, with model and optimizer as they were then; none, and both untouched, for a new run."""
    if not path.is_file():
        return []
    state = load_file(path)
    _take(model, {name.removeprefix("weights/"): value for name, value in state.items()})
    for name, parameter in model.named_parameters():
        start = f"update/{name}/"
        kept = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
        if kept:
            update.state[parameter] = {key: value.to(parameter.device) for key, value in kept.items()}
    return list(state["losses"].numpy())


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with artifacts.replaced(path) as temporary:
        save_file(tensors, temporary)

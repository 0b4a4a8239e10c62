"""Frozen layers run once: what they make of each example is kept, and every epoch starts above them.

    once          input ──► frozen layers ──► kept, an array an example
    every step                    kept ──► layers that learn ──► loss

Frozen layers answer in training as in evaluation (`backbones.batchnorm`), so keeping what they answer changes nothing
but the time, and, under bfloat16, the rounding: kept outputs are in float32. They are those of the example alone:
padding and batch do not matter.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.transfer import examples as prepared
from headstart.transfer.examples import Examples
from headstart.transfer.progress import bar

BATCH = 32
TOLERANCE = 1e-3  # on features, between starting above the frozen layers and passing through them
BELOW = "below"  # the key of kept outputs in a batch


class _ReachedError(Exception):
    """The frozen layers are through."""


class Frozen:
    """The lowest layer groups of a network, replaced by what they once answered while a batch brings it.

    Attributes:
        groups: how many.
    """

    def __init__(self, network: Network, groups: int) -> None:
        found = layers.groups(network)[:groups]
        self.groups = groups
        self._network = network
        self._top = found[-1].modules[-1]
        blocks = [module for group in found[1:] for module in group.modules]
        self._modules = [found[0].modules[-1], *blocks]
        self._in_tuples: set[nn.Module] = set()  # modules whose output is the first of a tuple

    def below(self, batch: Mapping[str, Tensor]) -> Tensor:
        """What the frozen layers make of a batch, the layers above not run: `(n, ...)`.

        Raises:
            RuntimeError: if the network is through without passing them.
        """
        reached: list[Tensor] = []

        def look(module: nn.Module, _inputs: Any, output: Any) -> None:
            self._in_tuples |= {module} if isinstance(output, tuple) else set()
            if module is self._top:
                reached.append(output[0] if isinstance(output, tuple) else output)
                raise _ReachedError

        hooks = [module.register_forward_hook(look) for module in self._modules]
        try:
            with torch.no_grad():
                self._network.features(**batch)
        except _ReachedError:
            return reached[0]
        finally:
            for hook in hooks:
                hook.remove()
        raise RuntimeError("the frozen layers are not on the network's way")

    @contextmanager
    def given(self, below: Tensor) -> Iterator[None]:
        """The network starts from `below`: the first module answers with it, the other frozen ones hand it on."""

        def instead(module: nn.Module) -> Callable[..., Any]:
            def forward(*args: Any, **named: Any) -> Any:
                output = below if module is self._modules[0] else args[0] if args else named["hidden_states"]
                return (output,) if module in self._in_tuples else output

            return forward

        try:
            for module in self._modules:
                vars(module)["forward"] = instead(module)
            yield
        finally:
            for module in self._modules:
                vars(module).pop("forward", None)


class Above:
    """Examples that bring what the frozen layers made of them; the same door to `Trainer` as theirs."""

    def __init__(self, examples: Examples, kept: Mapping[int, Tensor]) -> None:
        self.targets, self._examples, self._kept = examples.targets, examples, kept

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        return self._examples[row]

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        batch = self._examples.__getitems__(rows)
        return {**batch, BELOW: _padded([self._kept[row] for row in rows], batch.get("attention_mask"))}


def keep(network: Network, groups: int, examples: Examples) -> tuple[Frozen, Above] | None:
    """The frozen layers run over all examples; None where that can't be kept or does not give the same answers.

    It can't be kept beyond `examples.KEPT_BYTES`, nor where images are changed by chance in every epoch.
    """
    if groups == 0 or examples.augmented:
        return None
    frozen, kept, size = Frozen(network, groups), dict[int, Tensor](), 0
    lengths = [_length(examples, row) for row in range(len(examples))]
    order = sorted(range(len(examples)), key=lambda row: -lengths[row])  # like lengths together, the longest first
    place, training = next(network.parameters()).device, network.training
    network.eval()
    try:
        with bar(len(examples), "outputs of frozen layers", "examples") as advance:
            for start in range(0, len(examples), BATCH):
                rows = order[start : start + BATCH]
                batch = _inputs(examples, rows, place)
                if start == 0 and not _alike(network, frozen, batch):
                    return None
                kept |= zip(rows, _single(frozen.below(batch).cpu(), batch.get("attention_mask")), strict=True)
                size += sum(kept[row].nbytes for row in rows)
                if size * sum(lengths) > prepared.KEPT_BYTES * sum(lengths[row] for row in kept):
                    return None
                advance(len(rows))
    finally:
        network.train(training)
    return frozen, Above(examples, kept)


def _length(examples: Examples, row: int) -> int:
    """Tokens of a text; 1 for an image, all of which are as large."""
    return len(examples[row].get("input_ids", [0]))


def _inputs(examples: Examples, rows: list[int], place: torch.device) -> dict[str, Tensor]:
    batch = examples.__getitems__(rows)
    return {name: value.to(place) for name, value in batch.items() if name != "labels"}


def _alike(network: Network, frozen: Frozen, batch: Mapping[str, Tensor]) -> bool:
    """Whether the network answers from above the frozen layers as from the input; architectures branch as they like."""
    mask = batch.get("attention_mask")
    with torch.no_grad():
        whole = network.features(**batch)
        try:
            with frozen.given(_padded(_single(frozen.below(batch), mask), mask)):
                short = network.features(**batch)
        except (RuntimeError, TypeError, KeyError, IndexError, AttributeError):
            return False
    return bool(whole.shape == short.shape and torch.allclose(whole, short, atol=TOLERANCE, rtol=TOLERANCE))


def _single(below: Tensor, mask: Tensor | None) -> list[Tensor]:
    """One tensor an example, without padding."""
    if mask is None:
        return [one.clone() for one in below]
    return [one[own.bool()] for one, own in zip(below, mask.to(below.device), strict=True)]


def _padded(kept: list[Tensor], mask: Tensor | None) -> Tensor:
    """The batch of `kept`, tokens where `mask` has them and zeros elsewhere."""
    if mask is None:
        return torch.stack(kept)
    result = kept[0].new_zeros((*mask.shape, kept[0].shape[-1]))
    result[mask.bool()] = torch.cat(kept)
    return result

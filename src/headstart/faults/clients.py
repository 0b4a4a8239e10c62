"""What a client computed from one raw input, against what the contract computes: where they differ, and why.

A client that prepares inputs itself sends a tensor, token ids or logits. Each known mistake of such clients is carried
out on the same raw input; the one whose numbers are the client's is the explanation. One input is enough.

    image   reading · geometry · colour · scale · layout          `faults.tensors`, at most two mistakes at once
    text    cleaning · cut · special tokens · padding · mask      `faults.tokens`; another tokenizer
    logits  any of the above through the network; probabilities instead; classes in another order
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import UsageError
from headstart.faults import tensors
from headstart.faults.tokens import Tokens
from headstart.predictor import Predictor

SAME_LOGITS = 1e-3
EXPLAINED_SHARE = 0.15  # of a difference in logits may remain: libraries round levels differently
MOST_RUNS = 120  # of the network, to explain logits: every single mistake, and the first pairs
LARGEST_ID = 2**31
FEW = 4  # token ids or fewer are off by the same number by chance
PLACES = 10  # of classes in another order, in a sentence
Kind = Literal["tensor", "token_ids", "logits"]
NAMES: Mapping[str, Kind] = {"pixel_values": "tensor", "input_ids": "token_ids", "logits": "logits"}
BESIDE = ("attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Comparison:
    """How a client's numbers compare with ours.

    Attributes:
        agrees: they are the contract's, within what libraries round differently.
        kind: what was taken to have arrived.
        difference: the largest: in grey levels for tensors, in logits, in tokens that differ; None where the shapes do.
        where: the first place where they differ, or that they don't.
        faults: the known mistakes that together give the client's numbers; empty where none does.
        meaning: a sentence for people.
    """

    agrees: bool
    kind: Kind
    difference: float | None
    where: str
    faults: tuple[str, ...]
    meaning: str

    def document(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {**asdict(self), "faults": list(self.faults)}


@dataclass(frozen=True)
class _Arrived:
    """A client's numbers for one input; the kind is None where only their shape can tell it."""

    numbers: NDArray[np.float64]
    kind: Kind | None
    mask: NDArray[np.float64] | None


class _Search:
    """How long mistakes are tried."""

    def __init__(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s
        self.ended_early = False

    def goes_on(self) -> bool:
        self.ended_early = self.ended_early or time.monotonic() > self._end
        return not self.ended_early


def compare(
    folder: Path, predictor: Predictor, raw: str | bytes, arrived: Any, *, limit_s: float = math.inf
) -> Comparison:
    """Hold a client's numbers for one raw input against the contract's.

    Args:
        folder: of the bundle.
        predictor: of the bundle.
        raw: the text, or the bytes of the picture.
        arrived: the client's tensor, token ids (with or without a batch dimension) or logits; or an object that has
            them as `pixel_values`, as `input_ids` with its `attention_mask`, or as `logits`.
        limit_s: no mistake is tried after so long; the difference itself is always told.

    Raises:
        ContractError: if the contract does not accept `raw`.
        UsageError: if `arrived` is no array of numbers, or of a shape that is none of the three.
        BundleError: if the bundle's tokenizer is gone.
    """
    spec, search = predictor.contract.input, _Search(limit_s)
    given = _given(arrived, predictor)
    numbers, kind = given.numbers, given.kind
    if isinstance(spec, ImageSpec) and isinstance(raw, bytes):
        if kind is None and numbers.ndim == 1 and numbers.size != len(predictor.labels):
            kind = "tensor" if numbers.size == math.prod(spec.shape) else None
        kind = kind or ("tensor" if numbers.ndim > 1 else "logits")
        if kind == "tensor" and numbers.size:
            return _compare_tensor(predictor, spec, raw, numbers, search)
        if kind == "logits" and numbers.ndim == 1:
            pictures = (
                (each.mistakes, each.tensor.astype(np.float32))
                for each in tensors.variants(raw, spec)
                if each.tensor.shape == spec.shape
            )
            return _compare_logits(predictor, raw, numbers, pictures, search)
    if isinstance(spec, TextSpec) and isinstance(raw, str) and numbers.ndim == 1 and numbers.size:
        known = Tokens(folder, spec)
        if kind == "token_ids" or (kind is None and _are_ids(numbers, len(predictor.labels))):
            return _compare_tokens(predictor, known, raw, given, search)
        if kind in (None, "logits"):
            return _compare_logits(predictor, raw, numbers, known.variants(raw), search)
    raise UsageError(
        f"an array of shape {numbers.shape} arrived{f' as {kind}' if kind else ''}; expected "
        + ("a tensor of one picture" if isinstance(spec, ImageSpec) else "the token ids of one text")
        + f", or {len(predictor.labels)} logits.",
        action="Send what was computed for one input, not for a batch of several.",
    )


def _given(arrived: Any, predictor: Predictor) -> _Arrived:
    """The client's numbers, without the dimension of a batch of one.

    Raises:
        UsageError: if they are none.
    """
    if not isinstance(arrived, Mapping):
        return _Arrived(_numbers(arrived, "what the client computed", predictor), None, None)
    names = [name for name in arrived if name in NAMES]
    if len(names) != 1 or set(arrived) - {*names, *BESIDE}:
        raise UsageError(
            f"an object with {', '.join(map(repr, list(arrived)[:5])) or 'nothing in it'} arrived; expected one of "
            f"{', '.join(NAMES)}, beside input_ids perhaps {' and '.join(BESIDE)}.",
            action="Send what the network takes, under the names it has in model.onnx.",
        )
    (name,) = names
    mask = arrived.get("attention_mask")
    return _Arrived(
        _numbers(arrived[name], name, predictor),
        NAMES[name],
        None if mask is None else _numbers(mask, "attention_mask", predictor),
    )


def _numbers(values: Any, name: str, predictor: Predictor) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{name} is no array of numbers: {error}.",
            action="Send the tensor, the token ids or the logits of one input, as nested lists or a .npy file.",
        ) from None
    while numbers.ndim > 1 and numbers.shape[0] == 1 and not _is_one_picture(numbers, predictor):
        numbers = numbers[0]  # a batch of one
    return numbers


def _is_one_picture(numbers: NDArray[np.float64], predictor: Predictor) -> bool:
    """Whether the first dimension is a single channel and no batch."""
    spec = predictor.contract.input
    return isinstance(spec, ImageSpec) and numbers.ndim == 3 and spec.channels == 1


def _are_ids(numbers: NDArray[np.float64], classes: int) -> bool:
    """Whether a row of numbers is token ids rather than logits: whole, and as many as there are classes by chance."""
    whole = bool(np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all())
    return whole and (len(numbers) != classes or bool((numbers >= 0).all() and (numbers > 1).any()))


# ---------------------------------------------------------------------------------------------------------- pictures


def _compare_tensor(
    predictor: Predictor, spec: ImageSpec, raw: bytes, arrived: NDArray[np.float64], search: _Search
) -> Comparison:
    ours = predictor.preprocessor.prepare([raw])[0].astype(np.float64)  # (channels, height, width)
    step = np.abs(spec.rescale / np.array(spec.std))[:, None, None]  # one grey level
    if arrived.ndim == 2:
        arrived = arrived[None]
    if (place := _not_finite(arrived)) is not None:
        return _undefined("tensor", place)
    shaped = arrived.reshape(ours.shape) if arrived.ndim == 1 else arrived  # JavaScript's Float32Array has no shape
    difference = float((np.abs(shaped - ours) / step).max()) if shaped.shape == ours.shape else None
    if difference is not None and difference <= tensors.SAME_LEVELS:
        return Comparison(True, "tensor", difference, "no value differs by more than a grey level", (), "It agrees.")
    if difference is None:
        where = f"its shape is {arrived.shape}; {ours.shape} was expected"
    else:
        at = tuple(int(each) for each in np.argwhere(np.abs(shaped - ours) > tensors.SAME_LEVELS * step)[0])
        named = f"channel {at[0]}, row {at[1]}, column {at[2]}"
        where = f"{named} is {shaped[at]:.4g}; {ours[at]:.4g} was expected"
    found = tensors.explanation(arrived, tensors.variants(raw, spec), search.goes_on)
    return _explained("tensor", difference, where, found, search)


def _undefined(kind: Kind, where: str) -> Comparison:
    """What is said of NaN and infinity, which no contract gives."""
    meaning = "The contract gives finite numbers only: look for a division by zero or a half-precision overflow."
    return Comparison(False, kind, None, where, (), meaning)


def _not_finite(numbers: NDArray[np.float64]) -> str | None:
    """The first place that holds no number; None where all do."""
    wrong = np.argwhere(~np.isfinite(numbers))
    if not len(wrong):
        return None
    place = tuple(int(each) for each in wrong[0])
    wrong_of = f"one of {len(wrong)} of {numbers.size} that are NaN or infinite"
    return f"the value at {list(place)} is {numbers[place]}, {wrong_of}"


# ------------------------------------------------------------------------------------------------------------- texts


def _compare_tokens(predictor: Predictor, known: Tokens, raw: str, given: _Arrived, search: _Search) -> Comparison:
    ours = predictor.preprocessor.prepare([raw])[0]
    if (place := _not_finite(given.numbers)) is not None:
        return _undefined("token_ids", place)
    if not (given.numbers == np.rint(given.numbers)).all() or np.abs(given.numbers).max() >= LARGEST_ID:
        return _explained("token_ids", None, "not every token id is a whole number below 2**31", ())
    arrived = given.numbers.astype(np.int64)
    before, core, after = _unpadded(arrived, known.spec.pad_id, ours)
    if not len(core):
        return Comparison(False, "token_ids", float(len(ours)), "every token is padding", (), "Nothing was sent.")
    outside = _padding_faults(known.spec.pad_id, before, after)
    outside += _mask_faults(given.mask, len(before), len(core), len(after))
    shared = min(len(core), len(ours))
    different = np.flatnonzero(core[:shared] != ours[:shared])
    count = float(len(different) + abs(len(core) - len(ours)))
    if np.array_equal(core, ours):
        if not outside:
            return Comparison(True, "token_ids", 0.0, f"all {len(ours)} tokens are equal", (), "It agrees.")
        beside = f"{len(before)} tokens of padding stand before the text" if len(before) else "the padding or its mask"
        return _explained("token_ids", count, f"all {len(ours)} tokens of the text are equal; {beside}", outside)
    if len(different):
        place_ = int(different[0])
        where = f"token {place_} is {core[place_]}; {ours[place_]} was expected"
    else:
        where = f"it has {len(core)} tokens; {len(ours)} were expected"
    found = known.explanation(raw, core, search.goes_on) or _foreign(core, ours, known.vocabulary)
    return _explained("token_ids", count, where, (*outside, *found), search)


def _unpadded(
    arrived: NDArray[np.int64], pad: int, ours: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Padding before, the text's own tokens, padding after; padding of another id is told by our tokens before it."""
    rest = arrived[len(ours) :]
    if len(rest) and np.array_equal(arrived[: len(ours)], ours) and (rest == rest[0]).all():
        return arrived[:0], arrived[: len(ours)], rest
    filled = np.flatnonzero(arrived != pad)
    if not len(filled):
        return arrived, arrived[:0], arrived[:0]
    first, last = int(filled[0]), int(filled[-1]) + 1
    return arrived[:first], arrived[first:last], arrived[last:]


def _padding_faults(pad: int, before: NDArray[np.int64], after: NDArray[np.int64]) -> tuple[str, ...]:
    found = ["padded at the beginning instead of the end"] if len(before) else []
    if len(after) and after[0] != pad:
        found.append(f"padded with token {after[0]} instead of {pad}")
    return tuple(found)


def _mask_faults(mask: NDArray[np.float64] | None, before: int, core: int, after: int) -> tuple[str, ...]:
    """What is wrong with a mask that should be 1 over the text and 0 over padding."""
    if mask is None:
        return ()
    right = np.concatenate([np.zeros(before), np.ones(core), np.zeros(after)])
    if mask.shape != right.shape:
        return (f"the attention mask has the shape {mask.shape}, the token ids {right.shape}",)
    if np.array_equal(mask, right):
        return ()
    if np.array_equal(mask, 1 - right):
        return ("the attention mask is the wrong way round",)
    if not np.isin(mask, (0, 1)).all():
        return ("the attention mask holds other numbers than 0 and 1",)
    found = ("the attention mask covers padding",) if (mask > right).any() else ()
    return (*found, "the attention mask leaves out tokens of the text") if (mask < right).any() else found


def _foreign(core: NDArray[np.int64], ours: NDArray[np.int64], vocabulary: int) -> tuple[str, ...]:
    """Whether the ids are of another vocabulary: beyond ours, shifted, or hardly any of them the same.

    A text that was changed before it was tokenized keeps most of its ids, wherever they come to stand.
    """
    if len(core) == len(ours) > FEW:
        shifts = core[1:-1] - ours[1:-1]  # special tokens may stand elsewhere in the vocabulary
        if shifts[0] and (shifts == shifts[0]).all():
            return (f"every token id is off by {shifts[0]:+d}",)
    alike = np.isin(core[1:-1], ours).mean() if len(core) > 2 else np.isin(core, ours).mean()
    if core.min() < 0 or core.max() >= vocabulary or alike < 0.5:
        return ("another tokenizer or vocabulary was used",)
    return ()


# ------------------------------------------------------------------------------------------------------------ logits


def _compare_logits(
    predictor: Predictor,
    raw: str | bytes,
    arrived: NDArray[np.float64],
    variants: Iterator[tuple[tuple[str, ...], NDArray[Any]]],
    search: _Search,
) -> Comparison:
    ours = predictor.logits([raw])[0].astype(np.float64)
    if arrived.shape != ours.shape:
        raise UsageError(
            f"{arrived.shape[0]} logits arrived; the model has {len(ours)} classes.",
            action="Send the logits of one input, one for each class.",
        )
    if (wrong := _not_finite(arrived)) is not None:
        return _undefined("logits", wrong)
    difference = float(np.abs(arrived - ours).max())
    if difference <= SAME_LOGITS:
        return Comparison(True, "logits", difference, "no logit differs by more than 0.001", (), "It agrees.")
    place = int(np.abs(arrived - ours).argmax())
    where = f"the logit of {predictor.labels[place]!r} is {arrived[place]:.4g}; {ours[place]:.4g} was expected"
    softened = np.exp(ours - ours.max()) / np.exp(ours - ours.max()).sum()
    outputs = {
        (): ours,
        ("probabilities were sent instead of logits",): softened,
        ("calibrated probabilities were sent instead of logits",): predictor.probabilities(ours[None])[0],
    }
    for names, other in outputs.items():
        if names and np.abs(arrived - other).max() <= SAME_LOGITS:
            return _explained("logits", difference, where, names)
    for names, other in outputs.items():
        if np.abs(np.sort(arrived) - np.sort(other)).max() <= SAME_LOGITS:
            order = _order(arrived, other, predictor.labels)
            return _explained("logits", difference, where, (*names, f"classes stand in another order: {order}"))
    fitting: list[tuple[float, tuple[str, ...]]] = []
    for runs, (names, item) in enumerate(variants):
        if (fitting and len(names) > len(fitting[0][1])) or runs > MOST_RUNS or not search.goes_on():
            break
        if not names or not item.size or (item.ndim == 1 and len(item) > _longest(predictor)):
            continue
        gap = float(np.abs(arrived - predictor.run([item]).logits[0]).max())
        if gap <= max(SAME_LOGITS, EXPLAINED_SHARE * difference):
            fitting.append((gap, names))
    return _explained("logits", difference, where, min(fitting)[1] if fitting else (), search)


def _longest(predictor: Predictor) -> int:
    """Tokens that the network is sure to take; beyond, its positions may end."""
    return cast(TextSpec, predictor.contract.input).max_tokens


def _order(arrived: NDArray[np.float64], ours: NDArray[np.float64], labels: Sequence[str]) -> str:
    """Which class each place holds that should hold another; the rest is in place."""
    holds = np.empty(len(ours), dtype=int)
    holds[np.argsort(arrived, kind="stable")] = np.argsort(ours, kind="stable")
    moved = [place for place in range(len(ours)) if abs(arrived[place] - ours[place]) > SAME_LOGITS]
    told = [f"place {place} holds {labels[holds[place]]!r}" for place in moved[:PLACES]]
    return ", ".join(told) + (f" and {len(moved) - PLACES} more" if len(moved) > PLACES else "")


def _explained(
    kind: Kind, difference: float | None, where: str, faults: Sequence[str], search: _Search | None = None
) -> Comparison:
    if faults:
        meaning = f"The client's numbers are those of: {', and '.join(faults)}."
    else:
        meaning = "None of the known mistakes gives the client's numbers: send raw inputs, or compare step by step."
        if search and search.ended_early:
            meaning = f"The time was up before every known mistake was tried. {meaning}"
    return Comparison(False, kind, difference, where, tuple(faults), meaning)

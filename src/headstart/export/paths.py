"""Do hard inputs come out the same on both ways from raw bytes to logits? Measured when a network is exported.

    raw ─ the contract's values, by Pillow or the tokenizer alone ─► torch network ─► logits
    raw ─ preprocess.onnx or the contract's encoder ───────────────► model.onnx ────► logits

Training, evaluation, server and monitor all go the second way, so a fault in it shows nowhere else. Where the prepared
inputs differ already, the known mistake that gives the second's numbers is noted.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.bundle import Calibration
from headstart.contract.inputs import Item
from headstart.contract.spec import ImageSpec
from headstart.errors import ContractError
from headstart.export import parity
from headstart.faults import corpus, tensors
from headstart.faults.tokens import Tokens
from headstart.predictor import UNANSWERED, Predictor

FORMAT = 1
TIE = 1e-4  # two logits nearer than this are told apart by rounding
Prepared = tuple[Item, float | None, tuple[str, ...]]
"""An input by the contract's values, how far the files are from it, and the mistakes that explain it."""
Compare = Callable[[Any, Item | None], Prepared]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One hard input.

    Attributes:
        name: in `faults.corpus`.
        prepared_difference: the largest: in grey levels, or in tokens that differ; None where shapes do.
        logit_difference: the largest of one logit; None where one way gave none, or no number.
        flipped: whether the label is another one, and not by a tie.
        mistakes: known ones that give what the second way prepared; none where the two agree or nothing explains it.
    """

    name: str
    prepared_difference: float | None
    logit_difference: float | None
    flipped: bool
    mistakes: tuple[str, ...]


def check(network: Network, model: Path, contract: Path) -> dict[str, Any]:
    """Send the corpus both ways.

    Args:
        network: in evaluation mode.
        model: what `graph.export` made of it.
        contract: the folder of the contract.

    Returns:
        `cases`, one an input that was compared, `refused` with the names of those that the contract does not accept,
        `same_prepared`: the difference that rounding may make in what is prepared, and of all cases `examples`,
        `max_difference`, `label_flips`.
    """
    predictor = Predictor.open(model=model, contract=contract, calibration=Calibration.identity(network.classes))
    spec = predictor.contract.input
    compare = _picture(spec) if isinstance(spec, ImageSpec) else _text(Tokens(contract, spec))
    refused: list[str] = []
    names: list[str] = []
    theirs: list[Item | None] = []
    expected: list[Prepared] = []
    for name, raw in _inputs(predictor):
        try:
            item = predictor.preprocessor.prepare([raw])[0]
        except ContractError:
            refused.append(name)
            continue
        except UNANSWERED:
            item = None
        names.append(name)
        theirs.append(item)
        expected.append(compare(raw, item))
    collate = predictor.preprocessor.collate
    ours = _logits([item for item, _, _ in expected], lambda items: parity.answers(network, collate(items))[0])
    served = _logits(theirs, lambda items: predictor.run(items).logits)
    cases = [
        _case(name, *prepared[1:], own, other)
        for name, prepared, own, other in zip(names, expected, ours, served, strict=True)
    ]
    return {
        "format": FORMAT,
        "examples": len(cases),
        "max_difference": max((case.logit_difference or 0.0 for case in cases), default=0.0),
        "label_flips": sum(case.flipped for case in cases),
        "same_prepared": tensors.SAME_LEVELS if isinstance(predictor.contract.input, ImageSpec) else 0.0,
        "cases": [{**asdict(case), "mistakes": list(case.mistakes)} for case in cases],
        "refused": refused,
    }


def _inputs(predictor: Predictor) -> Iterator[tuple[str, Any]]:
    spec = predictor.contract.input
    yield from (corpus.pictures() if isinstance(spec, ImageSpec) else corpus.texts(spec.max_characters)).items()


def _logits(items: Sequence[Item | None], answer: Callable[[list[Item]], Logits]) -> list[Logits | None]:
    """A row of logits an item, those of one shape in one run; None where there is no item, or no answer."""
    found: list[Logits | None] = [None] * len(items)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, item in enumerate(items):
        if item is not None:
            shapes.setdefault(item.shape, []).append(place)
    for places in shapes.values():
        with contextlib.suppress(*UNANSWERED):
            rows = answer([item for place in places if (item := items[place]) is not None])
            for place, row in zip(places, rows, strict=True):
                found[place] = row
    return found


def _case(
    name: str, prepared: float | None, mistakes: tuple[str, ...], expected: Logits | None, served: Logits | None
) -> Case:
    prepared = prepared if prepared is not None and math.isfinite(prepared) else None
    if expected is None or served is None or not np.isfinite([expected, served]).all():
        return Case(name, prepared, None, True, mistakes)
    best = int(expected.argmax())
    rival = float(np.delete(expected, best).max())
    flipped = int(served.argmax()) != best and float(expected[best]) - rival > TIE
    return Case(name, prepared, float(np.abs(served - expected).max()), flipped, mistakes)


def _picture(spec: ImageSpec) -> Compare:
    """What Pillow makes of a picture."""

    def compare(raw: Any, theirs: Item | None) -> Prepared:
        found = tensors.variants(raw, spec)
        first = next(found)
        if theirs is None:
            return first.tensor.astype(np.float32), None, ()
        if first.tensor.shape == theirs.shape:
            difference = float((np.abs(theirs - first.tensor) / first.level).max())
            if difference <= tensors.SAME_LEVELS:
                return theirs, difference, ()  # what rounding makes of it in a network is no fault of the export
        else:
            difference = None
        return first.tensor.astype(np.float32), difference, tensors.explanation(theirs.astype(np.float64), found)

    return compare


def _text(known: Tokens) -> Compare:
    """What the tokenizer makes of a text by itself."""

    def compare(raw: Any, theirs: Item | None) -> Prepared:
        ours = next(known.variants(raw))[1]
        if theirs is None:
            return ours, None, ()
        if np.array_equal(ours, theirs):
            return ours, 0.0, ()
        difference = float((theirs != ours).sum()) if theirs.shape == ours.shape else None
        return ours, difference, known.explanation(raw, theirs)

    return compare

"""Whether our numbers are the ones the backbone's own processor computes: compared, not trusted."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import DataError
from headstart.findings import Finding, Verdict

CHECK = "contract_agreement"
ODD_SHARE = 0.1  # of the inputs; more than that is no peculiarity of a few
NAMED = 10


def tolerance(spec: TextSpec | ImageSpec) -> float:
    """The difference of one value that `compare` may let pass: none for token ids, one level of 255 for pictures.

    Measured, pictures agree to the last bit of a level; the level leaves room for another Pillow on the other side.
    A hundredth of a level more is for rounding in single precision.
    """
    return 0.0 if isinstance(spec, TextSpec) else 1.01 * abs(spec.rescale) / min(abs(value) for value in spec.std)


def compare(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], tolerance: float) -> Finding:
    """Hold prepared inputs against reference ones, input by input.

    Args:
        ours: what `Preprocessor.prepare` gave.
        theirs: what the backbone's own tokenizer or image processor gave for the same inputs.
        tolerance: largest difference of one value that passes, in the scale of the items.

    Returns:
        `contract_agreement`: pass if every shape is equal and no value differs by more. A difference in how inputs are
        prepared shows on most of them, so where at most one in ten differs it is something about these inputs:
        unsure, with their indices. Above that it fails. The statistic is the largest difference, None where a shape
        differs. The evidence holds the mean difference and the worst input.

    Raises:
        DataError: if there is nothing to compare, or the two are not equally many.
    """
    if not ours or len(ours) != len(theirs):
        raise DataError(f"{len(ours)} prepared inputs cannot be compared with {len(theirs)} reference inputs.")
    pairs = list(zip(ours, theirs, strict=True))
    gaps = {
        index: np.abs(mine.astype(np.float64) - other)
        for index, (mine, other) in enumerate(pairs)
        if mine.shape == other.shape
    }
    largest = {index: float(gap.max(initial=0.0)) for index, gap in gaps.items()}
    reshaped = [index for index in range(len(pairs)) if index not in gaps]
    differing = sorted([*reshaped, *(index for index, value in largest.items() if not value <= tolerance)])
    worst = reshaped[0] if reshaped else max(largest, key=lambda index: (math.isnan(largest[index]), largest[index]))
    values = sum(gap.size for gap in gaps.values())
    evidence = {
        "inputs": len(ours),
        "worst": worst,
        "differing": differing[:NAMED],
        "count": len(differing),
        "shapes": [list(each.shape) for each in pairs[worst]] if reshaped else None,
        "mean_difference": sum(float(gap.sum()) for gap in gaps.values()) / max(1, values),
        "share_different": sum(int((gap > 0).sum()) for gap in gaps.values()) / max(1, values),
    }
    statistic = None if reshaped else largest[worst]
    few = len(differing) <= ODD_SHARE * len(ours)
    verdict: Verdict = "pass" if not differing else "unsure" if few else "fail"
    return Finding(CHECK, verdict, statistic, tolerance, evidence=evidence)

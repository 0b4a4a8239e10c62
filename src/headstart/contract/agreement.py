"""Whether our numbers are the ones the backbone's own processor computes: compared, not trusted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import DataError
from headstart.findings import Finding

CHECK = "contract_agreement"


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
        `contract_agreement`: pass if every shape is equal and no value differs by more; the statistic is the
        largest difference, None where a shape differs. The evidence holds the mean difference and the worst input.

    Raises:
        DataError: if there is nothing to compare, or the two are not equally many.
    """
    if not ours or len(ours) != len(theirs):
        raise DataError(f"{len(ours)} prepared inputs cannot be compared with {len(theirs)} reference inputs.")
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine.shape != other.shape:
            return Finding(
                CHECK,
                "fail",
                None,
                tolerance,
                f"input {index} becomes {mine.shape} here and {other.shape} by the backbone's own processor.",
                "Compare contract.json with the backbone's processor files: sizes, crop or special tokens differ.",
                {"worst": index, "inputs": len(ours)},
            )
    gaps = [np.abs(mine.astype(np.float64) - other) for mine, other in zip(ours, theirs, strict=True)]
    largest = [float(gap.max(initial=0.0)) for gap in gaps]
    worst = int(np.argmax(largest))
    values = sum(gap.size for gap in gaps)
    evidence = {
        "inputs": len(ours),
        "worst": worst,
        "mean_difference": sum(float(gap.sum()) for gap in gaps) / max(1, values),
        "share_different": sum(int((gap > 0).sum()) for gap in gaps) / max(1, values),
    }
    agrees = largest[worst] <= tolerance
    reason = (
        f"over {len(ours)} inputs, values differ from the backbone's own processor by at most {largest[worst]:.3g} "
        f"(allowed: {tolerance:.3g})."
    )
    action = "" if agrees else f"Look at input {worst}; compare contract.json with the backbone's processor files."
    return Finding(CHECK, "pass" if agrees else "fail", largest[worst], tolerance, reason, action, evidence)

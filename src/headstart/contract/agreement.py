"""Whether our numbers are the ones the backbone's own processor computes: compared, not trusted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import DataError
from headstart.findings import Finding

CHECK = "contract_agreement"
LEVELS = 2.0


def tolerance(spec: TextSpec | ImageSpec) -> float:
    """What `compare` may allow: nothing for token ids, two levels of 255 in the tensor's scale for pictures.

    Pillow and onnxruntime round antialiased resizing to whole levels in passes of their own: measured on photographs,
    one level in 0.4% of values, two levels once when enlarging.
    """
    if isinstance(spec, TextSpec):
        return 0.0
    return LEVELS * spec.rescale / min(spec.std) + 1e-6


def compare(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], tolerance: float) -> Finding:
    """Hold prepared inputs against reference ones, input by input.

    Args:
        ours: what `Preprocessor.prepare` gave.
        theirs: what the backbone's own tokenizer or image processor gave for the same inputs.
        tolerance: largest difference of one value that passes; 0 for token ids, about one level out of 255 in
            the scale of the tensors for pictures.

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

"""Does the exported file answer as the network does? Measured on real inputs, at several batch sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.bundle import Calibration
from headstart.errors import DataError
from headstart.export import graph
from headstart.predictor import Predictor

FORMAT = 1
EXAMPLES = 128
BATCH_SIZES = (1, 2, 7, 32)


def check(network: Network, model: Path, contract: Path, raw: Sequence[Any]) -> dict[str, Any]:
    """Hold the file's logits against the network's, example by example.

    Every batch size sees every example, in the order given, so that each is compared padded by different neighbours.
    The network answers each batch size itself: what is measured is the export, not padding.

    Args:
        network: in evaluation mode.
        model: what `graph.export` made of it.
        contract: the folder of the contract that both are fed by.
        raw: texts or encoded images.

    Returns:
        `examples`, `batch_sizes`, the largest and the mean absolute difference of one logit, `feature_difference`
        (the largest), `batch_difference` (the largest between the file's own answers at different batch sizes),
        `label_flips` (the most at one batch size), and in `graph` how many nodes of training the file holds.

    Raises:
        DataError: if there is no input.
        ContractError: if an input is refused.
    """
    if not len(raw):
        raise DataError(
            "no example arrived to compare the exported file on.",
            action="Give the validation split examples: prepare.split.validation.",
        )
    predictor = Predictor.open(model=model, contract=contract, calibration=Calibration.identity(network.classes))
    items = predictor.preprocessor.prepare(raw)
    differences, given, flips, features = [], [], [], 0.0
    for size in BATCH_SIZES:
        exported, ours = [], []
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            exported.append(predictor.run(batch))
            ours.append(answers(network, predictor.preprocessor.collate(batch)))
        theirs, own = (np.concatenate([outputs[0] for outputs in runs]) for runs in (exported, ours))
        gaps = [np.abs(a[1] - b[1]).max() for a, b in zip(exported, ours, strict=True)]
        features = max(features, *map(float, gaps))
        differences.append(np.abs(theirs - own))
        flips.append(int((theirs.argmax(axis=1) != own.argmax(axis=1)).sum()))
        given.append(theirs)
    return {
        "format": FORMAT,
        "examples": len(items),
        "batch_sizes": list(BATCH_SIZES),
        "max_difference": float(np.max(differences)),
        "mean_difference": float(np.mean(differences)),
        "feature_difference": features,
        "batch_difference": float(np.ptp(given, axis=0).max()),
        "label_flips": max(flips),
        "graph": graph.leftovers(model),
    }


def answers(network: Network, batch: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and features of one collated batch."""
    with torch.inference_mode():
        outputs = network(**{name: torch.from_numpy(values) for name, values in batch.items()})
    return outputs["logits"].numpy(), outputs["features"].numpy()

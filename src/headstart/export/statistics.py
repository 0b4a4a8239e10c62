"""Are a trained network's BatchNorm statistics those that it should have? Measured before it is exported.

as trained ─► fingerprints against those of the backbone, which training had to leave alone
           ─► moments of training images, layer by layer, against the stored ones
           ─► validation under the stored statistics and under those of training images
cured      ─► validation under the cure
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.batchnorm import recalibration
from headstart.batchnorm.instrumented import Instrumented
from headstart.contract.inputs import Item
from headstart.data.cures import BatchNorm
from headstart.data.dataset import Dataset
from headstart.export import instrumented
from headstart.layer_statistics import BLOCKS, Layers, divergences, in_blocks, summed
from headstart.predictor import Preprocessor
from headstart.statistics.gaussian import Moments

FORMAT = 1
IMAGES = 500  # of training and of validation, at most
BATCH = 32  # images: statistics further off than those of one batch of so many are not an average over training
DRAWS = 200
SEED = 0


def check(
    network: Network,
    graph: Path,
    contract: Path,
    *,
    kept: Mapping[str, str],
    train: Dataset,
    validation: Dataset,
    cure: BatchNorm | None,
) -> dict[str, Any]:
    """Measure the statistics of a network as it was trained, and what a cure would change.

    Args:
        network: as trained, in evaluation mode, without the cure.
        graph: its instrumented file; absent where it has no BatchNorm.
        contract: the folder of the contract.
        kept: fingerprints of the statistics that training had to leave alone, by layer.
        train: images to take moments of.
        validation: images with labels.
        cure: what remedies say; None where there is none.

    Returns:
        `layers` [{`name`, `kept`, `moved`, `divergence`, `bar`}], empty without BatchNorm: whether the layer's
        statistics had to stay and whether they did, the divergence of training images from them, and what one batch
        of 32 training images would differ by in one of a thousand; `images` of training; of validation `n`, `stored`
        and `reestimated` (right answers under either), `gained` and `lost` (those right under one alone); `cure`:
        None or {`applied`, `source`}.
    """
    told = None if cure is None else {"applied": cure.network == instrumented.digest_of(network), "source": cure.source}
    if not graph.is_file():
        return {"format": FORMAT, "layers": [], "cure": told}
    preprocessor = Preprocessor.load(contract)
    measured = Instrumented.open(graph, preprocessor)
    own = batchnorm.fingerprints(network)
    seen = measured.run(_items(preprocessor, train)).moments
    apart = divergences(measured.layers, summed(seen), measured.stored)
    bars = _one_batch(measured.layers, seen)
    found = recalibration.reestimate(measured, _items(preprocessor, train), measured.stored, source_images=0.0)
    items = _items(preprocessor, validation)
    targets = np.array([preprocessor.contract.labels.index(label) for label in validation.labels[: len(items)]])
    stored, reestimated = (
        measured.run(items, statistics).logits.argmax(axis=1) == targets for statistics in (None, found.statistics)
    )
    return {
        "format": FORMAT,
        "layers": [
            {
                "name": name,
                "kept": name in kept,
                "moved": name in kept and own.get(name) != kept[name],
                "divergence": float(divergence),
                "bar": float(bar),
            }
            for name, divergence, bar in zip(measured.layers.names, apart, bars, strict=True)
        ],
        "images": len(seen.count),
        "validation": {
            "n": len(items),
            "stored": int(stored.sum()),
            "reestimated": int(reestimated.sum()),
            "gained": int((reestimated & ~stored).sum()),
            "lost": int((stored & ~reestimated).sum()),
        },
        "cure": told,
    }


def _items(preprocessor: Preprocessor, examples: Dataset) -> list[Item]:
    return preprocessor.prepare(examples.inputs[:IMAGES])


def _one_batch(layers: Layers, seen: Moments) -> NDArray[np.float64]:
    """What the moments of one batch differ by from those of all images in one of a thousand, `(layers,)`.

    The upper tail is that of a normal distribution of the logarithm: a thousandth of `DRAWS` draws is none.
    """
    blocks = in_blocks(seen, seed=SEED, blocks=max(2, min(BLOCKS, len(seen.count) // 2)))
    each = float(blocks.count[:, 0].mean())
    generator, whole = np.random.default_rng(SEED), summed(seen)
    drawn = []
    for _ in range(DRAWS):
        rows = generator.integers(0, len(blocks.count), max(1, round(BATCH / each)))
        batch = Moments(
            blocks.count[rows].sum(axis=0), blocks.total[rows].sum(axis=0), blocks.squares[rows].sum(axis=0)
        )
        drawn.append(divergences(layers, batch, whole))
    logs = np.log(np.maximum(np.array(drawn), 1e-12))
    return np.asarray(np.exp(logs.mean(axis=0) + 3.09 * logs.std(axis=0)), dtype=np.float64)

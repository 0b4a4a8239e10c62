"""Do the inputs of the network's layers have the moments that they had on the reference?

The layers are its BatchNorms; where it has none, its first and last block. Each layer's statistic is the symmetric
divergence of the window's moments from the reference's. Statistics that BatchNorms store are no yardstick: those of
frozen layers are the backbone's, and sound images differ from them too. The evidence shows both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract import documents
from headstart.findings import Finding
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import Kind, Layers, Reference, Statistics, divergences, summed
from headstart.statistics.gaussian import Moments

CHECKS: Mapping[Kind, str] = {"batchnorm": "batchnorm_drift", "blocks": "layer_drift"}
LAYERS: Mapping[Kind, str] = {"batchnorm": "BatchNorms", "blocks": "blocks"}
INPUTS: Mapping[Kind, str] = {"batchnorm": "images", "blocks": "inputs"}
LOOK: Mapping[Kind, str] = {
    "batchnorm": "Look at recent images: are they darker, softer or noisier?",
    "blocks": "Look at recent inputs: what is different about them?",
}
FEWEST = 100  # inputs: the tails of smaller samples are heavier than those fitted (simulated on mnist: tenfold at 60)
BLOCKS = 2  # of the reference: a window as small as one block has no null distribution
DRAWS = 1000
FITTED = 15  # fitted p-values of one in a million were up to 15 times too small (mnist, docs/monitoring.md)
HISTORY_DRAWS = 300
GRID = 1.25  # between the sizes of hours that do not share a null distribution
CHUNK = 100  # draws at once
SEED = 0
NO_REFERENCE = (
    "The bundle does not say what enters the network's layers: it was sealed before headstart measured that, or they "
    "give neither a vector a token nor a map."
)


def detect(reference: Reference | None, measured: LayerMoments | None, level: float) -> Finding:
    """Whether any layer's inputs moved further than samples of this size differ by chance.

    Args:
        reference: of the version; None where its bundle has none.
        measured: what the server measured of the window; None where it measured nothing.
        level: it fails at p-values at or below; of all layers together (Bonferroni).
    """
    if reference is None:
        return Finding(CHECKS["blocks"], "unsure", None, None, NO_REFERENCE, action=documents.REBUILD)
    kind, inputs = reference.layers.kind, 0 if measured is None else measured.inputs
    if measured is None or not _is_comparable(reference, measured):
        reason = (
            f"What enters the {LAYERS[kind]} was measured on {inputs} {INPUTS[kind]} of this window; "
            f"{fewest(reference)} are needed."
        )
        return Finding(CHECKS[kind], "unsure", None, level, reason, evidence={"inputs": inputs})
    window = _as_trained(reference, measured)
    apart = divergences(reference.layers, window, reference.whole)
    p_values = tail(reference, inputs, apart)
    p_value = min(1.0, float(len(p_values) * p_values.min()))
    failed = p_value <= level
    moved = p_values * len(p_values) <= level
    layers = _by_layer(reference, window, apart, moved)
    worst = int(apart.argmax()) if not failed else int(np.where(moved, apart, -1.0).argmax())
    reason = (
        f"The inputs of {int(moved.sum())} of {len(layers)} {LAYERS[kind]} have other means and variances than on the "
        f"reference; {layers[worst]['layer']} moved most, by {apart[worst]:.2g} nats, on {inputs} {INPUTS[kind]}; by "
        f"chance with p = {p_value:.2g}{'' if failed else ', which is no alarm'}."
    )
    return Finding(
        check=CHECKS[kind],
        verdict="fail" if failed else "pass",
        statistic=p_value,
        bar=level,
        reason=reason,
        action=LOOK[kind] if failed else "",
        evidence={"inputs": inputs, "layers": layers},
    )


def by_hour(reference: Reference, hours: Sequence[LayerMoments], level: float) -> list[dict[str, Any]]:
    """How far each layer's inputs were from the reference's in each hour, further than by chance, and which moved.

    {`start`, `inputs`, `beyond` [nats, one a layer], `moved` [whether, one a layer]}; hours of too few inputs are left
    out. It draws, and decides nothing: null distributions come from fewer draws than a look's, and hours of about equal
    size share one.
    """
    drawn: dict[int, NDArray[np.float64]] = {}
    found = []
    for hour in hours:
        if not _is_comparable(reference, hour):
            continue
        size = round(GRID ** math.floor(math.log(hour.inputs, GRID)))
        if size not in drawn:
            drawn[size] = _drawn(reference, size, HISTORY_DRAWS)
        apart = divergences(reference.layers, _as_trained(reference, hour), reference.whole)
        moved = _tail(reference, drawn[size], apart) * len(apart) <= level
        beyond = np.maximum(0.0, apart - drawn[size].mean(axis=0))
        found.append(
            {
                "start": hour.time.replace(minute=0, second=0, microsecond=0).isoformat(),
                "inputs": hour.inputs,
                "beyond": [float(f"{each:.3g}") for each in beyond.tolist()],
                "moved": moved.tolist(),
            }
        )
    return found


def fewest(reference: Reference) -> int:
    """Inputs below which nothing is said."""
    return max(FEWEST, round(BLOCKS * reference.inputs / len(reference.blocks.count)))


def tail(reference: Reference, inputs: int, apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often samples of so many inputs of the reference differ from it so far in each layer, `(layers,)`.

    Both the window and the reference are drawn anew from the reference's blocks. Levels of one in a million lie beyond
    any number of draws, so the tail is that of a distribution fitted to them: Pearson's type III by three moments, as
    for weighted sums of chi-squares, or F, which allows for variances that come from so few blocks; the larger p-value
    counts. Source: Zhang et al. 2005, "Approximate and asymptotic distributions of chi-squared-type mixtures",
    doi:10.1198/016214504000000575.

    Args:
        reference: with its blocks.
        inputs: of the window.
        apart: its divergence from the reference, by layer.
    """
    return _tail(reference, _drawn(reference, inputs, DRAWS), apart)


def _tail(reference: Reference, drawn: NDArray[np.float64], apart: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import f, pearson3, skew

    mean, deviation = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    skewness = np.maximum(skew(drawn, axis=0), 0.05)
    third = pearson3.sf(apart, skewness, loc=mean, scale=deviation)
    freedom = 2 * np.square(mean / deviation)
    second = f.sf(apart / mean, freedom, freedom * (len(reference.blocks.count) - 1))
    return np.asarray(np.minimum(1.0, FITTED * np.maximum(third, second)), dtype=np.float64)


def _is_comparable(reference: Reference, measured: LayerMoments) -> bool:
    return measured.inputs >= fewest(reference) and len(measured.totals) == reference.layers.channels


def _as_trained(reference: Reference, measured: LayerMoments) -> Statistics:
    live = Moments(np.full_like(measured.totals, measured.inputs), measured.totals, measured.squares)
    return reference.as_trained(live)


def _drawn(reference: Reference, inputs: int, draws: int) -> NDArray[np.float64]:
    """Divergences of resampled windows from resampled references, `(draws, layers)`."""
    generator = np.random.default_rng(SEED)
    blocks, count = reference.blocks, len(reference.blocks.count)
    even = np.full(count, 1 / count)
    size = max(1, round(inputs / reference.inputs * count))  # blocks of a window
    parts = []
    for _ in range(0, draws, CHUNK):
        one, other = (_together(blocks, generator.multinomial(each, even, CHUNK)) for each in (size, count))
        parts.append(divergences(reference.layers, one, other))
    return np.concatenate(parts)


def _together(blocks: Moments, times: NDArray[np.int64]) -> Moments:
    """Moments of blocks that are drawn so many times, `(draws, channels)` for `(draws, blocks)`."""
    weights = times.astype(np.float64)
    return Moments(weights @ blocks.count, weights @ blocks.total, weights @ blocks.squares)


def _by_layer(
    reference: Reference, window: Statistics, apart: NDArray[np.float64], moved: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """One entry a layer, in the order in which an input passes them."""
    layers: Layers = reference.layers
    now, before = (divergences(layers, each, reference.stored) for each in (window, summed(reference.blocks)))
    return [
        {
            "layer": name.removeprefix("backbone."),
            "depth": depth,
            "divergence": float(f"{now[depth]:.4g}"),
            "reference": float(f"{before[depth]:.4g}"),
            "apart": float(f"{apart[depth]:.4g}"),
            "moved": bool(moved[depth]),
        }
        for depth, name in enumerate(layers.names)
    ]

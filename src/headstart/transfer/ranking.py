"""Which backbone a model should stand on: each one's frozen features of the same examples, before anything is trained.

A linear probe is judged on the same held-out folds for all. Of those that are not significantly worse than the best,
the smallest is recommended.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbones import processor
from headstart.backbones.network import Network
from headstart.contract import files, spec
from headstart.data.dataset import Dataset
from headstart.determinism import folder_digest
from headstart.params.prepare import Limits
from headstart.params.transfer import Probe
from headstart.predictor import Preprocessor
from headstart.statistics import cluster_robust, paired
from headstart.statistics.interval import Interval
from headstart.statistics.paired import Difference
from headstart.transfer import device, features, probe
from headstart.transfer.context import LEVEL

TIMED = 64  # examples, two batches: enough for seconds to be told


@dataclass(frozen=True)
class Rank:
    """One candidate.

    Attributes:
        backbone: its name.
        probe: accuracy of a linear probe on held-out folds.
        behind: the best candidate's accuracy minus this one's, paired, at a level for all comparisons together; None
            for the best.
        parameters: of the backbone, in numbers.
        seconds: to make features of 1,000 examples here, by the first `TIMED` of them.
    """

    backbone: str
    probe: Interval
    behind: Difference | None
    parameters: int
    seconds: float

    @property
    def tied(self) -> bool:
        """Whether it is not significantly worse than the best."""
        return self.behind is None or self.behind.interval.low <= 0

    def document(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone,
            "probe": self.probe.document(),
            "behind": self.behind.interval.document() if self.behind else None,
            "tied": self.tied,
            "parameters": self.parameters,
            "seconds": self.seconds,
        }


def rank(
    folders: Mapping[str, Path],
    learn: Dataset,
    labels: tuple[str, ...],
    *,
    limits: Limits,
    params: Probe,
    cache: Path,
) -> list[Rank]:
    """The candidates, the most accurate probe first.

    Args:
        folders: stored backbones of the data's modality, by name.
        learn: labelled examples to compare them on.
        labels: of the contract.
        limits: what is cut and refused; each backbone cuts by its own tokens.
        params: of the probe.
        cache: of features.

    Raises:
        BackboneError: if a folder is no backbone, or none whose input a contract can state.
        DataError: if the examples show fewer than two classes.
    """
    targets = learn.targets(labels)
    measured = {name: _measured(folder, learn, labels, limits, cache) for name, folder in folders.items()}
    right: dict[str, NDArray[np.bool_]] = {}
    for name, (seen, _, _) in measured.items():
        _, logits = probe.choose(seen, targets, len(labels), params, groups=learn.groups)
        right[name] = logits.argmax(axis=1) == targets
    pairs = max(
        1, len(right) * (len(right) - 1) // 2
    )  # Bonferroni over all, since the best of them is picked by looking
    compared = 1 - (1 - LEVEL) / pairs
    best = max(right, key=lambda name: (int(right[name].sum()), -measured[name][1]))
    ranks = [
        Rank(
            name,
            cluster_robust.share(right[name], LEVEL, learn.groups),
            None if name == best else paired.difference(right[best], right[name], compared, learn.groups),
            parameters,
            seconds,
        )
        for name, (seen, parameters, seconds) in measured.items()
    ]
    return sorted(ranks, key=lambda one: (one.behind is not None, -one.probe.value, one.parameters))


def recommended(ranks: list[Rank]) -> Rank:
    """The smallest of those that are not significantly worse than the best."""
    return min((one for one in ranks if one.tied), key=lambda one: one.parameters)


def _measured(
    folder: Path, learn: Dataset, labels: tuple[str, ...], limits: Limits, cache: Path
) -> tuple[NDArray[np.float32], int, float]:
    """Features under the backbone's own contract, its size, and seconds for 1,000 examples."""
    form, tokenizer_json = processor.input_spec(folder, limits)
    with tempfile.TemporaryDirectory() as home:
        contract = Path(home) / "contract"
        files.write(contract, spec.Contract(learn.modality, form, labels), tokenizer_json=tokenizer_json)
        preprocessor = Preprocessor.load(contract)
    network = Network.from_backbone(folder, len(labels), dropout=0.0).to(device.settle(0))
    key, saying = folder_digest(folder), f"features by {folder.name}"
    seen = features.extract(network, preprocessor, learn, cache=cache, key=key, progress=saying)
    some = learn.select(range(min(TIMED, len(learn))))
    for _ in range(2):  # the first pass of a process is slower, and what was in the cache took no time
        started = time.perf_counter()
        features.compute(network, preprocessor, some, progress=f"{saying}, timed")
    took = 1000 * (time.perf_counter() - started) / len(some)
    count = sum(parameter.numel() for parameter in network.backbone.parameters())
    return seen, count, took

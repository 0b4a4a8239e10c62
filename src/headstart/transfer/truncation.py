"""Where a linear probe's backbone ends: at the layer with the best features, where that is significantly better.

The last layer of a pretrained network is made for what it was pretrained on. On pubmedqa_sections (300 rows) a probe on
MiniLM's last layer is right on 0.604 of test, on the third block on 0.850, at three fifths of the time for features.
What trains layers keeps all of them and bends the top to the task: on trec6 a probe gains by ending lower (0.762 to
0.822), fine-tuning loses (0.902 to 0.868).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.backbones import checkpoint, depth, store
from headstart.determinism import digest, folder_digest, versions
from headstart.statistics import paired
from headstart.statistics.cluster_robust import Groups
from headstart.statistics.interval import Interval

Right = NDArray[np.bool_]

LEVEL = 0.9  # two-sided confidence of all comparisons with the last layer together (Bonferroni)


@dataclass(frozen=True)
class Truncation:
    """The decision to end at a middle layer.

    Attributes:
        kept: blocks above the stem that stay.
        of: how many there are.
        layer: name of the last one kept.
        gained: probe accuracy there minus that on the last layer of all.
    """

    kept: int
    of: int
    layer: str
    gained: Interval

    def document(self) -> dict[str, Any]:
        return {"kept": self.kept, "of": self.of, "layer": self.layer, "gained": self.gained.document()}


def decide(by_layer: Sequence[tuple[str, Right]], groups: Groups = None) -> Truncation | None:
    """The best middle layer, if a probe on it is significantly better than on the last one; else None.

    Args:
        by_layer: name and which held-out examples a probe answers rightly, the stem first, the same examples for all.
        groups: which examples belong together.
    """
    blocks = len(by_layer) - 1
    if blocks < 2:
        return None
    last = by_layer[-1][1]
    best = max(range(1, blocks), key=lambda count: int(by_layer[count][1].sum()))
    ahead = paired.difference(by_layer[best][1], last, 1 - (1 - LEVEL) / (blocks - 1), groups)
    return Truncation(best, blocks, by_layer[best][0], ahead.interval) if ahead.interval.low > 0 else None


def possible(backbone: Path, truncation: Truncation) -> bool:
    """Whether the architecture can be ended there."""
    return depth.can_end_at(checkpoint.pretrained(backbone)[0], truncation.kept)


def truncated(backbone: Path, kept: int, cache: Path) -> Path:
    """The folder of the backbone's lowest `kept` blocks, made once below `cache`."""
    home = cache / "truncated" / digest([folder_digest(backbone), kept, versions()])[:16]
    if not home.is_dir():
        with artifacts.built(home) as folder:
            store.shortened(backbone, kept, folder)
    return home

"""What the backbone sees in the data before anything is trained: labels that don't fit, a test unlike train.

Features are those that the plan uses later, from the same cache: looking twice costs once.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.data.checks import splits, suspects
from headstart.data.dataset import Dataset
from headstart.data.examples import NAMED
from headstart.determinism import folder_digest
from headstart.findings import Finding
from headstart.params.prepare import Checks, Prepare
from headstart.params.transfer import Probe
from headstart.predictor import Preprocessor
from headstart.transfer import device, features, probe

SUSPECTS = "suspects.parquet"


def inspect(params: Prepare, *, backbone: Path, data: Path, cache: Path) -> list[Finding]:
    """The findings `label_errors` (all suspects stand in `suspects.parquet`) and `train_like_test`.

    At most `checks.featured` rows of train, and a fifth as many of test, are shown to the backbone. Of test rows the
    inputs are read, never the labels.
    """
    checks, probing = params.checks, params.probe
    place = device.settle(probing.seed)
    preprocessor = Preprocessor.load(data / "contract")
    classes = preprocessor.contract.labels
    network = Network.from_backbone(backbone, len(classes), dropout=0.0).to(place)
    key = folder_digest(backbone)

    def shown(name: str, most: int) -> tuple[Dataset, NDArray[np.float32]]:
        rows = dataset.drawn(data / f"{name}.parquet", most, seed=checks.seed)
        saying = f"features of {name}"
        return rows, features.extract(network, preprocessor, rows, cache=cache, key=key, progress=saying)

    train, seen = shown("train", checks.featured)
    test, held = shown("test", max(1, checks.featured // 5))
    return [
        label_errors(train, seen, classes, probing, checks, data / SUSPECTS),
        alike(train, seen, test, held, params),
    ]


def label_errors(
    train: Dataset, seen: NDArray[np.float32], classes: tuple[str, ...], params: Probe, checks: Checks, out: Path
) -> Finding:
    """`label_errors`: training rows that another class fits better by `checks.suspicion`, by a probe not shown them."""
    targets = train.targets(classes)
    _, logits = probe.choose(seen, targets, len(classes), params, groups=train.groups)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    found = [suspect for suspect in suspects.find(shares, targets) if suspect.other - suspect.given >= checks.suspicion]
    table = {
        "id": pa.array([train.ids[suspect.row] for suspect in found], pa.string()),
        "label": pa.array([train.labels[suspect.row] for suspect in found], pa.string()),
        "suggested": pa.array([classes[suspect.suggested] for suspect in found], pa.string()),
        "probability": pa.array([suspect.given for suspect in found], pa.float64()),
        "suggested_probability": pa.array([suspect.other for suspect in found], pa.float64()),
    }
    with dataset.writer(out, pa.table(table).schema) as append:
        append(pa.table(table))
    right = float((logits.argmax(axis=1) == targets).mean())
    first = "; ".join(
        f"{train.ids[suspect.row]} is {train.labels[suspect.row]!r}, and {classes[suspect.suggested]!r} fits better"
        for suspect in found[:3]
    )
    return Finding(
        check="label_errors",
        verdict="unsure" if found else "pass",
        statistic=float(len(found)),
        bar=None,
        reason=f"{len(found)} of {len(train)} training rows looked at have a label that does not fit (a probe on the "
        f"backbone's features, right on {right:.1%} of rows it had not seen): {first}."
        if found
        else f"No label of {len(train)} training rows looked at is plainly at odds with the input.",
        action="Look at these rows (suspects.parquet, the likeliest errors first) and mend the labels at their source."
        if found
        else "",
        evidence={"looked_at": len(train), "rows": pa.table(table)[:NAMED].to_pylist()},
    )


def alike(
    train: Dataset, seen: NDArray[np.float32], test: Dataset, held: NDArray[np.float32], params: Prepare
) -> Finding:
    """`train_like_test`: as many rows of each, told apart by a probe that is kept weak.

    It learns from half of the rows (of the groups, where there are any) and is judged on the other: answers of one
    fixed classifier are independent, those of cross-validation are not, and then a test alarms too often.
    """
    generator = np.random.default_rng(params.checks.seed)
    count = min(len(train), len(test))
    ours = np.sort(generator.permutation(len(train))[:count])
    theirs = np.sort(generator.permutation(len(test))[:count])
    which = np.repeat([0, 1], count)
    names = [*(train.groups[row] for row in ours), *(test.groups[row] for row in theirs)]
    groups = names if any(name is not None for name in names) else None
    values = np.concatenate([seen[ours], held[theirs]])
    judged = probe.folds(which, 2, seed=params.checks.seed, groups=groups) == 1
    if len(np.unique(which[judged])) < 2 or len(np.unique(which[~judged])) < 2:
        return splits.too_few(len(train), len(test))
    weak = params.probe.model_copy(update={"strengths": [min(params.probe.strengths)]})
    head = probe.fit(values[~judged], which[~judged], 2, weak, level=0.9, groups=_of(groups, ~judged))
    right = head.logits(values[judged]).argmax(axis=1) == which[judged]
    own = [name if name is not None else f"row {row}" for row, name in enumerate(names)] if groups else None
    return splits.alike(
        right, which[judged] == 1, _of(own, judged), level=params.checks.level, looked=(len(train), len(test))
    )


def _of(names: list[str] | None, rows: NDArray[np.bool_]) -> list[str] | None:
    return None if names is None else [names[row] for row in np.flatnonzero(rows)]

"""What the backbone sees in the data before anything is trained: labels that don't fit, a test unlike train.

Features are those that the plan uses later, from the same cache: looking twice costs once.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.data import raw as raw_rows
from headstart.data.checks import LEVEL, SEED, splits, suspects
from headstart.data.checks.privacy import masked
from headstart.data.dataset import Dataset
from headstart.data.examples import NAMED
from headstart.determinism import folder_digest
from headstart.findings import Finding
from headstart.params.prepare import Checks, Prepare
from headstart.params.transfer import Probe
from headstart.predictor import Preprocessor
from headstart.transfer import device, features, probe

SUSPECTS = "suspects.parquet"
EXCERPT = 200  # characters of a suspect's text, as evidence


def inspect(params: Prepare, *, backbone: Path, data: Path, raw: Path, cache: Path) -> list[Finding]:
    """The findings `label_errors` (all suspects stand in `suspects.parquet`) and `train_like_test`.

    `raw` is the folder that ingest wrote: it knows each row's place in its source.

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
        rows = dataset.sample(data / f"{name}.parquet", most, seed=SEED)
        saying = f"features of {name}"
        return rows, features.extract(network, preprocessor, rows, cache=cache, key=key, progress=saying)

    train, seen = shown("train", checks.featured)
    test, held = shown("test", max(1, checks.featured // 5))
    return [
        label_errors(train, seen, classes, probing, checks, raw=raw, out=data / SUSPECTS),
        train_like_test(train, seen, test, held, params),
    ]


def label_errors(
    train: Dataset,
    seen: NDArray[np.float32],
    classes: tuple[str, ...],
    params: Probe,
    checks: Checks,
    *,
    raw: Path,
    out: Path,
) -> Finding:
    """`label_errors`: training rows that another class fits better by `checks.suspicion`, by a probe not shown them.

    All of them are written to `out`, each with its split, its row in the source and what it holds.
    """
    targets = train.targets(classes)
    _, logits = probe.choose(seen, targets, len(classes), params, groups=train.groups)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    found = [suspect for suspect in suspects.find(shares, targets) if suspect.other - suspect.given >= checks.suspicion]
    places = [suspect.row for suspect in found]
    payload = pa.string() if train.modality == "text" else pa.binary()
    table = pa.table(
        {
            "id": pa.array([train.ids[place] for place in places], pa.string()),
            "split": pa.array(["train"] * len(found), pa.string()),
            "row": pa.array(_numbers(raw, [train.ids[place] for place in places]), pa.int64()),
            "label": pa.array([train.labels[place] for place in places], pa.string()),
            "suggested": pa.array([classes[suspect.suggested] for suspect in found], pa.string()),
            "probability": pa.array([suspect.given for suspect in found], pa.float64()),
            "suggested_probability": pa.array([suspect.other for suspect in found], pa.float64()),
            train.modality: pa.array([train.inputs[place] for place in places], payload),
        }
    )
    with dataset.writer(out, table.schema) as append:
        append(table)
    right = float((logits.argmax(axis=1) == targets).mean())
    rows = [_shown(row) for row in table[:NAMED].to_pylist()]
    return Finding(
        check="label_errors",
        verdict="unsure" if found else "pass",
        statistic=float(len(found)),
        bar=None,
        evidence={"looked_at": len(train), "right": right, "file": out.as_posix(), "rows": rows},
    )


def train_like_test(
    train: Dataset, seen: NDArray[np.float32], test: Dataset, held: NDArray[np.float32], params: Prepare
) -> Finding:
    """`train_like_test`: as many rows of each, told apart by a probe that is kept weak.

    It learns from half of the rows (of the groups, where there are any) and is judged on the other: answers of one
    fixed classifier are independent, those of cross-validation are not, and then a test alarms too often.
    """
    generator = np.random.default_rng(SEED)
    count = min(len(train), len(test))
    ours = np.sort(generator.permutation(len(train))[:count])
    theirs = np.sort(generator.permutation(len(test))[:count])
    which = np.repeat([0, 1], count)
    names = [*(train.groups[row] for row in ours), *(test.groups[row] for row in theirs)]
    groups = names if any(name is not None for name in names) else None
    values = np.concatenate([seen[ours], held[theirs]])
    judged = probe.folds(which, 2, seed=SEED, groups=groups) == 1
    if len(np.unique(which[judged])) < 2 or len(np.unique(which[~judged])) < 2:
        return splits.too_few(len(train), len(test))
    weak = params.probe.model_copy(update={"strengths": [min(params.probe.strengths)]})
    head = probe.fit(values[~judged], which[~judged], 2, weak, groups=_of(groups, ~judged))
    right = head.logits(values[judged]).argmax(axis=1) == which[judged]
    own = [name if name is not None else f"row {row}" for row, name in enumerate(names)] if groups else None
    return splits.train_like_test(
        right, which[judged] == 1, _of(own, judged), level=LEVEL, looked=(len(train), len(test))
    )


def _of(names: list[str] | None, rows: NDArray[np.bool_]) -> list[str] | None:
    return None if names is None else [names[row] for row in np.flatnonzero(rows)]


def _numbers(raw: Path, ids: list[str]) -> list[int]:
    """Each id's row in its source file, from 1."""
    if not ids:
        return []
    columns = raw_rows.columns(raw)
    chosen = columns.filter(pc.is_in(columns["id"], pa.array(ids, pa.string())))
    known = dict(zip(chosen["id"].to_pylist(), chosen["row"].to_pylist(), strict=True))
    return [known[name] for name in ids]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A suspect as evidence: plain values, a text masked and cut, an image left out."""
    shown = {name: value for name, value in row.items() if name not in ("text", "image")}
    return shown | ({"text": masked(row["text"])[:EXCERPT]} if "text" in row else {})

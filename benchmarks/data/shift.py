"""How often `train_like_test` notices that part of test comes from elsewhere: its power, and its false alarms.

    python benchmarks/data/shift.py --data ../shared/data --work /tmp/shift

Rows of one set stand for train and test; a share of test is then taken from another set. Each cell is the share of
random draws in which the check speaks up, at the level of `params.yaml`.
"""
# ruff: noqa: E402

from headstart import settings

settings.disable_telemetry()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import gzip
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbones import fetch, processor, store
from headstart.backbones.network import Network
from headstart.contract import files, spec
from headstart.data.dataset import Dataset
from headstart.determinism import folder_digest
from headstart.params.loader import load
from headstart.predictor import Preprocessor
from headstart.transfer import device, features, inspection

ROOT = Path(__file__).parents[2]
PAIRS = (("amazon_books", "amazon_electronics"), ("trec6", "banking77"))
SHARES = (0.0, 0.05, 0.1, 0.25, 0.5)
SIZES = (100, 300)  # rows of test
TRAIN, DRAWS = 600, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    params = load(ROOT / "params.yaml")
    prepare = params.models["apidocs"].prepare
    backbone = asked.work / "minilm"
    if not (backbone / "backbone.json").is_file():
        fetch.fetch("minilm", params.backbones["minilm"], asked.work / "fetched")
        store.make(asked.work / "fetched", params.backbones["minilm"], backbone)
    form, tokenizer_json = processor.input_spec(backbone, prepare.limits)
    files.write(asked.work / "contract", spec.Contract("text", form, ("a", "b")), tokenizer_json=tokenizer_json)
    preprocessor = Preprocessor.load(asked.work / "contract")
    network = Network.from_backbone(backbone, 2, dropout=0.0).to(device.settle(0))
    key = folder_digest(backbone)

    def seen(name: str) -> tuple[Dataset, NDArray[np.float32]]:
        found = sorted(set(texts(asked.data / name)))
        drawn = np.random.default_rng(0).permutation(len(found))[: TRAIN + max(SIZES)]
        rows = plain([found[row] for row in drawn])
        cache = asked.work / "cache"
        return rows, features.extract(network, preprocessor, rows, cache=cache, key=key, progress=f"features of {name}")

    print(f"{'train and test of':16} {'a share of':20} {'test':>5}" + "".join(f"{share:>7.0%}" for share in SHARES))
    for home, away in PAIRS:
        (own, ours), (_, theirs) = seen(home), seen(away)
        for size in SIZES:
            cells = [power(own, ours, theirs, size, share, prepare) for share in SHARES]
            print(f"{home:16} {away:20} {size:5}" + "".join(f"{cell:7.2f}" for cell in cells), flush=True)


def power(
    own: Dataset, ours: NDArray[np.float32], theirs: NDArray[np.float32], size: int, share: float, params: Any
) -> float:
    """Share of draws in which the check is unsure."""
    generator, loud = np.random.default_rng(1), 0
    for draw in range(DRAWS):
        order = generator.permutation(len(own))
        train, test = order[:TRAIN], order[TRAIN : TRAIN + size]
        foreign = round(share * size)
        held = np.concatenate([ours[test[foreign:]], theirs[generator.permutation(len(theirs))[:foreign]]])
        checks = params.checks.model_copy(update={"seed": draw})
        finding = inspection.train_like_test(
            own.select(train.tolist()),
            ours[train],
            own.select(test.tolist()),
            held,
            params.model_copy(update={"checks": checks}),
        )
        loud += finding.verdict == "unsure"
    return loud / DRAWS


def plain(inputs: list[str]) -> Dataset:
    none = [None] * len(inputs)
    return Dataset("text", list(map(str, range(len(inputs)))), ["a"] * len(inputs), inputs, none, none)


def texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl*")):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            yield from (row["text"] for row in map(json.loads, file) if row["text"].strip())


if __name__ == "__main__":
    main()

"""Train every strategy on every case, and keep what each says of validation and test; `table.py` does the rest.

    python benchmarks/transfer/cases.py --data ../shared/data --work /tmp/transfer
    python benchmarks/transfer/table.py --work /tmp/transfer

A case is a data set and a draw of at most `--rows` training rows, or of `--per-class` rows of each class. It is planned
as the stage `plan` does, without a look at test, and every possible strategy but `scratch` is trained as the stage
`train` does. Logits are kept, so that other ways to choose among strategies are compared in seconds. Killed, it goes on
with the next strategy.
"""
# ruff: noqa: E402

from headstart import settings

settings.disable_telemetry()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sets import FEW_LABELS, IMAGES, REPORTED, TUNED_ON, Prepared, prepared

from headstart import artifacts
from headstart.data import dataset
from headstart.transfer import features, planner, training
from headstart.transfer.strategies import STRATEGIES


def case(name: str, rows: int, seed: int, per_class: int | None, *, data: Path, work: Path, lora: bool) -> None:
    """Plan one case and train what is missing of it into `results/<case>/` below `work`."""
    found = prepared(name, rows, seed, data=data, work=work, per_class=per_class)
    out = work / "results" / found.data.name
    plan_params, params = (_seeded(section, seed) for section in (found.model.plan, found.model.train))
    places: dict[str, Any] = {"backbone": found.backbone, "data": found.data, "cache": work / "cache"}
    if not (out / "plan.json").is_file():
        plan, _ = planner.plan(plan_params, **places)
        artifacts.write_json(out / "plan.json", {"set": name, "few": per_class, "seed": seed, "plan": plan})
    plan = artifacts.read_json(out / "plan.json")["plan"]
    context, splits = training.prepared(params, plan=plan, **places)
    for strategy, one in STRATEGIES.items():
        skipped = strategy == "scratch" or (strategy == "lora" and not lora)
        if not skipped and not (out / f"{strategy}.npz").is_file() and one.obstacle(context) is None:
            _train(strategy, context, splits, found, out=out, partial=work / "partial" / found.data.name)


def _train(strategy: Any, context: Any, splits: Any, found: Prepared, *, out: Path, partial: Path) -> None:
    """Train a strategy, and write its logits, the targets and the processor seconds of training."""
    started = time.process_time()
    (candidate,) = training.each([strategy], context, splits, partial=partial, growth=float("inf"))
    seconds = time.process_time() - started
    test = dataset.read(found.data / "test.parquet")
    network, (_, validation, _, own) = candidate.network(), splits[strategy]
    values = {
        "validation": features.logits(network, own.preprocessor, validation.examples, progress="validation"),
        "test": features.logits(network, own.preprocessor, test, progress="test"),
        "validation_targets": validation.targets,
        "test_targets": test.targets(own.preprocessor.contract.labels),
    }
    with artifacts.replaced(out / f"{strategy}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, seconds=np.float64(seconds), **values)
    shutil.rmtree(partial, ignore_errors=True)


def _seeded(section: Any, seed: int) -> Any:
    return section.model_copy(update={"fine_tune": section.fine_tune.model_copy(update={"seed": seed})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--per-class", type=int, nargs="*", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sets", nargs="+", default=[*TUNED_ON, *IMAGES, *REPORTED])
    parser.add_argument("--lora", action="store_true", help="train it too, though it is never shortlisted here")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in asked.seeds:
        for name in asked.sets:
            for per_class in [None, *(asked.per_class if name in FEW_LABELS else ())]:
                case(name, asked.rows, seed, per_class, data=asked.data, work=asked.work, lora=asked.lora)
                print(f"{name} seed {seed}{f', {per_class} a class' if per_class else ''}: done", flush=True)


if __name__ == "__main__":
    main()

"""The founding claim: n labels and transfer against ten times as many from scratch, and where it stops holding.

    python benchmarks/transfer/efficiency.py --data ../shared/data --work /tmp/transfer

Transfer is fine-tuning, or the probe where that is better on validation. From scratch is the same architecture from
random weights, for `scratch.epochs`, its best epoch by validation. Killed, it goes on with the next pair; results are
in `efficiency/` below `--work`.
"""
# ruff: noqa: E402

from headstart import settings

settings.disable_telemetry()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from sets import prepared

from headstart import artifacts
from headstart.transfer.context import Validation
from headstart.transfer.strategies import STRATEGIES

SETS = ("trec6", "banking77", "subj", "mnist", "pneumonia_mnist")
TENFOLD = 10


def trained(name: str, strategy: Any, rows: int, seed: int, *, data: Path, work: Path) -> dict[str, Any]:
    """One strategy on `rows` labels: accuracy on test, and seconds of training; for transfer, of features too."""
    found = prepared(name, rows, seed, data=data, work=work)
    home = work / "efficiency" / f"{name}-{rows}-{seed}-{strategy}"
    started = time.perf_counter()
    context = found.context(seed, home)
    learn, validation, head = found.splits(context)
    started = time.perf_counter() if strategy == "scratch" else started  # which uses no features
    judged = Validation(context.shown(validation, augmented=False), home / "checkpoints")
    network, _ = STRATEGIES[strategy].train(context, learn, head, validation=judged, progress=strategy)
    if strategy != "scratch":
        probe, _ = STRATEGIES["linear_probe"].train(context, learn, head, validation=None, progress="probe")
        network = max(probe.eval(), network, key=lambda one: found.accuracy(one, context, "validation")[0])
    took = time.perf_counter() - started
    accuracy, count = found.accuracy(network, context)
    return {"rows": len(learn), "test": accuracy, "n": count, "s": took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--sets", nargs="+", default=SETS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| set, seed | n | transfer, n | scratch, 10 n | transfer s | scratch s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in asked.sets:
        for rows in asked.rows:
            for seed in asked.seeds:
                path = asked.work / "efficiency" / f"{name}-{rows}-{seed}.json"
                if not path.is_file():
                    pair = {
                        strategy: trained(name, strategy, count, seed, data=asked.data, work=asked.work)
                        for strategy, count in (("fine_tune", rows), ("scratch", TENFOLD * rows))
                    }
                    artifacts.write_json(path, pair)
                own, other = json.loads(path.read_text())["fine_tune"], json.loads(path.read_text())["scratch"]
                labels = f"| {name}, {seed} | {own['rows']} | {own['test']:.3f} | {other['test']:.3f}"
                print(f"{labels} ({other['rows']} rows) | {own['s']:.0f} | {other['s']:.0f} |", flush=True)


if __name__ == "__main__":
    main()

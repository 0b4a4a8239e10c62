"""The founding claim: n labels and transfer against ten times as many from scratch, and where it stops holding.

    python benchmarks/transfer/efficiency.py --data ../shared/data --work /tmp/transfer

Transfer is what the stage `train` hands on without a plan: fine-tuning, or the probe where validation is no better for
it. From scratch is the same architecture from random weights, for `scratch.epochs`, its best epoch by validation.
Killed, it goes on with the next pair; results lie in `efficiency/` below `--work`.
"""
# ruff: noqa: E402

from headstart import settings

settings.hush()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from cases import split
from sets import prepared

from headstart import artifacts
from headstart.transfer import control, device, strategies
from headstart.transfer.evidence import ground
from headstart.transfer.finetune.loop import Watch
from headstart.transfer.setting import Setting

SETS = ("trec6", "banking77", "subj", "mnist", "pneumonia_mnist")
TENFOLD = 10


def trained(name: str, way: Any, rows: int, seed: int, *, data: Path, work: Path) -> dict[str, Any]:
    """One strategy on `rows` labels: accuracy on test, and seconds of training; for transfer, of features too."""
    found = prepared(name, rows, seed, data=data, work=work)
    place = device.settle(seed)
    plan, cache = found.model.plan, work / "efficiency" / f"{name}-{rows}-{seed}-{way}"
    started = time.perf_counter()
    setting = Setting.of(plan, backbone=found.backbone, data=found.data, cache=cache, level=0.9, place=place)
    setting = setting.with_fine_tune(seed=seed)
    base, _ = ground(plan, setting, found.data)
    started = time.perf_counter() if way == "scratch" else started  # which looks at no feature
    watch = Watch(setting.shown(base.validation, augmented=False), work / "partial" / f"{name}-{rows}-{seed}-{way}-own")
    network, _ = strategies.train(way, setting, base.learn, base.head, watch=watch, progress=way)
    if way != "scratch":
        plain = strategies.linear_probe.start(setting, base.head).eval()
        right = [float(np.mean(_right(each, setting, base.validation))) for each in (plain, network)]
        network = plain if right[0] >= right[1] else network
    took = time.perf_counter() - started
    test = split(found, setting, "test")
    return {"rows": len(base.learn), "test": float(np.mean(_right(network, setting, test))), "n": len(test), "s": took}


def _right(network: Any, setting: Setting, judged: Any) -> Any:
    return control.answers(network, setting, judged) == judged.targets


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
                        way: trained(name, way, count, seed, data=asked.data, work=asked.work)
                        for way, count in (("fine_tune", rows), ("scratch", TENFOLD * rows))
                    }
                    artifacts.write_json(path, pair)
                own, other = json.loads(path.read_text())["fine_tune"], json.loads(path.read_text())["scratch"]
                labels = f"| {name}, {seed} | {own['rows']} | {own['test']:.3f} | {other['test']:.3f}"
                print(f"{labels} ({other['rows']} rows) | {own['s']:.0f} | {other['s']:.0f} |", flush=True)


if __name__ == "__main__":
    main()

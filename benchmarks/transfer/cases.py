"""Every strategy on every set, and what the planner would have done: one JSON file a case, kept by its name.

    python benchmarks/transfer/cases.py --data ../shared/data --work /tmp/transfer
    python benchmarks/transfer/table.py --work /tmp/transfer

Killed, it goes on with the next case. Each case trains every strategy on at most `--rows` rows (best epoch by
validation) and judges it on test. The plan is made as the stage `plan` makes it, without looking at test, and what the
stage `train` hands on by it (the ladder against forgetting climbed, the probe where training is no better) is judged.
"""
# ruff: noqa: E402

from headstart import settings

settings.hush()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sets import IMAGES, REPORTED, TUNED_ON, Prepared, prepared

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.transfer import control, device, planner, retention, shortening, strategies, training
from headstart.transfer.evidence import Ground, ground
from headstart.transfer.finetune.loop import Watch
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import linear_probe

PLANNED = ("strategy", "runner_up", "reason", "predicted", "race", "work", "adapted", "barred")
REMEMBERED = 300  # examples of the backbone's own domain that retention is measured on


def case(name: str, rows: int, seed: int, *, data: Path, work: Path, scratch: bool) -> dict[str, Any]:
    """One set, one draw of training rows: the plan, and each strategy's accuracy on validation and test."""
    found = prepared(name, rows, seed, data=data, work=work)
    params = found.model.plan.model_copy(
        update={
            "fine_tune": found.model.plan.fine_tune.model_copy(update={"seed": seed}),
            "few_labels": found.model.plan.few_labels.model_copy(
                update={"epochs": 1, "scratch_epochs": 1, "per_class": 2, "repeats": 1}
            ),
            "choice": found.model.plan.choice.model_copy(update={"budget": 10**12}),
        }
    )
    cache = work / "cache"
    started = time.perf_counter()
    plan, parts = planner.plan(params, backbone=found.backbone, data=found.data, cache=cache)
    took = time.perf_counter() - started - sum(value for key, value in parts.items() if key.startswith("few_labels"))
    place = device.settle(seed)
    setting = Setting.of(params, backbone=found.backbone, data=found.data, cache=cache, level=0.9, place=place)
    base, _ = ground(params, setting, found.data)
    test, before, reached = split(found, setting, "test"), _before(setting, base), {}
    for way in strategies.WAYS:
        if strategies.WAYS[way].obstacle(setting) is None and (scratch or way != "scratch"):
            reached[way] = _trained(way, setting, base, test, before, work / "partial" / f"{name}-{rows}-{seed}-{way}")
    whole = reached["linear_probe"]
    if plan["layers"]:  # the probe alone ends there
        backbone = shortening.shortened(found.backbone, plan["layers"]["kept"], cache)
        short = dataclasses.replace(setting, backbone=backbone)
        own, _ = ground(params, short, found.data)
        partial = work / "partial" / f"{name}-{rows}-{seed}-short"
        reached["linear_probe"] = _trained("linear_probe", short, own, test, _before(short, own), partial)
    return {
        "set": name,
        "rows": len(base.learn),
        "seed": seed,
        "handed": _handed(found, plan, seed, setting, test, work),
        "plan": {key: plan[key] for key in PLANNED},
        "probe": plan["evidence"]["probe"],
        "kept": plan["layers"],
        "layers": plan["evidence"]["layers"],
        "plan_seconds": took,
        "reached": reached,
        "probe_on_all_layers": whole,
    }


def split(found: Prepared, setting: Setting, name: str) -> Split:
    """A split without features: to be judged only."""
    rows = dataset.read(found.data / f"{name}.parquet")
    targets = rows.targets(setting.preprocessor.contract.labels)
    return Split(rows, targets, np.zeros((len(rows), 1), dtype=np.float32))


def _before(setting: Setting, base: Ground) -> retention.Before:
    """What the backbone knows before any strategy is tried."""
    return retention.remember(linear_probe.start(setting, base.head), setting, base.validation.examples, REMEMBERED)


def _handed(
    found: Prepared, plan: Mapping[str, Any], seed: int, setting: Setting, test: Split, work: Path
) -> dict[str, Any]:
    """What the stage `train` hands on by the plan; strategies trained here before are not trained again."""
    own, strategy = found.model.train, plan["strategy"]
    params = own.model_copy(update={"fine_tune": own.fine_tune.model_copy(update={"seed": seed})})
    partial = work / "partial" / f"{found.data.name}-{strategy}"
    with tempfile.TemporaryDirectory() as folder:
        places = {"backbone": found.backbone, "data": found.data, "cache": work / "cache"}
        training.train(params, plan=plan, **places, out=Path(folder), partial=partial)
        history, network = artifacts.read_json(Path(folder) / "history.json"), Network.load(Path(folder) / "model")
    right = control.answers(network.to(setting.place), setting, test) == test.targets
    told = {key: history[key] for key in ("strategy_used", "reason", "retention")}
    return {"test": float(right.mean()), "n": len(right), **told}


def _trained(
    way: Any, setting: Setting, base: Ground, test: Split, before: retention.Before, partial: Path
) -> dict[str, Any]:
    watch = Watch(setting.shown(base.validation, augmented=False), partial)
    started = time.perf_counter()
    network, course = strategies.train(way, setting, base.learn, base.head, watch=watch, progress=way)
    took = time.perf_counter() - started
    kept = retention.measure(network, setting, before, 0.9)
    right = control.answers(network, setting, test) == test.targets
    validation = control.answers(network, setting, base.validation) == base.validation.targets
    return {
        "test": float(right.mean()),
        "n": len(right),
        "validation": float(validation.mean()),
        "seconds": took,
        "retention": kept.document(),
        "notes": course.notes if course else [],
        "attempts": len(course.attempts) if course else 0,
    }


def flat(name: str, rows: int, seed: int, rates: Sequence[float], *, data: Path, work: Path) -> dict[str, Any]:
    """Full fine-tuning the usual way, from a head of zeros, every layer at one rate: what forgets.

    But for BatchNorm statistics, which stay here too: the figure is of head and rates alone.
    """
    found = prepared(name, rows, seed, data=data, work=work)
    place = device.settle(seed)
    plan, cache = found.model.plan, work / "cache"
    setting = Setting.of(plan, backbone=found.backbone, data=found.data, cache=cache, level=0.9, place=place)
    base, _ = ground(plan, setting, found.data)
    test, before, result = split(found, setting, "test"), _before(setting, base), {}
    zero = dataclasses.replace(base.head, weight=np.zeros_like(base.head.weight), bias=np.zeros_like(base.head.bias))
    for rate in rates:
        own = setting.with_fine_tune(learning_rate=rate, head_learning_rate=rate, layer_decay=1.0, seed=seed)
        partial = work / "partial" / f"{name}-{rows}-{seed}-flat-{rate:g}"
        result[f"{rate:g}"] = _trained("fine_tune", own, dataclasses.replace(base, head=zero), test, before, partial)
    return {"set": name, "rows": len(base.learn), "seed": seed, "flat": result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--sets", nargs="+", default=[*REPORTED, *TUNED_ON, *IMAGES])
    parser.add_argument("--flat", action="store_true", help="also fine-tune flatly, for the figures on forgetting")
    parser.add_argument("--no-scratch", action="store_true", help="leave the control out: it takes longest")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in asked.seeds:
        for name in asked.sets:
            path = asked.work / "results" / f"{name}-{asked.rows}-{seed}.json"
            if not path.is_file():
                found = case(name, asked.rows, seed, data=asked.data, work=asked.work, scratch=not asked.no_scratch)
                artifacts.write_json(path, found)
            path = asked.work / "results" / f"flat-{name}-{asked.rows}-{seed}.json"
            if asked.flat and not path.is_file():
                rates = (2e-4, 1e-4) if name not in IMAGES else (2e-3, 1e-3, 5e-4, 2.5e-4)
                artifacts.write_json(path, flat(name, asked.rows, seed, rates, data=asked.data, work=asked.work))
            print(f"{name} seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()

"""Fine-tuning and probing here against what a user would take instead: a stock `Trainer`, same model, data and steps.

    python benchmarks/transfer/speed.py --data ../shared/data --work /tmp/transfer

Text of natural lengths (banking77). Stock: `Trainer` with its defaults (fp32, random batches padded to the longest),
batch 16, one epoch, one rate for all layers. Ours: `loop.run` with the same batch size, steps and rates. The probe:
features once and a logistic regression, against a head trained through `Trainer` on a frozen backbone for 10 epochs
(one epoch timed, times 10). Frozen layers: three epochs of the upper half, with and without the lower half's outputs
kept.
"""
# ruff: noqa: E402

from headstart import settings

settings.hush()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cases import split
from headstart.transfer.finetune.course import Course
from sets import prepared
from transformers import Trainer, TrainingArguments

from headstart.backbones.silence import quiet
from headstart.data import dataset
from headstart.transfer import control, device, probe
from headstart.transfer.evidence import ground
from headstart.transfer.finetune import frozen, loop
from headstart.transfer.finetune.objective import Objective
from headstart.transfer.setting import Setting
from headstart.transfer.strategies import linear_probe


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def stock(setting: Setting, found: Any, *, frozen: bool, rate: float) -> tuple[float, Any]:
    """One epoch of a plain `Trainer`; seconds and the network."""
    network = linear_probe.start(setting, found.head)
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(not frozen)
    examples = setting.shown(found.learn, augmented=False)
    arguments = TrainingArguments(
        output_dir="/tmp/stock", num_train_epochs=1, per_device_train_batch_size=setting.fine_tune.batch_size,
        learning_rate=rate, save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        label_names=["labels"], use_cpu=not torch.cuda.is_available(), log_level="error", seed=setting.fine_tune.seed,
        dataloader_pin_memory=False,
    )  # fmt: skip
    with quiet():
        trainer = Trainer(
            model=Objective(network, found.learn.targets, setting.fine_tune),
            args=arguments,
            train_dataset=examples,
            data_collator=dict,
        )
        seconds, _ = timed(trainer.train)
    return seconds, network.eval()


def ours(setting: Setting, found: Any) -> tuple[float, Any]:
    network = linear_probe.start(setting, found.head)
    examples = setting.shown(found.learn, augmented=False)

    def learn() -> Course:
        return loop.run(network, examples, setting.fine_tune, watch=None, progress="ours")

    return timed(learn)[0], network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7, help="of both: one draw of batches differs by 2 points")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    case = prepared("banking77", asked.rows, 1, data=asked.data, work=asked.work)
    place = device.settle(1)
    cache = asked.work / "speed-cache"
    shutil.rmtree(cache, ignore_errors=True)  # features of an earlier run would make this one's probe look fast
    plan = case.model.plan
    setting = Setting.of(plan, backbone=case.backbone, data=case.data, cache=cache, level=0.9, place=place)
    setting = setting.with_fine_tune(epochs=1, seed=asked.seed)
    train = dataset.read(case.data / "train.parquet")
    embedding, learn = timed(lambda: setting.split(train, progress="features of train"))
    fitting, head = timed(lambda: probe.fit(learn.features, learn.targets, setting.classes, plan.probe, level=0.9))
    found, _ = ground(plan, setting, case.data)
    rows = len(found.learn)

    judges = split(case, setting, "test")

    def accuracy(network: Any) -> float:
        return float(np.mean(control.answers(network, setting, judges) == judges.targets))

    plain, network = stock(setting, found, frozen=False, rate=2e-4)
    print(f"fine-tuning, stock Trainer: {rows / plain:.1f} texts/s, test {accuracy(network):.3f}", flush=True)
    alike = {"learning_rate": 2e-4, "head_learning_rate": 2e-4, "layer_decay": 1.0, "warmup": 0.0, "weight_decay": 0.0}
    for precision in ("auto", "float32"):
        seconds, network = ours(setting.with_fine_tune(precision=precision, **alike), found)
        told = f"{rows / seconds:.1f} texts/s, ratio {plain / seconds:.2f}, test {accuracy(network):.3f}"
        print(f"fine-tuning, ours, {device.precision(precision)}: {told}", flush=True)
    half = setting.with_fine_tune(frozen_layers=4, epochs=3)  # of MiniLM's embeddings and six blocks
    short, network = ours(half, found)
    print(f"upper half, lower half kept: {3 * rows / short:.1f} texts/s, test {accuracy(network):.3f}", flush=True)
    with patch.object(frozen, "keep", lambda *_: None):
        long, network = ours(half, found)
    told = f"{3 * rows / long:.1f} texts/s, ratio {long / short:.2f}, test {accuracy(network):.3f}"
    print(f"upper half, lower half run each time: {told}", flush=True)
    ten, _ = stock(setting, found, frozen=True, rate=1e-3)
    print(f"head on frozen backbone, stock Trainer: {10 * ten:.0f} s for 10 epochs (one timed)")
    seen = setting.split(judges.examples, progress="features of test").features
    right = head.logits(seen).argmax(axis=1) == judges.targets
    print(
        f"probe, ours: {embedding:.1f} s for features, {fitting:.1f} s for strength by cross-validation and head, "
        f"ratio {10 * ten / (embedding + fitting):.1f}, test {right.mean():.3f}"
    )


if __name__ == "__main__":
    main()

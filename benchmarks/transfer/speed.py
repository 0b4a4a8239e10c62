"""Fine-tuning and probing here against what a user would take instead: a stock `Trainer`, same model, data and steps.

    python benchmarks/transfer/speed.py --data ../shared/data --work /tmp/transfer

Text of natural lengths (banking77). Stock: `Trainer` with its defaults (fp32, random batches padded to the longest),
batch 16, one epoch, one rate for all layers. Ours: `loop.run` with the same batch size, steps and rates. The probe:
features once and a logistic regression, against a head trained through `Trainer` on a frozen backbone for 10 epochs
(one epoch timed, times 10).
"""
# ruff: noqa: E402

from headstart import settings

settings.disable_telemetry()  # before numpy and torch are loaded, which read it: threads that wait, and how many

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
from sets import prepared
from transformers import Trainer, TrainingArguments

from headstart.backbones.network import Network
from headstart.backbones.quiet_logging import quiet
from headstart.transfer import device, probe
from headstart.transfer.context import Split, TrainingContext
from headstart.transfer.finetune import loop, rates
from headstart.transfer.finetune.objective import Objective
from headstart.transfer.probe import Head
from headstart.transfer.strategies import linear_probe

RATE = 2e-4


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def stock(context: TrainingContext, learn: Split, head: Head, *, frozen: bool, rate: float) -> tuple[float, Network]:
    """One epoch of a plain `Trainer`: seconds and the network."""
    network = linear_probe.start(context, head)
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(not frozen)
    arguments = TrainingArguments(
        output_dir="/tmp/stock", num_train_epochs=1, per_device_train_batch_size=context.fine_tune.batch_size,
        learning_rate=rate, save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        label_names=["labels"], use_cpu=not torch.cuda.is_available(), log_level="error", seed=context.fine_tune.seed,
        dataloader_pin_memory=False,
    )  # fmt: skip
    with quiet():
        trainer = Trainer(
            model=Objective(network, learn.targets, balanced=False),
            args=arguments,
            train_dataset=context.shown(learn, augmented=False),
            data_collator=dict,
        )
        seconds, _ = timed(trainer.train)
    return seconds, network.eval()


def ours(context: TrainingContext, learn: Split, head: Head) -> tuple[float, Network]:
    network, examples = linear_probe.start(context, head), context.shown(learn, augmented=False)
    with patch.object(rates, "WARMUP", 0.0), patch.object(rates, "WEIGHT_DECAY", 0.0):  # as the stock one has none
        seconds, _ = timed(lambda: loop.run(network, examples, context.fine_tune, validation=None, progress="ours"))
    return seconds, network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7, help="of both: one draw of batches differs by 2 points")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    case = prepared("banking77", asked.rows, 1, data=asked.data, work=asked.work)
    cache = asked.work / "speed-cache"
    shutil.rmtree(cache, ignore_errors=True)  # features of an earlier run would make this one's probe look fast
    same = {"learning_rate": RATE, "head_learning_rate": RATE, "layer_decay": 1.0, "epochs": 1, "least_steps": 1}
    context = case.context(asked.seed, cache, **same)
    embedding, learn = timed(lambda: context.read(case.data, "train"))
    fitting, head = timed(lambda: probe.fit(learn.features, learn.targets, context.classes, context.probe))
    rows = len(learn)

    plain, network = stock(context, learn, head, frozen=False, rate=RATE)
    print(f"fine-tuning, stock Trainer: {rows / plain:.1f} texts/s, test {case.accuracy(network, context)[0]:.3f}")
    for precision in ("auto", "float32"):
        seconds, network = ours(context.with_fine_tune(precision=precision), learn, head)
        told = f"{rows / seconds:.1f} texts/s, ratio {plain / seconds:.2f}"
        accuracy = case.accuracy(network, context)[0]
        print(f"fine-tuning, ours, {device.precision(precision)}: {told}, test {accuracy:.3f}", flush=True)
    ten, _ = stock(context, learn, head, frozen=True, rate=1e-3)
    print(f"head on frozen backbone, stock Trainer: {10 * ten:.0f} s for 10 epochs (one timed)")
    test = context.read(case.data, "test")
    accuracy = np.mean(head.logits(test.features).argmax(axis=1) == test.targets)
    print(
        f"probe, ours: {embedding:.1f} s for features, {fitting:.1f} s for strength by cross-validation and head, "
        f"ratio {10 * ten / (embedding + fitting):.1f}, test {accuracy:.3f}"
    )


if __name__ == "__main__":
    main()

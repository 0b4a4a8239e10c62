"""The classic incident: every layer at a head's learning rate, with the guard and without it.

python benchmarks/transfer/incident.py --data ../shared/data --work /tmp/transfer
"""
# ruff: noqa: E402

from headstart import settings

settings.hush()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import warnings
from pathlib import Path

from cases import split
from sets import prepared

from headstart.transfer import control, device, strategies
from headstart.transfer.evidence import ground
from headstart.transfer.finetune.loop import Watch
from headstart.transfer.setting import Setting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", default="trec6")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = prepared(asked.set, asked.rows, asked.seed, data=asked.data, work=asked.work)
    place, plan = device.settle(asked.seed), found.model.plan
    usual = Setting.of(
        plan, backbone=found.backbone, data=found.data, cache=asked.work / "cache", level=0.9, place=place
    )
    base, _ = ground(plan, usual, found.data)
    rate = plan.fine_tune.head_learning_rate
    setting = usual.with_fine_tune(learning_rate=rate, layer_decay=1.0, seed=asked.seed, patience=plan.fine_tune.epochs)
    blind = plan.fine_tune.guard.model_copy(update={"drop": 1.0})  # accuracy never lies that far below the start's
    print("| run | validation after each epoch | test | what was said |\n| --- | --- | --- | --- |")
    for name, own in (
        ("usual rates", usual.with_fine_tune(seed=asked.seed)),
        (f"every layer at {rate:g}, unguarded", setting.with_fine_tune(guard=blind)),
        (f"every layer at {rate:g}, guarded", setting),
    ):
        partial = asked.work / "partial" / f"incident-{asked.set}-{asked.rows}-{asked.seed}-{name}"
        watch = Watch(own.shown(base.validation, augmented=False), partial)
        network, course = strategies.train("fine_tune", own, base.learn, base.head, watch=watch, progress=name)
        judged = split(found, own, "test")
        test = float((control.answers(network, own, judged) == judged.targets).mean())
        assert course is not None  # fine-tuning leaves one
        epochs = ", ".join(f"{epoch['validation/accuracy']:.3f}" for epoch in course.epochs)
        said = " ".join([*(f"step {one.step}: {one.reason}" for one in course.attempts), *course.notes])
        print(f"| {name} | {epochs} | {test:.3f} of {len(judged.targets)} | {said} |", flush=True)


if __name__ == "__main__":
    main()

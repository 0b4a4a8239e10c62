"""The classic incident: every layer at a head's learning rate, with the guard and without it.

python benchmarks/transfer/incident.py --data ../shared/data --work /tmp/transfer
"""
# ruff: noqa: E402

from headstart import settings

settings.disable_telemetry()  # before numpy and torch are loaded, which read it: threads that wait, and how many

import argparse
import warnings
from pathlib import Path
from unittest.mock import patch

from sets import prepared

from headstart.report import training
from headstart.transfer.context import Validation
from headstart.transfer.finetune import guard
from headstart.transfer.strategies import STRATEGIES


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
    own = found.model.train.fine_tune
    rate = own.head_learning_rate
    wild = {"learning_rate": rate, "layer_decay": 1.0, "patience": own.epochs}
    print("| run | validation after each epoch | test | notes |\n| --- | --- | --- | --- |")
    for name, changes, drop in (
        ("usual rates", {}, guard.DROP),
        (f"every layer at {rate:g}, unguarded", wild, 1.0),  # accuracy is never that far below the start's
        (f"every layer at {rate:g}, guarded", wild, guard.DROP),
    ):
        context = found.context(asked.seed, asked.work / "cache", **changes)
        learn, validation, head = found.splits(context)
        partial = asked.work / "partial" / f"incident-{asked.set}-{asked.rows}-{asked.seed}-{name}"
        judged = Validation(context.shown(validation, augmented=False), partial)
        with patch.object(guard, "DROP", drop):
            network, history = STRATEGIES["fine_tune"].train(context, learn, head, validation=judged, progress=name)
        assert history is not None
        accuracy, count = found.accuracy(network, context)
        epochs = ", ".join(f"{epoch['validation/accuracy']:.3f}" for epoch in history.epochs)
        notes = " ".join([f"step {one.step}: {training.note(one.reason)}" for one in history.attempts])
        notes += " ".join(map(training.note, history.notes))
        print(f"| {name} | {epochs} | {accuracy:.3f} of {count} | {notes} |", flush=True)


if __name__ == "__main__":
    main()

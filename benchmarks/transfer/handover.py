"""Whether a trained network is better than its probe, told from 75 examples: by each of three rules.

    python benchmarks/transfer/cases.py --work /tmp/transfer --rows 300 --no-scratch --sets trec6 subj sci_cite
    python benchmarks/transfer/handover.py --work /tmp/transfer

Of each case that `cases.py` trained, the probe, low-rank updates and fine-tuning answer test; the truth is whether
another is right more often than the probe on all of it. Then 75 test examples are drawn anew, as often as asked, and
each rule names the better one by those alone. Run it on sets that are tuned on: a rule chosen here is reported on
others. Validation chooses the network's epoch too, which these examples did not: there every rule flatters it.
"""
# ruff: noqa: E402

from headstart import settings

settings.hush()  # before numpy and torch are loaded

import argparse
import itertools
import warnings
from pathlib import Path

import numpy as np
from cases import split
from numpy.typing import NDArray
from sets import TUNED_ON, prepared

from headstart.params.section import Strategy
from headstart.transfer import control, device, strategies
from headstart.transfer.evidence import ground
from headstart.transfer.finetune.loop import Watch
from headstart.transfer.handover import Score
from headstart.transfer.setting import Setting

WAYS: tuple[Strategy, ...] = ("linear_probe", "lora", "fine_tune")
JUDGED = 75
RULES = {
    "right answers, then loss": lambda a, b: (a.accuracy, -a.loss) > (b.accuracy, -b.loss),
    "loss": lambda a, b: a.loss < b.loss,
    "as handed on": lambda a, b: a.beats(b),
}


def answers(
    name: str, rows: int, seed: int, *, data: Path, work: Path
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Logits of each strategy on test, and the test's targets; what `cases.py` trained is not trained again."""
    found = prepared(name, rows, seed, data=data, work=work)
    plan = found.model.plan
    params = plan.model_copy(update={"fine_tune": plan.fine_tune.model_copy(update={"seed": seed})})
    place, cache = device.settle(seed), work / "cache"
    setting = Setting.of(params, backbone=found.backbone, data=found.data, cache=cache, level=0.9, place=place)
    base, _ = ground(params, setting, found.data)
    test, made = split(found, setting, "test"), {}
    for way in WAYS:
        watch = Watch(setting.shown(base.validation, augmented=False), work / "partial" / f"{name}-{rows}-{seed}-{way}")
        network, _ = strategies.train(way, setting, base.learn, base.head, watch=watch, progress=way)
        made[way] = control.logits(network, setting, test)
    return made, test.targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--sets", nargs="+", default=list(TUNED_ON))
    parser.add_argument("--draws", type=int, default=300)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    generator, told = np.random.default_rng(0), []
    print(f"| set, seed | held to the probe | points ahead | {' | '.join(RULES)} |\n|---|---|---|{'---|' * len(RULES)}")
    for name, seed in itertools.product(asked.sets, asked.seeds):
        logits, targets = answers(name, asked.rows, seed, data=asked.data, work=asked.work)
        for way in WAYS[1:]:
            one, other = way, WAYS[0]
            apart = float(np.mean(logits[one].argmax(1) == targets) - np.mean(logits[other].argmax(1) == targets))
            if apart == 0:
                continue
            named = np.zeros(len(RULES))
            for _ in range(asked.draws):
                rows = generator.choice(len(targets), JUDGED, replace=False)
                scores = [Score.of(logits[of][rows], targets[rows]) for of in (one, other)]
                named += [rule(*scores) is (apart > 0) for rule in RULES.values()]
            told.append(named / asked.draws)
            print(f"| {name} {seed} | {way} | {100 * apart:.1f} | {' | '.join(f'{s:.2f}' for s in told[-1])} |")
    print(f"| mean of {len(told)} | | | {' | '.join(f'{share:.3f}' for share in np.mean(told, axis=0))} |")


if __name__ == "__main__":
    main()

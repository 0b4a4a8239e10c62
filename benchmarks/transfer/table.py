"""The benchmark's tables, from what `cases.py` left: accuracy and regret of ways to choose a strategy, and their cost.

Regret is the best strategy's accuracy on test less that of the chosen one. `ours` is what the stages `plan` and `train`
do: train the shortlist, keep the best on validation (`transfer.selection`). Rules below the table choose from the same
shortlist otherwise. What was chosen by looking was chosen on the sets marked *.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sets import TUNED_ON

from headstart.statistics import bootstrap
from headstart.transfer import selection
from headstart.transfer.selection import Score

COLUMNS = ("linear_probe", "fine_tune", "adapt_then_fine_tune", "lora")


@dataclass(frozen=True)
class Case:
    """One case, every strategy of it trained.

    Attributes:
        name: of its data set.
        few: labels a class, where that was what was drawn.
        seed: of the draw.
        shortlist: strategies that training tries, cheapest first.
        scores: of every strategy on validation.
        tests: accuracy of every strategy on test.
        seconds: of training every strategy.
    """

    name: str
    few: int | None
    seed: int
    shortlist: tuple[str, ...]
    scores: Mapping[str, Score]
    tests: Mapping[str, float]
    seconds: Mapping[str, float]

    @property
    def best(self) -> float:
        return max(self.tests.values())

    @property
    def listed(self) -> dict[Any, Score]:
        return {name: self.scores[name] for name in self.shortlist}


Rule = Callable[[Case], str]


def ours(case: Case) -> str:
    return str(selection.select(case.listed, {}).kept)


def oracle(case: Case) -> str:
    return max(case.shortlist, key=lambda name: case.tests[name])


def most_accurate(case: Case) -> str:
    return max(case.shortlist, key=lambda name: case.scores[name].accuracy)


def least_loss(case: Case) -> str:
    return min(case.shortlist, key=lambda name: _loss(case.scores[name]))


def cheapest_unless_worse(case: Case) -> str:
    """The cheapest that is not significantly less accurate than the most accurate."""
    leader = case.scores[most_accurate(case)]
    return next(
        name
        for name in case.shortlist
        if not selection.significantly_better(leader, case.scores[name], selection.ALPHA)
    )


POLICIES: dict[str, Rule] = {
    "always probe": lambda case: "linear_probe",
    "always fine-tune": lambda case: "fine_tune",
    "oracle": oracle,
    "ours": ours,
}
RULES: dict[str, Rule] = {
    **POLICIES,
    "most accurate on validation": most_accurate,
    "least loss on validation": least_loss,
    "cheapest unless significantly worse": cheapest_unless_worse,
}


def regret(case: Case, rule: Rule) -> float:
    """Points of accuracy on test below the best strategy of all."""
    return 100 * (case.best - case.tests[rule(case)])


def cost(case: Case) -> float:
    """Seconds of training the shortlist, as a share of those of training every strategy."""
    return sum(case.seconds[name] for name in case.shortlist) / sum(case.seconds.values())


def read(folder: Path) -> Case | None:
    """A case as `cases.py` left it; None where a shortlisted strategy is missing."""
    about = json.loads((folder / "plan.json").read_text())
    found = {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}
    shortlist = tuple(entry["strategy"] for entry in about["plan"]["shortlist"])
    if not {*shortlist, "fine_tune"} <= found.keys():
        return None
    return Case(
        about["set"],
        about["few"],
        about["seed"],
        shortlist,
        {name: Score.of(one["validation"], one["validation_targets"]) for name, one in found.items()},
        {name: _accuracy(one["test"], one["test_targets"]) for name, one in found.items()},
        {name: float(one["seconds"]) for name, one in found.items()},
    )


def mean_interval(cases: Sequence[Case], value: Callable[[Case], float]) -> str:
    """Mean over cases with a 95% bootstrap interval over data sets, since draws of one set are correlated."""
    interval = bootstrap.interval(
        lambda drawn: np.asarray(drawn.mean(axis=1)),
        np.array([value(case) for case in cases]),
        resamples=10_000,
        level=0.95,
        seed=0,
        groups=[case.name for case in cases],
    )
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    folders = sorted(path.parent for path in (parser.parse_args().work / "results").glob("*/plan.json"))
    cases = [case for folder in folders if (case := read(folder))]
    for few in (False, True):
        some = [case for case in cases if (case.few is not None) is few]
        if not some:
            continue
        print(f"\n| case | {' | '.join(COLUMNS)} | ours keeps | regret: {' | '.join(POLICIES)} | cost |")
        print("| --- |" + " --- |" * (len(COLUMNS) + len(POLICIES) + 2))
        for case in some:
            print(_row(case))
        for title, own in (
            ("tuned on", [case for case in some if case.name in TUNED_ON]),
            ("reported", [case for case in some if case.name not in TUNED_ON]),
        ):
            for name, rule in RULES.items() if own else ():
                values = [regret(case, rule) for case in own]
                told = mean_interval(own, lambda case, rule=rule: regret(case, rule))
                print(f"{title}, {len(own)} cases, {name}: regret {told}, worst {max(values):.1f}")


def _row(case: Case) -> str:
    name = (
        f"{case.name}{'*' if case.name in TUNED_ON else ''}{f', {case.few} a class' if case.few else ''}, {case.seed}"
    )
    cells = [f"{100 * case.tests[name]:.1f}" if name in case.tests else "" for name in COLUMNS]
    regrets = [f"{regret(case, rule):.1f}" for rule in POLICIES.values()]
    return f"| {name} | {' | '.join(cells)} | {ours(case)} | {' | '.join(regrets)} | {cost(case):.2f} |"


def _accuracy(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == targets).mean())


def _loss(score: Score) -> float:
    return np.inf if score.loss is None else score.loss


if __name__ == "__main__":
    main()

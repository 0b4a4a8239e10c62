"""The benchmark's tables, from the cases that `cases.py` left: regret, coverage, cost, forgetting."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sets import TUNED_ON

from headstart.statistics import bootstrap

WAYS = ("linear_probe", "lora", "fine_tune", "adapt_then_fine_tune", "scratch")


def regret(case: dict[str, Any]) -> float:
    """Best strategy's accuracy, trained in full, minus that of what the stage `train` hands on by the plan."""
    every = [
        *case["reached"].items(),
        ("linear_probe", case.get("probe_on_all_layers", case["reached"]["linear_probe"])),
    ]
    best = max(one["test"] for way, one in every if way != "scratch")
    return float(best - case["handed"]["test"])


def covered(case: dict[str, Any]) -> bool:
    predicted = case["plan"]["predicted"]
    return bool(predicted["low"] <= case["handed"]["test"] <= predicted["high"])


def cost(case: dict[str, Any]) -> float:
    """Work of the race and of training the chosen, as a share of training every strategy; evidence is left out."""
    plan, of, chosen = case["plan"], case["plan"]["work"]["of"], case["plan"]["strategy"]
    adapting = plan["work"]["adapting"] if "adapt_then_fine_tune" in case["reached"] else 0
    every = sum(of[way] for way in case["reached"] if way != "scratch") + adapting
    raced = plan["race"]["spent"] if plan["race"] else 0
    adapted = plan["adapted"] or chosen == "adapt_then_fine_tune"  # once: what the race adapted is found again
    return float((raced + (adapting if adapted else 0) + of[chosen]) / every)


def mean_interval(cases: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> str:
    """Mean over cases, with a 95% bootstrap interval over sets: two draws of one set are alike."""
    values = [value(case) for case in cases]
    interval = bootstrap.interval(
        lambda drawn: np.asarray(drawn.mean(axis=1)),
        np.array(values),
        resamples=10_000,
        level=0.95,
        seed=0,
        groups=[case["set"] for case in cases],
    )
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    folder = parser.parse_args().work / "results"
    cases = [json.loads(path.read_text()) for path in sorted(folder.glob("[!f]*.json"))]
    flat = {
        path.stem.removeprefix("flat-"): json.loads(path.read_text()) for path in sorted(folder.glob("flat-*.json"))
    }
    print(f"| set, rows, seed | {' | '.join(WAYS)} | planned | handed on | regret | predicted | in it | cost |")
    print("| --- |" + " --- |" * (len(WAYS) + 6))
    for case in cases:
        cells = [f"{case['reached'][way]['test']:.3f}" if way in case["reached"] else "-" for way in WAYS]
        predicted, chosen = case["plan"]["predicted"], case["plan"]["strategy"]
        star = "*" if case["set"] in TUNED_ON else ""
        handed = f"{case['handed']['test']:.3f} {case['handed']['strategy_used']}"
        print(
            f"| {case['set']}{star}, {case['rows']}, {case['seed']} | {' | '.join(cells)} | {chosen} | {handed} | "
            f"{regret(case):.3f} | {predicted['low']:.3f} to {predicted['high']:.3f} | "
            f"{'yes' if covered(case) else 'NO'} | {cost(case):.2f} |"
        )
    for name, some in (
        ("reported", [case for case in cases if case["set"] not in TUNED_ON]),
        ("tuned on (*)", [case for case in cases if case["set"] in TUNED_ON]),
    ):
        if some:
            worst, held = max(map(regret, some)), sum(map(covered, some))
            print(
                f"\n{name}, {len(some)} cases: regret {mean_interval(some, regret)}, worst {worst:.3f}; predicted "
                f"interval holds in {held}; cost {mean_interval(some, cost)}"
            )
    forgetting(cases, flat)


def forgetting(cases: list[dict[str, Any]], flat: dict[str, Any]) -> None:
    """Retention of layer-wise fine-tuning from the probe against flat-rate fine-tuning, at the nearest accuracy."""
    print("\n| set, rows, seed | LP-FT layer-wise: test, lost | flat rate: test, lost |\n| --- | --- | --- |")
    for case in cases:
        other = flat.get(f"{case['set']}-{case['rows']}-{case['seed']}") or flat.get(
            f"{case['set']}-1000-{case['seed']}"
        )
        own = case["reached"]["fine_tune"]
        if other is None or own["retention"]["kept"] is None:
            continue
        near = min(other["flat"].values(), key=lambda one: abs(one["test"] - own["test"]))
        lost = [-one["retention"]["kept"]["value"] for one in (own, near)]
        print(
            f"| {case['set']}, {case['rows']}, {case['seed']} | {own['test']:.3f}, {lost[0]:.3f} | "
            f"{near['test']:.3f}, {lost[1]:.3f} |"
        )


if __name__ == "__main__":
    main()

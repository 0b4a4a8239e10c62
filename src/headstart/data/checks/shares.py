"""Whether classes come in the same shares in train, validation and test, and in those production is said to see."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples
from headstart.findings import Finding
from headstart.statistics import class_shares, two_sample

APART = 0.05  # of all rows would have to change class for two splits to agree: less is no reason to act
DRAWS, ENOUGH = 9_999, 100  # permutations of whole groups, at most, and exceedances after which they end
NAMED = 3


def between_splits(examples: Examples, *, level: float, seed: int) -> Finding:
    """`class_shares`: validation and test against train, each by an exact test on the table of counts.

    Where rows come in groups, whole groups are dealt anew, since classes come in lumps then. Splits differ where the
    test says so and the distance is worth acting on (`APART`): with many rows, the smallest difference is certain.

    Args:
        examples: those that were kept.
        level: both tests together speak up on sound splits this often, at most.
        seed: of the simulation.
    """
    counts = {name: _counts(examples, examples.split(name)) for name in SPLITS}
    shares = {name: count / max(1, count.sum()) for name, count in counts.items()}
    grouped = bool((examples.groups[examples.kept] >= 0).any())
    found = {}
    for name in ("validation", "test"):
        if grouped:
            p_value = _by_groups(examples, name, seed)
        else:
            p_value = two_sample.contingency(counts["train"], counts[name], seed).p_value
        found[name] = (float(np.abs(shares[name] - shares["train"]).sum() / 2), p_value)
    differing = [name for name, (distance, p) in found.items() if p <= level / 2 and distance >= APART]
    worst = max(differing or found, key=lambda name: found[name][0])
    most = np.argsort(-np.abs(shares[worst] - shares["train"]), kind="stable")[:NAMED]
    moved = [
        {"label": examples.classes[at], "share": float(shares[worst][at]), "train": float(shares["train"][at])}
        for at in most.tolist()
    ]
    return Finding(
        check="class_shares",
        verdict="unsure" if differing else "pass",
        statistic=found[worst][0],
        bar=APART,
        evidence={
            "worst": worst,
            "differing": differing,
            "moved": moved,
            **{
                name: {"distance": distance, "p_value": p_value, "shares": _shown(examples, shares[name])}
                for name, (distance, p_value) in found.items()
            },
        },
    )


def expected(per_class: Mapping[str, Mapping[str, int]], shares: Mapping[str, float]) -> Finding:
    """`expected_shares`: what `data.expected_shares` makes of the test split.

    Args:
        per_class: rows of each class by split.
        shares: as params.yaml says, summing to 1.
    """
    check = "expected_shares"
    if unknown := sorted(set(shares) - set(per_class)):
        evidence: dict[str, Any] = {"unknown": unknown[0], "classes": len(per_class)}
        return Finding(check, "fail", None, None, evidence=evidence)
    test = {name: counts["test"] for name, counts in per_class.items()}
    size = max(1, sum(test.values()))
    distance = sum(abs(shares.get(name, 0.0) - count / size) for name, count in test.items()) / 2
    missing = sorted(name for name, share in shares.items() if share > 0 and not test[name])
    labels = [name for name, count in test.items() for _ in range(count)]
    rows = (
        0
        if all(not test[name] for name, share in shares.items() if share)
        else len(class_shares.choose(labels, shares))
    )
    return Finding(
        check=check,
        verdict="unsure" if missing else "pass",
        statistic=float(rows),
        bar=None,
        evidence={"distance": distance, "rows": rows, "of": size, "missing": missing},
    )


def _counts(examples: Examples, places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(examples.labels[places], minlength=len(examples.classes))


def _by_groups(examples: Examples, name: str, seed: int) -> float:
    """P-value of the distance between train and another split, whole groups dealt to the two anew.

    A row without a group is a group of its own. It ends early once it is plainly large (Besag and Clifford 1991,
    doi:10.1093/biomet/78.2.301).
    """
    places = np.concatenate([examples.split("train"), examples.split(name)])
    there = np.repeat([False, True], [len(examples.split("train")), len(examples.split(name))])
    groups = examples.groups[places].astype(np.int64)
    alone = groups < 0
    groups[alone] = examples.groups.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    # a group that the source itself put on both sides counts as two
    _, unit = np.unique(np.stack([groups, there.astype(np.int64)], axis=1), axis=0, return_inverse=True)
    classes, units = len(examples.classes), int(unit.max(initial=-1)) + 1
    table = np.zeros((units, classes))
    np.add.at(table, (unit, examples.labels[places]), 1.0)
    side = np.zeros(units, dtype=bool)
    side[unit] = there
    total = table.sum(axis=0)

    def distance(chosen: NDArray[np.bool_]) -> float:
        other = table[chosen].sum(axis=0)
        rest = total - other
        return float(np.abs(other / max(1.0, other.sum()) - rest / max(1.0, rest.sum())).sum())

    observed, random = distance(side), np.random.default_rng(seed)
    exceeding = 0
    for drawn in range(1, DRAWS + 1):
        exceeding += distance(random.permutation(side)) >= observed - 1e-12
        if exceeding >= ENOUGH:
            return ENOUGH / drawn
    return (exceeding + 1) / (DRAWS + 1)


def _shown(examples: Examples, shares: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(share) for name, share in zip(examples.classes, shares, strict=True)}

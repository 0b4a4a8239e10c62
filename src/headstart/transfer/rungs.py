"""Who learns from what in the race, and who judges: nested shares of train, and examples outside all of them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.params.transfer import Race
from headstart.statistics import clustered
from headstart.transfer import probe
from headstart.transfer.setting import Split

PIECES = 8  # train is dealt into as many, classes alike; a rung takes whole ones, so that rungs are nested

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """Rungs and judges.

    Attributes:
        rungs: rows of train on each rung, nested.
        judged: examples that no rung learns from: validation first, then the rest of train.
    """

    rungs: list[Rows]
    judged: Split


def draw(learn: Split, validation: Split, params: Race) -> Field:
    """Nested rungs of at most `params.examples` rows, and at most `params.judged` examples outside all of them."""
    groups = learn.examples.groups
    rungs = (_alone if clustered.count(groups) is None else _in_groups)(learn, params)
    taken = {groups[row] for row in rungs[-1]} - {None}
    free = np.setdiff1d(np.arange(len(learn)), rungs[-1])
    free = np.array([row for row in free if groups[row] not in taken], dtype=np.int64)
    generator = np.random.default_rng(params.seed)
    first = np.sort(generator.permutation(len(validation))[: params.judged])
    more = np.sort(generator.permutation(free)[: params.judged - len(first)])
    return Field(rungs, validation.select(first).joined(learn.select(more)))


def tells_nothing(shown: Split, judged: Split) -> str | None:
    """Why a rung would decide nothing; None where it may."""
    if len(shown) == 0:
        return "No whole group fits into this rung: label more groups, or raise plan.race.examples."
    if len(np.unique(shown.targets)) < 2:
        return (
            f"A rung of {len(shown)} rows shows fewer than two classes and tells nothing: label more of the rare ones."
        )
    if clustered.count(shown.examples.groups) == 1:
        return f"A rung of {len(shown)} rows is one single group and tells nothing of others: label more groups."
    if len(judged) == 0:
        return "No example is left to judge by: label more for validation."
    return None


def _alone(learn: Split, params: Race) -> list[Rows]:
    """Where every example is alone: classes in each rung as in train."""
    largest = max(params.shares) * len(learn)
    arena = np.arange(len(learn))
    if largest > params.examples:
        shares = probe.folds(learn.targets, math.ceil(largest / params.examples), seed=params.seed)
        arena = np.flatnonzero(shares == 0)
    piece = probe.folds(learn.targets[arena], PIECES, seed=params.seed)
    eighths = dict.fromkeys(max(1, round(share * PIECES)) for share in params.shares)  # two alike are one rung
    return [arena[piece < taken] for taken in eighths]


def _in_groups(learn: Split, params: Race) -> list[Rows]:
    """Whole groups in a random order, each rung as full as they make it; one that does not fit is passed over.

    Dealt by size instead, the largest group would be the first of every rung, and decide for all others.
    """
    place = clustered.places(learn.examples.groups, len(learn))
    assert place is not None, "every example is alone"
    sizes, most = np.bincount(place), min(max(params.shares) * len(learn), params.examples)
    order = np.random.default_rng(params.seed).permutation(len(sizes)).tolist()
    taken, held, rungs = set[int](), 0, list[Rows]()
    for share in params.shares:
        quota = most * share / max(params.shares)
        for group in order:
            if group not in taken and held + sizes[group] <= quota:
                taken.add(group)
                held += int(sizes[group])
        rungs.append(np.flatnonzero(np.isin(place, list(taken))))
    return rungs

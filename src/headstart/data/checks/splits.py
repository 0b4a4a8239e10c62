"""Whether splits ask an honest question: are they as large as asked, is test later than train, does it look like it."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples
from headstart.findings import Finding, Verdict
from headstart.params.prepare import Split


def carved(examples: Examples, names: Sequence[str], params: Split) -> Finding:
    """`carved_splits`: the share that each split carved by hash came to, beside the one asked for.

    A hash deals every row, or group of rows, on its own, so that none ever changes sides; the shares come out as asked
    in the long run only. It passes always: nobody did anything wrong.

    Args:
        examples: those that were kept.
        names: of the splits that were carved, not all of none.
        params: the shares asked for.
    """
    count = {name: len(examples.split(name)) for name in SPLITS}
    dealt = count["train"] + sum(count[name] for name in names)
    asked = {name: float(getattr(params, name)) for name in names}
    came = {name: count[name] / dealt for name in names}
    grouped = bool((examples.groups[examples.kept] >= 0).any())
    return Finding(
        check="carved_splits",
        verdict="pass",
        statistic=max(abs(came[name] - asked[name]) for name in names),
        bar=None,
        evidence={"asked": asked, "came": came, "dealt": dealt, "grouped": grouped},
    )


def time_order(examples: Examples) -> Finding:
    """`time_order`: training rows that are later than the first test row, where rows have times.

    A model that learns from tomorrow is judged too kindly on today. Times are compared as ISO 8601 strings.
    """
    train, test = examples.split("train"), examples.split("test")
    known = np.asarray(pc.is_valid(examples.times))
    train, test = train[known[train]], test[known[test]]
    if not len(train) or not len(test):
        return Finding("time_order", "pass", None, None)
    first = pc.min(examples.times.take(test)).as_py()
    later = train[np.asarray(pc.greater(examples.times.take(train), first))]
    share = len(later) / len(train)
    verdict: Verdict = "unsure" if len(later) else "pass"
    return examples.finding("time_order", verdict, later, share=share, first=first, timed=len(train))


def train_like_test(
    right: NDArray[np.bool_],
    is_test: NDArray[np.bool_],
    groups: Sequence[str] | None,
    *,
    level: float,
    looked: tuple[int, int],
) -> Finding:
    """`train_like_test`: a classifier two-sample test between train and test inputs.

    A classifier learns to tell which of the two an input came from. If they are alike, it says "test" equally often of
    both: the mean of its accuracies on unseen train and unseen test inputs is one half. One-sided Welch test; where
    rows come in groups a group counts once, since rows of one group are not independent.
    Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545.

    Args:
        right: whether it told each held-out input's split.
        is_test: which inputs are from test.
        groups: of those inputs; None where each stands for itself.
        level: the test speaks up on splits that are alike this often.
        looked: how many rows of train and of test it was given.
    """
    parts = [
        _units(right[side], None if groups is None else np.asarray(groups, dtype=str)[side])
        for side in (~is_test, is_test)
    ]
    accuracy = float(np.mean([part.mean() for part in parts]))
    errors = [part.var(ddof=1) / len(part) if len(part) > 1 else np.inf for part in parts]
    error = float(np.sqrt(sum(errors)) / 2)
    if error == 0:  # one answer for all of train and one for all of test: right on both, or on one and wrong on other
        p = 0.5 ** sum(map(len, parts)) if accuracy > 0.5 else 1.0
    elif error == np.inf:  # a single group says nothing about the next
        p = 1.0
    else:
        freedom = sum(errors) ** 2 / sum(e**2 / (len(part) - 1) for e, part in zip(errors, parts, strict=True))
        p = float(stats.t.sf((accuracy - 0.5) / error, freedom))
    differs = p < level
    return Finding(
        check="train_like_test",
        verdict="unsure" if differs else "pass",
        statistic=accuracy,
        bar=0.5,
        evidence={
            "p": p,
            "level": level,
            "train_rows": looked[0],
            "test_rows": looked[1],
            "units": [len(part) for part in parts],
            "grouped": groups is not None,
        },
    )


def too_few(train: int, test: int) -> Finding:
    """The finding `train_like_test` where too few rows or groups are there to tell."""
    return Finding("train_like_test", "pass", None, 0.5, evidence={"train_rows": train, "test_rows": test})


def _units(right: NDArray[np.bool_], groups: NDArray[np.str_] | None) -> NDArray[np.float64]:
    """What is independent: each answer, or the mean of each group's."""
    if groups is None:
        return right.astype(float)
    _, member = np.unique(groups, return_inverse=True)
    shares: NDArray[np.float64] = np.bincount(member, weights=right) / np.bincount(member)
    return shares

"""Whether splits ask an honest question: are they as large as asked, is test later than train, does it look like it."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples
from headstart.findings import Finding
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
    told = [f"{name} {came[name]:.1%} where {asked[name]:.1%} was asked for" for name in names]
    grouped = bool((examples.groups[examples.kept] >= 0).any())
    return Finding(
        check="carved_splits",
        verdict="pass",
        statistic=max(abs(came[name] - asked[name]) for name in names),
        bar=None,
        reason=f"Dealt by a hash{' of their groups' if grouped else ''}, {dealt:,} rows came to {', '.join(told)}.",
        evidence={"asked": asked, "came": came},
    )


def time_order(examples: Examples) -> Finding:
    """`time_order`: training rows that are later than the first test row, where rows have times.

    A model that learns from tomorrow is judged too kindly on today. Times are compared as ISO 8601 strings.
    """
    train, test = examples.split("train"), examples.split("test")
    known = np.asarray(pc.is_valid(examples.times))
    train, test = train[known[train]], test[known[test]]
    if not len(train) or not len(test):
        return Finding("time_order", "pass", None, None, "The rows have no times to be compared.")
    first = pc.min(examples.times.take(test)).as_py()
    later = train[np.asarray(pc.greater(examples.times.take(train), first))]
    share = len(later) / len(train)
    return examples.finding(
        "time_order",
        "unsure" if len(later) else "pass",
        later,
        f"{len(later)} of {len(train)} training rows with a time ({share:.0%}) are later than the first test row "
        f"({first}): production will be later than all of them, so expect less than the test set promises."
        if len(later)
        else f"Every training row with a time is no later than the first test row ({first}).",
        "Split by time: a `split` column in which test is the latest part." if len(later) else "",
        share=share,
    )


def alike(
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
    units = "rows" if groups is None else "groups of rows"
    return Finding(
        check="train_like_test",
        verdict="unsure" if differs else "pass",
        statistic=accuracy,
        bar=0.5,
        reason=f"Told apart by what the backbone sees, inputs of train and test are recognised in {accuracy:.1%} of "
        f"unseen cases (half is chance; {len(parts[0])} and {len(parts[1])} {units}, p = {p:.2g}): "
        + ("test asks something else than train teaches." if differs else "they look alike."),
        action="Find out how test was drawn: another time, place or device? Accuracy there says little about train, "
        "and adapting to test-like inputs may pay."
        if differs
        else "",
        evidence={"p": p, "level": level, "train_rows": looked[0], "test_rows": looked[1]},
    )


def too_few(train: int, test: int) -> Finding:
    """The finding `train_like_test` where too few rows or groups are there to tell."""
    reason = f"{train} rows of train and {test} of test are too few to tell whether they look alike."
    return Finding("train_like_test", "pass", None, 0.5, reason)


def _units(right: NDArray[np.bool_], groups: NDArray[np.str_] | None) -> NDArray[np.float64]:
    """What is independent: each answer, or the mean of each group's."""
    if groups is None:
        return right.astype(float)
    _, member = np.unique(groups, return_inverse=True)
    shares: NDArray[np.float64] = np.bincount(member, weights=right) / np.bincount(member)
    return shares

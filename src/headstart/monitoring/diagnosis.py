"""What a window's findings mean: a cause that the evidence bears, or `unknown_shift`; never a wrong name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.faults.table import CAUSES
from headstart.findings import Finding
from headstart.monitoring.windows import Window
from headstart.profile import Profile

SHUFFLES = 999
DOUBT = 0.05  # p-value below which something other than the classes' shares has changed; doubt leads to unknown_shift
MOST_ROWS = 5_000  # of a window that are looked at; evenly spread
CELLS = 4_000_000  # numbers held at once
SEED = 0


def causes(findings: Sequence[Finding], profile: Profile, window: Window) -> list[dict[str, Any]]:
    """Ranked causes [{`cause`, `score`}]; the score is in [0, 1]. Empty where nothing could be judged.

    `label_shift` is named only when predicted classes moved, quality did not fall, and within each predicted class
    confidence and input properties look as they did. Everything else that alarms is `unknown_shift` for now.
    """
    failed = {finding.check for finding in findings if finding.verdict == "fail"}
    if not failed:
        return [] if any(finding.check == "window" for finding in findings) else [{"cause": "none", "score": 1.0}]
    if "predicted_classes" in failed and "quality" not in failed:
        p_value = within_classes(profile, window)
        if p_value > DOUBT:
            return [{"cause": "label_shift", "score": p_value}]
    return [{"cause": "unknown_shift", "score": 1.0}]


def remedy(ranked: Sequence[dict[str, Any]]) -> str:
    """The cheapest remedy of the likeliest cause; `none` where nothing was named."""
    return CAUSES[ranked[0]["cause"]].remedy if ranked else "none"


def within_classes(profile: Profile, window: Window) -> float:
    """P-value of "within each predicted class, confidence and properties are distributed as in the reference".

    For each number: the largest gap between the window's distribution and the reference's, reweighted to the window's
    classes; its null by shuffling reference and window within each class. Bonferroni over the numbers. Classes that
    either side lacks cannot be compared and are left out.
    """
    at = np.unique(np.linspace(0, window.rows - 1, min(window.rows, MOST_ROWS)).astype(np.int64))
    guesses = np.array([*profile.predicted, *(window.predicted[row] for row in at)])
    is_window = np.arange(len(guesses)) >= len(profile.predicted)
    numbers = [(profile.confidence, window.confidence)]
    numbers += [
        (profile.properties[name], window.properties[name]) for name in profile.properties if name in window.properties
    ]
    p_values = []
    for before, after in numbers:
        values = np.concatenate([before, after[at]])
        measured = np.isfinite(values)
        if measured[is_window].any() and measured[~is_window].any():
            p_values.append(_stratified(values[measured], guesses[measured], is_window[measured]))
    return min(1.0, len(p_values) * min(p_values))


def _stratified(values: NDArray[np.float64], strata: NDArray[Any], is_window: NDArray[np.bool_]) -> float:
    """P-value of the stratified two-sample test that `within_classes` describes."""
    both = [name for name in np.unique(strata[is_window]) if (~is_window[strata == name]).any()]
    kept = np.isin(strata, both)
    order = np.argsort(values[kept], kind="stable")
    values, strata, is_window = values[kept][order], strata[kept][order], is_window[kept][order]
    if not len(values):
        return 0.0  # no class in common: the shares explain nothing
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # the last of each run of equal values
    rows = [np.flatnonzero(strata == name) for name in both]
    weight = 1.0 / is_window.sum()
    observed = _gaps(is_window[None], rows, weight, ends)[0]
    generator = np.random.default_rng(SEED)
    reached, left = 0, SHUFFLES
    while left:
        count = min(left, max(1, CELLS // len(values)))
        shuffled = np.empty((count, len(values)), dtype=bool)
        for row in rows:
            shuffled[:, row] = generator.permuted(np.tile(is_window[row], (count, 1)), axis=1)
        reached += int((_gaps(shuffled, rows, weight, ends) >= observed - 1e-12).sum())
        left -= count
    return (reached + 1) / (SHUFFLES + 1)


def _gaps(
    is_window: NDArray[np.bool_], rows: Sequence[NDArray[np.int64]], weight: float, ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Largest gap for each of `(shuffles, values)` memberships, values in ascending order."""
    steps = np.where(is_window, weight, 0.0)
    for row in rows:
        members = is_window[:, row]
        here = int(members[0].sum())  # the same in every shuffle
        steps[:, row] -= np.where(members, 0.0, weight * here / (len(row) - here))
    return np.asarray(np.abs(np.cumsum(steps, axis=1)[:, ends]).max(axis=1), dtype=np.float64)

"""Candidate against champion, on the same test examples of today.

Only examples of classes that both know are paired; classes that only the candidate knows are measured on their own. A
candidate made for other class shares than the test split's is compared on test rows in which classes come in these.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.data import dataset as datasets
from headstart.errors import BundleError, ContractError
from headstart.evaluation import metrics
from headstart.params.evaluation import Gates
from headstart.predictor import Predictor
from headstart.progress import bar
from headstart.statistics import bootstrap, class_shares, cluster_robust, paired
from headstart.statistics.bootstrap import Sampling
from headstart.statistics.cluster_robust import Groups

CHUNK = 512
SAMPLING = Sampling(seed=13)
MOVED = 0.2  # of a label's examples that the champion answers with a lost class, to ask whether the class was renamed


def compare(candidate: Path, champion: Path, data: Path, gates: Gates) -> dict[str, Any]:
    """Score two bundles on `data/test.parquet`; the champion is scored again, whatever it once reached.

    Args:
        candidate: a sealed bundle.
        champion: another.
        data: what the stage `prepare` wrote for the candidate.
        gates: `level` of the intervals.

    Returns:
        What `contrast` returns.

    Raises:
        BundleError: if a bundle is incomplete or altered, or the two answer different modalities.
    """
    ours, theirs = Predictor.load(candidate), Predictor.load(champion)
    if ours.contract.modality != theirs.contract.modality:
        raise BundleError(
            f"the candidate answers {ours.contract.modality}s and the champion {theirs.contract.modality}s.",
            action="Give one of the two models another name in params.yaml.",
        )
    test = datasets.read(data / "test.parquet")
    there = set(test.labels)
    if shares := _shares(candidate):
        test = test.select(class_shares.choose(test.labels, shares).tolist())
    tested = [label for label in _tested(champion, theirs.labels) if label not in there - set(test.labels)]
    known = (list(ours.labels), list(theirs.labels))
    answers = (_labels(ours, test.inputs, "candidate"), _labels(theirs, test.inputs, "champion"))
    return contrast(test.labels, *answers, known=known, gates=gates, groups=test.groups, tested=tested)


def _shares(candidate: Path) -> dict[str, float] | None:
    """The class shares that the candidate was made for, where they are not the test split's."""
    path = candidate / "evaluation.json"
    said = artifacts.read_json(path).get("shares") if path.is_file() else None
    return dict(said["values"]) if said else None


def _tested(champion: Path, labels: Sequence[str]) -> list[str]:
    """The champion's classes that had test examples when it was measured; all of them where it does not say."""
    path = champion / "evaluation.json"
    rows = artifacts.read_json(path).get("per_class") if path.is_file() else None
    return [row["label"] for row in rows if row["support"]] if rows else list(labels)


def contrast(
    truth: Sequence[str],
    ours: Sequence[str | None],
    theirs: Sequence[str | None],
    *,
    known: tuple[Sequence[str], Sequence[str]],
    gates: Gates,
    groups: Groups = None,
    tested: Sequence[str] = (),
) -> dict[str, Any]:
    """The comparison of two series of answers.

    Args:
        truth: true labels.
        ours: labels the candidate answered; None where its contract refuses the input, which counts as wrong.
        theirs: the champion's.
        known: all labels of the candidate, and of the champion.
        gates: `level` (one-sided).
        groups: which examples come together; None where none do.
        tested: classes that had test examples when the champion was measured.

    Returns:
        `examples` in all and `paired` {`wins`, `losses`, `n`, `p_value`, `cluster_robust` of groups if any};
        `difference` in accuracy (interval of level `1 - 2 * gates.level`); `flips` by class both know {`class`, `n`,
        `wins`, `losses`}, most losses first; `accuracy` and `macro_f1` with `candidate` and `champion`, the latter with
        `difference` too; `classes` {`both`, `new`, `gone`, `untested`: of both, those that had test examples and have
        none now}; `moved` [{`lost`, `label`, `count`, `n`}]: to how many of the `n` examples of a label the champion
        answers a class that is gone; `new` {`accuracy`} of new classes or null; `refused`.
    """
    both = [label for label in known[0] if label in set(known[1])]
    new = [label for label in known[0] if label not in set(known[1])]
    gone = [label for label in known[1] if label not in set(known[0])]
    true, mine, other = (np.array(series, dtype=object) for series in (truth, ours, theirs))
    right, right_there = mine == true, other == true
    shared, fresh = np.isin(true, both), np.isin(true, new)
    together, level = _of(groups, shared), SAMPLING.level
    found = paired.difference(right[shared], right_there[shared], 1 - 2 * gates.level, together)
    fresh_accuracy = cluster_robust.share(right[fresh], level, _of(groups, fresh))
    return {
        "examples": len(true),
        "paired": found.counts(),
        "difference": found.interval.document(),
        "flips": _flips(true, right, right_there, both),
        "accuracy": {
            "candidate": cluster_robust.share(right[shared], level, together).document(),
            "champion": cluster_robust.share(right_there[shared], level, together).document(),
        },
        "macro_f1": _macro_f1(true[shared], mine[shared], other[shared], both, SAMPLING, together),
        "classes": {
            "both": both,
            "new": new,
            "gone": gone,
            "untested": [label for label in both if label in set(tested) - set(truth)],
        },
        "moved": _moved(true, other, gone),
        "new": {"accuracy": fresh_accuracy.document()} if fresh.any() else None,
        "refused": {"candidate": _refused(mine), "champion": _refused(other)},
    }


def _of(groups: Groups, chosen: NDArray[np.bool_]) -> Groups:
    return None if groups is None else [groups[row] for row in np.flatnonzero(chosen).tolist()]


def _moved(true: NDArray[np.object_], theirs: NDArray[np.object_], gone: Sequence[str]) -> list[dict[str, Any]]:
    """Where the champion sees a lost class in a good part of the examples of one of today's labels."""
    result = []
    for lost in gone:
        answered = theirs == lost
        for label in sorted(set(true[answered])):
            own = true == label
            count, n = int((own & answered).sum()), int(own.sum())
            if count >= max(MOVED * n, min(2, n)):
                result.append({"lost": lost, "label": label, "count": count, "n": n})
    return result


def _flips(
    true: NDArray[np.object_], right: NDArray[np.bool_], right_there: NDArray[np.bool_], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Of each class, how many only the candidate gets right, and how many it gets wrong that the champion got right."""
    result = []
    for label in classes:
        own = true == label
        wins, losses = int((own & right & ~right_there).sum()), int((own & ~right & right_there).sum())
        result.append({"class": label, "n": int(own.sum()), "wins": wins, "losses": losses})
    return sorted(result, key=lambda one: (-one["losses"], one["class"]))


def _macro_f1(
    truth: NDArray[np.object_],
    ours: NDArray[np.object_],
    theirs: NDArray[np.object_],
    classes: Sequence[str],
    sampling: Sampling,
    groups: Groups,
) -> dict[str, Any] | None:
    """Macro-F1 over the shared classes; any answer outside them is a miss. None without an example."""
    if not len(truth):
        return None
    true, mine, other = (_indices(series, classes) for series in (truth, ours, theirs))
    names: dict[str, Callable[..., NDArray[np.float64]]] = {
        "candidate": lambda true, mine, other: metrics.macro_f1_each(mine, true, len(classes)),
        "champion": lambda true, mine, other: metrics.macro_f1_each(other, true, len(classes)),
        "difference": lambda true, mine, other: (
            metrics.macro_f1_each(mine, true, len(classes)) - metrics.macro_f1_each(other, true, len(classes))
        ),
    }
    return {
        name: bootstrap.interval(
            statistic,
            true,
            mine,
            other,
            **sampling.document(),
            groups=groups,
            within=(-1.0 if name == "difference" else 0.0, 1.0),
        ).document()
        for name, statistic in names.items()
    }


def _indices(series: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    """Places in `classes`; its length for what isn't there."""
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index.get(label, len(classes)) for label in series], dtype=np.int64)


def _labels(predictor: Predictor, inputs: Sequence[Any], name: str) -> list[str | None]:
    """The label of each input; None where the contract refuses it."""
    answers: list[str | None] = []
    with bar(f"answer test, {name}", "examples", len(inputs)) as shown:
        for start in range(0, len(inputs), CHUNK):
            chunk = inputs[start : start + CHUNK]
            try:
                answers += [prediction.label for prediction in predictor.predict(chunk)]
            except ContractError:  # the other contract may accept what this one refuses
                accepted = [_accepts(predictor, raw) for raw in chunk]
                given = iter(predictor.predict([raw for raw, good in zip(chunk, accepted, strict=True) if good]))
                answers += [next(given).label if good else None for good in accepted]
            shown.update(len(chunk))
    return answers


def _accepts(predictor: Predictor, raw: Any) -> bool:
    try:
        predictor.preprocessor.check([raw])
    except ContractError:
        return False
    return True


def _refused(answers: NDArray[np.object_]) -> int:
    return sum(answer is None for answer in answers)

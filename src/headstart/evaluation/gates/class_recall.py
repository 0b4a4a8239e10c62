"""Gate `class_recall`: a class that is never answered rightly is not served, whatever the averages say."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "class_recall"
RECALL = 0.5  # a class of which half are found is served; the question is whether one that shows none may be such
ACTION = (
    "Add training examples of these classes, let every class count alike (probe.class_weights and "
    "fine_tune.class_weights: balanced), or join them with what they are taken for (prepare.labels)."
)


def judge(evaluation: Mapping[str, Any] | None, level: float) -> Finding:
    """Whether no class is always answered wrongly, as far as its test examples can tell.

    Were half of a class's examples found, `n` of them would all be missed with a chance of `0.5 ** n`. A class fails
    where that is at most `level` divided by the number of classes looked at; examples of one group count as one.

    Args:
        evaluation: `per_class` with `label`, `recall`, `support` and `groups`.
        level: how often, at most, a model of which every class is found half of the time fails.
    """
    rows = evaluation.get("per_class") if evaluation else None
    if not rows or any({"label", "recall", "support"} - set(row) for row in rows):
        return bars.missing(CHECK, 0.0, "The evaluation has no recall by class")
    looked = [row for row in rows if row["support"]]
    missed = sorted((row for row in looked if row["recall"] == 0), key=lambda row: -row["support"])
    never = [row for row in missed if RECALL ** (row.get("groups") or row["support"]) <= level / len(looked)]
    few = [row for row in missed if row not in never]
    evidence = {"classes": len(looked), "never": [row["label"] for row in never], "few": [row["label"] for row in few]}
    if never:
        reason = f"Not one answer is right on {bars.listed(map(_of, never))}."
        return Finding(CHECK, "fail", float(len(never)), 0.0, reason, ACTION, evidence)
    told = f"{len(looked) - len(few)} of {len(looked)} classes have at least one right answer"
    if few:
        told += f"; not one is right on {bars.listed(map(_of, few))}: too few to tell"
    return Finding(CHECK, "pass", 0.0, 0.0, f"{told}.", "", evidence)


def _of(row: Mapping[str, Any]) -> str:
    n = row["support"]
    groups = f" in {row['groups']} groups" if row.get("groups") and row["groups"] < n else ""
    return f"the {n} test example{'' if n == 1 else 's'} of {row['label']!r}{groups}"

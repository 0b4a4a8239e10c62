"""Gate `log_loss`: probabilities that are worse than guessing by class shares mislead whoever uses them."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "log_loss"
ACTION = (
    "It is sure where it is wrong: give the validation split more examples, of the same kind as those of the test "
    "split (prepare.split.validation), which is what confidence is fitted on."
)


def judge(evaluation: Mapping[str, Any] | None) -> Finding:
    """Whether log loss on the test split is no larger than that of answering with class shares alone.

    They are those of train, or what production sees where that is known.

    Worse beyond doubt fails, worse without being sure is unsure; a value at least as good passes, as nothing speaks
    against it.

    Args:
        evaluation: `metrics.nll`, and `guessing` with `nll` and the interval of the paired `difference`.
    """
    ours, guessed = bars.measured(evaluation, "metrics", "nll"), bars.measured(evaluation, "guessing", "nll")
    difference = bars.measured(evaluation, "guessing", "difference")
    if ours is None or guessed is None or difference is None:
        return bars.missing(CHECK, None, "The evaluation does not hold log loss against guessing")
    whose = "that production sees" if (evaluation or {}).get("shares") else "of train"
    told = (
        f"Log loss is {ours.value:.3f} on {bars.among(ours.n, bars.count(evaluation, 'groups'))}; answering each with "
        f"the class shares {whose} costs {guessed.value:.3f}: the difference is {bars.spelled(difference)}"
    )
    evidence = {**ours.document(), "difference": difference.document()}
    if difference.low > 0:
        reason = f"{told}, so its probabilities are worse than guessing."
        return Finding(CHECK, "fail", ours.value, guessed.value, reason, ACTION, evidence)
    if difference.value > 0:
        reason = f"{told}, so these examples can't tell whether its probabilities are worse than guessing."
        return Finding(CHECK, "unsure", ours.value, guessed.value, reason, ACTION, evidence)
    return Finding(CHECK, "pass", ours.value, guessed.value, f"{told}.", "", evidence)

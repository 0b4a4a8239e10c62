"""Do labels come that the model cannot answer: a new class?"""

from headstart.findings import Finding
from headstart.monitoring.windows import Window
from headstart.profile import Profile
from headstart.statistics import two_sample

NAMED = 5


def detect(profile: Profile, window: Window, level: float) -> Finding:
    """Labels outside the model's classes among the labelled answers; the reference has none among `profile.n`.

    Fisher's exact test, one-sided: all labels of this kind, of both samples together, came in the window.
    """
    counts = window.unknown_labels(profile.classes)
    unknown, labelled = sum(counts.values()), window.labelled
    if not labelled:
        reason = "no answer of this window has a label, so a new class cannot be seen by its labels."
        return Finding("unknown_labels", "unsure", None, level, reason)
    if not unknown:
        reason = f"all {labelled} labels are classes of the model."
        return Finding("unknown_labels", "pass", 1.0, level, reason, evidence={"labels": {}})
    p_value = two_sample.all_from_window(unknown, profile.n, labelled)
    failed = p_value <= level
    names = ", ".join(f"{label!r}" for label in list(counts)[:NAMED]) + (" and more" if len(counts) > NAMED else "")
    return Finding(
        check="unknown_labels",
        verdict="fail" if failed else "unsure",
        statistic=p_value,
        bar=level,
        reason=(
            f"{unknown} of {labelled} labels {'is' if unknown == 1 else 'are'} not among the model's "
            f"{len(profile.classes)} classes: {names} (p = {p_value:.2g})"
            f"{'' if failed else '; too few to call a class new'}."
        ),
        action="Add examples of the new class to the source and train, or correct the labels where they are misspelt.",
        evidence={"labels": dict(list(counts.items())[:NAMED]), "unknown": unknown, "labelled": labelled},
    )

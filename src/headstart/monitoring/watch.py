"""One look at a window of live traffic: the alarm is decided here, and nowhere else."""

from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.findings import Finding
from headstart.monitoring import diagnosis, windows
from headstart.monitoring.detectors import confidence, predicted_classes, properties, quality
from headstart.monitoring.windows import Window
from headstart.params.operation import Monitor
from headstart.profile import Profile
from headstart.statistics import budget

FORMAT = 1


def watch(
    journal: Path, profile: Profile, params: Monitor, now: datetime, *, version: int | None = None
) -> tuple[dict[str, Any], Window]:
    """Compare the last window of the journal with the profile.

    Every test has a fixed share of the yearly budget of false alarms, whether or not it could be made, so what a
    window holds cannot change how strict the others are. The budget counts one look a window: more looks at
    overlapping windows buy more false alarms.

    Args:
        journal: the model's journal, `Workspace.journal(model)`.
        profile: of the version that answered.
        params: the section `monitor`.
        now: aware; the window ends here.
        version: only its answers count; None takes all.

    Returns:
        A document, and the window it is about. The document: {`format`, `verdict` (`ok`, `alert`, `unsure`), `causes`
        [{`cause`, `score`}], `remedy`, `window`, `findings`}; `unsure` means that the window is too small to judge,
        while too few labels alone leave the rest judged.

    Raises:
        DataError: if the journal cannot be read.
    """
    window = windows.select(journal, end=now, minutes=params.window_minutes, version=version)
    findings = judge(profile, window, params)
    failed = any(finding.verdict == "fail" for finding in findings)
    verdict = "alert" if failed else "unsure" if findings[0].check == "window" else "ok"
    ranked = diagnosis.causes(findings, profile, window)
    document = {
        "format": FORMAT,
        "verdict": verdict,
        "causes": ranked,
        "remedy": diagnosis.remedy(ranked),
        "window": window.document(),
        "findings": [finding.document() for finding in findings],
    }
    return document, window


def judge(profile: Profile, window: Window, params: Monitor) -> list[Finding]:
    """All detectors' findings; one finding `window`, unsure, where there are too few answers."""
    if window.rows < params.rows:
        return [_too_small(window, params)]
    classes_level, level = levels(params, others=2 + len(profile.properties))
    return [
        predicted_classes.detect(profile, window, classes_level),
        confidence.detect(profile, window, level),
        *(properties.detect(profile, window, level, name=name) for name in sorted(profile.properties)),
        quality.detect(profile, window, level, needed=params.labels, drop=params.accuracy_drop),
    ]


def levels(params: Monitor, *, others: int) -> tuple[float, float]:
    """What the budget buys: the level of the test of predicted classes, and of each of the `others`.

    Bonferroni with weights. Counts of classes carry the least information an answer, so their test gets half of a
    window's share; the others divide the other half, which costs them little: a tenfold level is one more standard
    error at these sizes.
    """
    share = budget.level_per_test(
        false_alarms_a_year=params.false_alarms_a_year, window_minutes=params.window_minutes, tests=1
    )
    return share / 2, share / (2 * others)


def _too_small(window: Window, params: Monitor) -> Finding:
    return Finding(
        check="window",
        verdict="unsure",
        statistic=float(window.rows),
        bar=float(params.rows),
        reason=(
            f"{window.rows} answers in the {params.window_minutes} minutes before {window.end:%Y-%m-%d %H:%M} UTC; "
            f"{params.rows} are needed to judge a window."
        ),
        action="Wait for more traffic, or lengthen monitor.window_minutes.",
    )

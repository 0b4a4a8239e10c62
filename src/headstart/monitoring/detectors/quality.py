"""Is the model still right as often as on its test set? Asked where labels came."""

from collections import Counter

import numpy as np

from headstart.findings import Finding, Verdict
from headstart.monitoring.windows import Window
from headstart.profile import Profile

DOUBT = 1e-7  # share of the p-value spent on not knowing the reference's true accuracy
GRID = 64
NEGLIGIBLE = 1e-12
NAMED = 5


def detect(profile: Profile, window: Window, level: float, *, needed: int, drop: float) -> Finding:
    """Whether accuracy on labelled answers fell by more than `drop`.

    It passes where no such loss was seen; where one was seen that is not shown at the level, it is `unsure`.

    Args:
        profile: its accuracy was measured on `profile.n` examples, and is uncertain itself.
        window: only its labelled answers count.
        level: it fails at p-values at or below.
        needed: with fewer labels the answer is `unsure`.
        drop: the loss that is tolerated.
    """
    labelled = window.labelled
    if labelled < needed:
        reason = f"{labelled} answers of this window have labels; {needed} are needed to judge accuracy."
        return Finding("quality", "unsure", None, level, reason, "Send labels to /feedback, if you have them.")
    right = round(profile.accuracy * profile.n)
    mistakes = Counter(
        (label, guess)
        for label, guess in zip(window.truth, window.predicted, strict=True)
        if label is not None and label != guess
    )
    p_value = drop_p_value(right, profile.n, window.correct, labelled, drop=drop)
    now, lost = window.correct / labelled, profile.accuracy - window.correct / labelled
    verdict: Verdict = "fail" if p_value <= level else "unsure" if lost > drop else "pass"
    seen = f"accuracy is {now:.3f} on {labelled} labelled answers, {profile.accuracy:.3f} on the reference"
    return Finding(
        check="quality",
        verdict=verdict,
        statistic=p_value,
        bar=level,
        reason={
            "fail": f"{seen}; had it lost {drop:g} at most, so few would be right with p = {p_value:.2g}.",
            "unsure": (
                f"{seen}: {lost:.2f} below, where a loss of {drop:g} is tolerated; that is not enough to be sure at "
                f"this budget of false alarms (p = {p_value:.2g}, and {level:.2g} would alarm)."
            ),
            "pass": f"{seen}; a loss of {drop:g} is tolerated (p = {p_value:.2g}), so that is no alarm.",
        }[verdict],
        action={
            "fail": "Roll back if the last release is younger than the trouble; else train on the new labels.",
            "unsure": "Send more labels to /feedback: they tell a loss from chance.",
            "pass": "",
        }[verdict],
        evidence={
            "accuracy_window": window.correct / labelled,
            "accuracy_reference": profile.accuracy,
            "n": labelled,
            "mistakes": [
                {"label": label, "predicted": guess, "n": count}
                for (label, guess), count in sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
            ],
        },
    )


def drop_p_value(right: int, n: int, right_now: int, n_now: int, *, drop: float) -> float:
    """P-value of "accuracy fell by `drop` at most", for two independent samples; exact at any size.

    The difference of the two accuracies is the statistic. Its null depends on the true reference accuracy, which is
    unknown: the largest p-value over a confidence interval for it, plus the chance that the interval misses.
    Source: Berger and Boos 1994, doi:10.1080/01621459.1994.10476836.

    Args:
        right: correct answers of the reference.
        n: all answers of the reference.
        right_now: correct answers of the window.
        n_now: all answers of the window.
        drop: in [0, 1].
    """
    from scipy.stats import beta, binom

    low = beta.ppf(DOUBT / 2, right, n - right + 1) if right else 0.0
    high = beta.ppf(1 - DOUBT / 2, right + 1, n - right) if right < n else 1.0
    accuracies = np.linspace(max(low, drop), max(high, drop), GRID)[:, None]  # (grid, 1)
    first, last = binom.ppf(NEGLIGIBLE, n, accuracies.min()), binom.isf(NEGLIGIBLE, n, accuracies.max())
    outcomes = np.arange(int(first), int(last) + 1)  # of the reference
    observed = right_now / n_now - right / n
    at_most = np.floor(n_now * (observed + outcomes / n) + 1e-9)  # the window's outcomes that are as bad
    p_values = (binom.pmf(outcomes, n, accuracies) * binom.cdf(at_most, n_now, accuracies - drop)).sum(axis=1)
    return float(min(1.0, p_values.max() + DOUBT))

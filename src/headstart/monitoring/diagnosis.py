"""What a window's findings mean: a cause that the evidence bears, or `unknown_shift`; never a wrong name."""

from collections.abc import Iterable, Sequence
from typing import Any

from headstart.faults.table import CAUSES
from headstart.findings import Finding
from headstart.monitoring import label_shift
from headstart.monitoring.detectors import quality
from headstart.monitoring.windows import Window
from headstart.profile import Profile

DOUBT = 0.05  # p-value below which something other than the classes' shares has changed; doubt leads to unknown_shift
RULED_OUT = 0.05  # p-value below which foreign inputs count as ruled out
BLANK = 0.02  # contrast of an image that shows nothing: five levels of 255
REQUESTS = {"refusals", "repeated_inputs"}  # they say nothing about the answers that were given
FIRST = ("model_artifact", "input_quality", "new_class", "label_shift", "unknown_shift")


def causes(
    findings: Sequence[Finding], profile: Profile | None, window: Window, *, drop: float
) -> tuple[list[dict[str, Any]], label_shift.Explanation | None]:
    """What the failed findings of one version mean, and how far other shares of its classes explain the window.

    `label_shift` is named only where `label_shift.explain` finds that the shares account for entropy and input
    properties too and that inputs of no known class are ruled out; `new_class` where labels say so; `input_quality`
    where images are blank; `model_artifact` where the journal names other files. The rest is `unknown_shift`.

    Args:
        findings: of this version.
        profile: of this version; None where it could not be read, and nothing was tested.
        window: its answers.
        drop: the loss of accuracy that is tolerated, `monitor.accuracy_drop`.

    Returns:
        Causes [{`cause`, `score` in [0, 1], `evidence` {`checks`}}], the likeliest first; empty where nothing failed.
    """
    failed = {finding.check: finding for finding in findings if finding.verdict == "fail"}
    about_answers = sorted(set(failed) - REQUESTS)
    named: list[dict[str, Any]] = []
    explanation = None
    if "bundle" in failed:
        named.append(_cause("model_artifact", 1.0, about_answers))
    elif profile is None:
        pass
    elif "input_range" in failed and _blank(failed["input_range"]):
        named.append(_cause("input_quality", 1.0, about_answers))
    elif "unknown_labels" in failed:
        named.append(_cause("new_class", 1.0, about_answers))
        if "quality" in failed and _known_labels_alarm(profile, window, failed["quality"], drop):
            named.append(_cause("unknown_shift", 1.0, ["quality"]))
    elif about_answers:
        if "predicted_classes" in failed and not {"quality", "input_range"} & set(failed):
            explanation = label_shift.explain(profile, window)
        if explanation and explanation.p_value > DOUBT and explanation.p_foreign <= RULED_OUT:
            named.append(_cause("label_shift", explanation.p_value, about_answers))
        else:
            named.append(_cause("unknown_shift", 1.0, about_answers))
    if requests := sorted(set(failed) & REQUESTS):
        named.append(_cause("input_quality", 1.0, requests))
    return named, explanation


def ranked(found: Iterable[dict[str, Any]], *, judged: bool) -> list[dict[str, Any]]:
    """The causes of all versions together, each once, what explains most first.

    A cause of refusals or repeats alone comes last: it does not explain what is wrong with answers.

    Args:
        found: causes of each version, evidence included.
        judged: whether the window could be judged; then no cause at all is the cause `none`.
    """
    merged: dict[str, dict[str, Any]] = {}
    for entry in found:
        known = merged.setdefault(entry["cause"], {**entry, "evidence": {"checks": []}})
        known["score"] = max(known["score"], entry["score"])
        known["evidence"]["checks"] = sorted({*known["evidence"]["checks"], *entry["evidence"]["checks"]})
    if not merged:
        return [{"cause": "none", "score": 1.0, "evidence": {"checks": []}}] if judged else []
    return sorted(merged.values(), key=_place)


def remedy(causes: Sequence[dict[str, Any]]) -> str:
    """The cheapest remedy of the likeliest cause; `none` where nothing was named."""
    return CAUSES[causes[0]["cause"]].remedy if causes else "none"


def _place(entry: dict[str, Any]) -> int:
    only_requests = set(entry["evidence"]["checks"]) <= REQUESTS
    return len(FIRST) if only_requests else FIRST.index(entry["cause"])


def _cause(name: str, score: float, checks: Sequence[str]) -> dict[str, Any]:
    return {"cause": name, "score": score, "evidence": {"checks": list(checks)}}


def _blank(finding: Finding) -> bool:
    """Whether the inputs out of range are images that show nothing."""
    evidence = finding.evidence
    return bool(
        evidence["property"] == "contrast" and evidence["side"] == "below" and evidence["median_outside"] <= BLANK
    )


def _known_labels_alarm(profile: Profile, window: Window, finding: Finding, drop: float) -> bool:
    """Whether accuracy fell too where the true class is one that the model knows."""
    known = window.labelled - sum(window.unknown_labels(profile.classes).values())
    if not known or finding.bar is None:
        return False
    right = round(profile.accuracy * profile.n)
    return quality.drop_p_value(right, profile.n, window.correct, known, drop=drop) <= finding.bar

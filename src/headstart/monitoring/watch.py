"""One look at a window of live traffic: the alarm is decided here, and nowhere else."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from headstart.errors import HeadstartError
from headstart.faults.signatures import Signature
from headstart.faults.table import Fault
from headstart.findings import Finding
from headstart.journal import moments
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import Reference as LayerReference
from headstart.monitoring import diagnosis, label_shift, windows
from headstart.monitoring import prior as priors
from headstart.monitoring.detectors import (
    confidence,
    input_range,
    predicted_classes,
    properties,
    quality,
    requests,
    unknown_labels,
)
from headstart.monitoring.detectors import layers as layer_drift
from headstart.monitoring.prior import Prior
from headstart.monitoring.recalibration import Effect, Replay
from headstart.monitoring.windows import Sample, Traffic, Window
from headstart.params.operation import Monitor
from headstart.profile import Profile
from headstart.statistics import budget
from headstart.statistics.interval import wilson

FORMAT = 3
Side = TypeVar("Side", Profile, Window)
NO_SHARES = {"shares": None, "shares_reason": "no window was judged."}
UNDECIDED = {"started": False, "reason": "the look ended before this was decided"}
INTERVAL = 0.95  # of the accuracy that labels show
DOUBT = 0.05  # p-value of a loss of accuracy up to which a window without an alarm is not called ok
HOURS = 24  # of the past, for which layers are drawn
COMPARED = 0.8  # of all answers that need a reference, for a window to be called ok


@dataclass(frozen=True)
class Reference:
    """What the registry knows of a version.

    Attributes:
        bundle: the hash of its manifest; empty where the registry has none.
        profile: reads its reference answers; may refuse with a `HeadstartError`, as where its files are damaged.
        signatures: reads what faults do to its inputs; likewise.
        unseen: reads which properties of inputs cannot reach its network; likewise.
        prior: reads the class shares it was made for, None where they are its test split's; likewise.
        layers: reads what entered its layers on the reference, None where it has none; likewise.
        effect: tries re-estimated BatchNorm statistics on raw images of a window; likewise.
        replay: tries them on labelled images that a fault is planted in; None where there are none; likewise.
    """

    bundle: str
    profile: Callable[[], Profile]
    signatures: Callable[[], Sequence[Signature]] = tuple
    unseen: Callable[[], Collection[str]] = frozenset
    prior: Callable[[], Prior | None] = lambda: None
    layers: Callable[[], LayerReference | None] = lambda: None
    effect: Callable[[Sample], Effect | None] = lambda sample: None
    replay: Callable[[Fault, LayerMoments], Replay | None] = lambda fault, measured: None


@dataclass(frozen=True)
class Look:
    """A judged window.

    Attributes:
        document: {`format`, `verdict` (`ok`, `alert`, `unsure`), `causes` [{`cause`, `score`, `evidence`}], `remedy`,
            `estimates` {`accuracy`, `shares` {class: {`reference`, `value`, `low`, `high`}}, `shares_reason`},
            `window`, `findings`, `retraining` {`started`, `reason`}}. Shares are of the version with most answers;
            None where they can't be told, or the cause speaks against them, and the reason says why. Format 2 had one
            number a class.
        drawn: the version's answers that are worth drawing, and their reference; None where there are none.
    """

    document: dict[str, Any]
    drawn: tuple[Window, Profile] | None


@dataclass(frozen=True)
class _Version:
    """What one version answered in a window, judged; no profile where its reference cannot be read."""

    window: Window
    profile: Profile | None
    findings: Sequence[Finding]
    causes: Sequence[dict[str, Any]]
    estimate: label_shift.Estimate | None


def watch(
    journal: Path,
    references: Callable[[int], Reference],
    params: Monitor,
    asked: datetime,
    *,
    champion: int | None = None,
) -> Look:
    """Compare the last window of the journal with what its versions were judged on.

    Each version that answered is judged against its own profile. Every test has a fixed share of the yearly budget of
    false alarms, divided by the number of versions; whether or not a test could be made, what a window holds cannot
    change how strict the others are. The budget counts one look a window: more looks at overlapping windows buy more
    false alarms.

    The tests are exact at any size, so a small window may alarm; where it does not, it is `unsure`, since it would
    not have shown much. The version with most answers decides that; where more than a fifth of the answers has no
    reference, the window is `unsure` too, and where labels show a loss of accuracy that is likely (`DOUBT`) but not
    sure enough to alarm. Too few labels leave the rest judged.

    Args:
        journal: the model's journal, `Workspace.journal(model)`.
        references: what is known of a version, by its number; may refuse with a `HeadstartError`.
        params: the section `monitor`.
        asked: aware; the window ends at the last whole minute.
        champion: the version that stands for the model now; shown in the document.

    Raises:
        DataError: if the journal cannot be read.
    """
    traffic = windows.select(journal, asked=asked, minutes=params.window_minutes)
    versions = [_version(journal, references, params, window, len(traffic.windows)) for window in traffic.windows]
    findings = [finding for version in versions for finding in version.findings]
    found = [cause for version in versions for cause in version.causes]
    if not versions:
        findings.append(_too_small(traffic, None, params))
    refused = requests.refusals(traffic, params.refused_share)
    findings.append(refused)
    if refused.verdict == "fail":
        most = "preprocessing_mismatch" if 2 * traffic.other_contract > traffic.refused else "input_quality"
        found.append({"cause": most, "score": 1.0, "evidence": {"checks": [refused.check]}})
    main = max(versions, key=lambda version: version.window.answers, default=None)
    judged = _is_judged(versions, main, params) and not any(_likely_loss(finding) for finding in findings)
    failed = any(finding.verdict == "fail" for finding in findings)
    ranked = diagnosis.ranked(found, judged=judged)
    return Look(
        document={
            "format": FORMAT,
            "verdict": "alert" if failed else "ok" if judged else "unsure",
            "causes": ranked,
            "remedy": diagnosis.remedy(ranked),
            "estimates": {"accuracy": _accuracy(traffic), **_shares(main)},
            "window": {**traffic.document(), "version": champion, "minutes": params.window_minutes},
            "findings": [finding.document() for finding in findings],
            "retraining": dict(UNDECIDED),
        },
        drawn=_worst(versions),
    )


def not_looked(error: HeadstartError, end: datetime) -> dict[str, Any]:
    """The document where no look was possible: nothing is known, and the finding `monitor` says why."""
    finding = Finding("monitor", "unsure", None, None, error.message, error.action)
    return {
        "format": FORMAT,
        "verdict": "unsure",
        "causes": [],
        "remedy": "none",
        "estimates": {"accuracy": None, **NO_SHARES},
        "window": {"start": None, "end": end.isoformat(), "rows": 0},
        "findings": [finding.document()],
        "retraining": {"started": False, "reason": "there was no look"},
    }


def judge(
    profile: Profile,
    window: Window,
    params: Monitor,
    *,
    versions: int = 1,
    layers: LayerReference | None = None,
    measured: LayerMoments | None = None,
    unseen: Collection[str] = (),
) -> list[Finding]:
    """All tests of one version's answers; in a small window a test that does not alarm is unsure.

    Args:
        profile: of the version that answered.
        window: its answers.
        params: the section `monitor`.
        versions: how many share the window's part of the budget.
        layers: what entered its layers on the reference; None where its bundle has none.
        measured: what did in the window; None where no server measured any.
        unseen: properties that cannot reach the network: they are shown, and never alarm.
    """
    watched, seen = without(profile, unseen), without(window, unseen)
    others = 4 + len(watched.properties) + (layers is not None)
    classes_level, level = levels(params, others=others, versions=versions)
    tested = [
        predicted_classes.detect(profile, window, classes_level),
        confidence.detect(profile, window, level),
        *(
            properties.detect(profile, window, level, name=name, reaches_network=name in watched.properties)
            for name in sorted(profile.properties)
        ),
        input_range.detect(watched, seen, level),
        quality.detect(profile, window, level, needed=params.labels, drop=params.accuracy_drop),
        unknown_labels.detect(profile, window, level),
        layer_drift.detect(layers, measured, level),
    ]
    if window.rows >= params.rows:
        return tested
    small = [replace(finding, verdict="unsure") if finding.verdict == "pass" else finding for finding in tested]
    return [_too_small(window, window, params), *small]


def without(side: Side, unseen: Collection[str]) -> Side:
    """A profile or a window without some of its properties."""
    return replace(side, properties={name: each for name, each in side.properties.items() if name not in unseen})


def levels(params: Monitor, *, others: int, versions: int = 1) -> tuple[float, float]:
    """What the budget buys: the level of the test of predicted classes, and of each of the `others`.

    Bonferroni with weights. Counts of classes carry the least information an answer, so their test gets half of a
    window's share; the others divide the other half, which costs them little: a tenfold level is one more standard
    error at these sizes.
    """
    share = budget.level_per_test(
        false_alarms_a_year=params.false_alarms_a_year, window_minutes=params.window_minutes, tests=versions
    )
    return share / 2, share / (2 * others)


def _version(
    journal: Path, references: Callable[[int], Reference], params: Monitor, window: Window, versions: int
) -> _Version:
    """The answers of one version, judged by its own reference."""
    findings: list[Finding] = [requests.repeated_inputs(window, params.repeated_share)]
    try:
        reference = _reference(references, window)
        if (files := requests.bundle(window, reference.bundle)) is not None:
            findings.insert(0, files)
        known, prior, layers = reference.signatures(), reference.prior(), reference.layers()
        plain, unseen = reference.profile(), reference.unseen()
    except HeadstartError as error:
        findings.insert(0, _no_reference(window, error))
        causes = diagnosis.causes(findings, None, window, drop=params.accuracy_drop)
        return _Version(window, None, [_of(finding, window, versions) for finding in findings], causes, None)
    uncorrected = priors.uncorrected(plain, window, prior)
    profile = priors.reference(plain, prior)
    measured = _measured(journal, window, reference.bundle) if layers is not None else None
    tested = judge(profile, window, params, versions=versions, layers=layers, measured=measured, unseen=unseen)
    findings = tested + findings
    if layers is not None:
        findings = [_with_hours(finding, journal, window, layers, reference.bundle) for finding in findings]
    estimate = priors.estimate(*uncorrected, prior) if window.rows >= params.rows else None
    causes = diagnosis.causes(
        findings,
        without(profile, unseen),
        without(window, unseen),
        drop=params.accuracy_drop,
        known=known,
        estimate=estimate,
        uncorrected=(without(uncorrected[0], unseen), without(uncorrected[1], unseen)),
        trial=diagnosis.Trial(
            partial(windows.sample, journal, window),
            reference.effect,
            lambda fault: None if measured is None else reference.replay(fault, measured),
        ),
    )
    return _Version(window, profile, [_of(finding, window, versions) for finding in findings], causes, estimate)


def _is_judged(versions: Sequence[_Version], main: _Version | None, params: Monitor) -> bool:
    """Whether enough of the window has a reference, and the version with most answers gave enough of them."""
    if main is None or main.profile is None or main.window.rows < params.rows:
        return False
    compared = sum(version.window.answers for version in versions if version.profile is not None)
    return compared >= COMPARED * sum(version.window.answers for version in versions)


def _reference(references: Callable[[int], Reference], window: Window) -> Reference:
    if window.version is None:
        raise HeadstartError("the journal does not say which version answered.")
    return references(window.version)


def _measured(journal: Path, window: Window, bundle: str) -> LayerMoments | None:
    """What servers measured of the window's inputs under the registered bundle, or one of that version."""
    found = moments.read(journal, start=window.start, end=window.end)
    own = [each for each in found.values() if each.version == window.version]
    return found.get(bundle) or (own[0] if own and not bundle else None)


def _with_hours(finding: Finding, journal: Path, window: Window, layers: LayerReference, bundle: str) -> Finding:
    """The finding on layers with how far each layer was from the reference in each of the last hours."""
    if finding.check != layer_drift.CHECKS[layers.layers.kind] or finding.bar is None:
        return finding
    start = (window.end - timedelta(hours=HOURS - 1)).replace(minute=0)
    hours = moments.hourly(journal, start=start, end=window.end, bundle=bundle)
    history = {"names": layers.layers.names, "hours": layer_drift.by_hour(layers, hours, finding.bar)}
    return replace(finding, evidence={**finding.evidence, "history": history})


def _of(finding: Finding, window: Window, versions: int) -> Finding:
    """The finding with its version in the evidence, and in the sentence where several versions answered."""
    reason = f"version {window.version}: {finding.reason}" if versions > 1 else finding.reason
    return replace(finding, reason=reason, evidence={**finding.evidence, "version": window.version})


def _likely_loss(finding: Finding) -> bool:
    """Whether accuracy has probably fallen by more than is tolerated, though not surely enough to alarm."""
    unsure = finding.check == "quality" and finding.verdict == "unsure"
    return unsure and finding.statistic is not None and finding.statistic <= DOUBT


def _worst(versions: Sequence[_Version]) -> tuple[Window, Profile] | None:
    """The version to draw: the one with most failed findings, of several the one with most answers."""

    def trouble(version: _Version) -> tuple[int, int]:
        return sum(finding.verdict == "fail" for finding in version.findings), version.window.answers

    known = [version for version in versions if version.profile is not None and version.window.rows]
    worst = max(known, key=trouble, default=None)
    return None if worst is None or worst.profile is None else (worst.window, worst.profile)


def _accuracy(traffic: Traffic) -> dict[str, Any] | None:
    labelled = sum(window.labelled for window in traffic.windows)
    right = sum(window.correct for window in traffic.windows)
    return wilson(right, labelled, INTERVAL).document() if labelled else None


def _shares(main: _Version | None) -> dict[str, Any]:
    """Of the version with most answers; none where what was named speaks against them."""
    if main is None or main.estimate is None:
        return dict(NO_SHARES)
    if main.estimate.shares is not None and (reason := diagnosis.against_shares(main.causes)):
        return {"shares": None, "shares_reason": reason}
    return {"shares": main.estimate.shares, "shares_reason": main.estimate.reason}


def _no_reference(window: Window, error: HeadstartError) -> Finding:
    return Finding(
        check="reference",
        verdict="unsure",
        statistic=None,
        bar=None,
        reason=f"{window.answers} answers have nothing to be compared with: {error.message}",
        action=error.action,
    )


def _too_small(traffic: Traffic | Window, window: Window | None, params: Monitor) -> Finding:
    rows = window.rows if window else 0
    noun = window.noun if window else "answers"
    of_all = f" of {window.answers} answers" if window and window.rows != window.answers else ""
    return Finding(
        check="window",
        verdict="unsure",
        statistic=float(rows),
        bar=float(params.rows),
        reason=(
            f"{rows} {noun}{of_all} in the {windows.minutes(params.window_minutes)} before "
            f"{traffic.end:%Y-%m-%d %H:%M} UTC; with fewer than {params.rows} only gross changes can be seen."
        ),
        action="Wait for more traffic, or lengthen monitor.window_minutes.",
    )

"""What a window's findings mean: a cause that the evidence bears, or `unknown_shift`; never a wrong name."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.faults import signatures
from headstart.faults.signatures import Match, Signature
from headstart.faults.table import CAUSES, FAULTS, Fault
from headstart.findings import Finding
from headstart.monitoring import label_shift
from headstart.monitoring.detectors import layers as layer_drift
from headstart.monitoring.detectors import quality
from headstart.monitoring.recalibration import FEWEST, Effect, Replay
from headstart.monitoring.windows import Sample, Window
from headstart.profile import Profile

DOUBT = 0.05  # p-value below which something other than the classes' shares has changed; doubt leads to unknown_shift
RULED_OUT = 0.05  # p-value below which foreign inputs count as ruled out
BLANK = 0.02  # contrast of an image that shows nothing: five levels of 255
REQUESTS = {"refusals", "repeated_inputs"}  # they say nothing about the answers that were given
CLIENTS = {"preprocessing_mismatch", "input_quality"}  # causes that the looks of inputs can show
ANSWERS = {"predicted_classes", "confidence", "quality"}  # checks of what the network says, rather than of its inputs
THROUGHOUT = 0.8  # share of damaged inputs from which on a window is replayed as damaged throughout
SEEN_IN_INPUTS = {"confidence", "input_range", layer_drift.CHECKS["blocks"]}  # besides properties: look at these
HARDLY = 0.25  # of what predictions lost: where re-estimated statistics bring back less, they are not the cause
SURELY = 200  # images that it takes to say so: statistics of few are rough, and bring less back than a cure would
MOST_CLIENTS = 5  # that are looked at one by one: each look is one more chance of a wrong name
FEWEST_ALONE = 50  # inputs of a client that is looked at alone: the smallest window that naming was measured on
LEAST_OF_CLIENT = 20  # inputs of a client, and of all others together, before anything is said of them
SOUND, DAMAGED = 0.15, 0.5  # share of damaged inputs of those who do not cause it, at most; of one who does, at least
MEANINGLESS = {
    "model_artifact": "other files answered than those that the reference is of: shares would mean nothing.",
    "preprocessing_mismatch": "inputs look damaged: shares would mean nothing.",
    "input_quality": "inputs look damaged: shares would mean nothing.",
    "new_class": "labels name a class that the model does not know: shares of the others would mean nothing.",
    "covariate_shift": "inputs look different: shares would mean nothing.",
    "unknown_shift": "something other than the class shares may have changed: shares would mean nothing.",
}
FEATURELESS = {
    side: f"New class shares could explain this window, but so could inputs from an unknown class: {why}."
    for side, why in {
        "journal": f"the journal has features of fewer than {label_shift.FEWEST} inputs, too few to tell. "
        "Raise journal.features in params.yaml",
        "profile": "the bundle holds too few features to tell. Build the model again: headstart run",
    }.items()
}
FIRST = (
    "model_artifact",
    "preprocessing_mismatch",
    "input_quality",
    "new_class",
    "label_shift",
    "batchnorm_drift",
    "covariate_shift",
    "unknown_shift",
)


@dataclass(frozen=True)
class Trial:
    """How re-estimated BatchNorm statistics are tried where the layers' inputs moved.

    Attributes:
        sample: reads the window's raw images.
        effect: tries them; None where it can't be tried on these.
        replay: tries them on labelled images of the reference that a fault is planted in; None where there are none.
    """

    sample: Callable[[], Sample] = lambda: Sample([], [])
    effect: Callable[[Sample], Effect | None] = lambda sample: None
    replay: Callable[[Fault], Replay | None] = lambda fault: None


def causes(
    findings: Sequence[Finding],
    profile: Profile | None,
    window: Window,
    *,
    drop: float,
    known: Sequence[Signature] = (),
    estimate: label_shift.Estimate | None = None,
    uncorrected: tuple[Profile, Window] | None = None,
    trial: Trial | None = None,
) -> list[dict[str, Any]]:
    """What the failed findings of one version mean.

    `label_shift` is named only where `label_shift.explain` finds that the shares account for features, entropy and
    input properties too and that inputs of no known class are ruled out, and where two estimators of the shares agree;
    where there are no features to rule them out with, the cause is `unknown_shift`, and `meaning` says what to change;
    `new_class` where labels say so; `preprocessing_mismatch` and `input_quality` where the inputs bear the signature of
    such a fault and of no other cause's, the latter also where images are blank; `model_artifact` where the journal
    names other files; `batchnorm_drift` where the inputs of BatchNorms moved, no fault of clients fits, and
    re-estimated statistics bring the predictions of the window's raw images back; `covariate_shift` where the inputs
    bear the signature of a change of the world, such as less light or typing errors, and of no client's, and BatchNorm
    statistics, where the network has some, are not to blame. The rest is `unknown_shift`, with what the inputs look
    like, if they look like anything.

    Args:
        findings: of this version.
        profile: of this version; None where it could not be read, and nothing was tested.
        window: its answers.
        drop: the loss of accuracy that is tolerated, `monitor.accuracy_drop`.
        known: the signatures of this version's faults.
        estimate: of the classes' shares in the window; made where it is needed and not given.
        uncorrected: whole profile and window as the network answers without a corrected prior, where it has one.
        trial: of re-estimated BatchNorm statistics.

    Returns:
        Causes [{`cause`, `score` in [0, 1], `evidence` {`checks`}}], the likeliest first; empty where nothing failed.
        Where the inputs bear signatures the evidence also has `meaning`, a sentence, and `looks_like` [{`fault`,
        `share`, `explained`}]; where that is the cause, `fault`, `share`, and `client`: None or {`name`, `inputs`,
        `share`}, the one who sends them.
    """
    failed = {finding.check: finding for finding in findings if finding.verdict == "fail"}
    about_answers = sorted(set(failed) - REQUESTS)
    named: list[dict[str, Any]] = []
    if "bundle" in failed:
        named.append(_cause("model_artifact", 1.0, about_answers))
    elif profile is None:
        pass
    elif "input_range" in failed and _blank(failed["input_range"]):
        named.append(_by_looks(failed, about_answers, profile, window, known))
    elif "unknown_labels" in failed:
        named.append(_cause("new_class", 1.0, about_answers))
        if "quality" in failed and _known_labels_alarm(profile, window, failed["quality"], drop):
            named.append(_cause("unknown_shift", 1.0, ["quality"]))
    elif about_answers:
        of_classes = "predicted_classes" in failed and not {"quality", "input_range"} & set(failed)
        shift = _label_shift(*(uncorrected or (profile, window)), about_answers, estimate) if of_classes else None
        named.append(shift or _by_looks(failed, about_answers, profile, window, known))
        if named[0]["cause"] in ("unknown_shift", "covariate_shift"):
            named[0] = _by_layers(named[0], findings, trial or Trial())
    if requests := sorted(set(failed) & REQUESTS):
        named.append(_cause("input_quality", 1.0, requests))
    return named


def against_shares(causes: Sequence[dict[str, Any]]) -> str | None:
    """Why shares of the classes would mean nothing in a version's answers, a sentence; None where nothing says so.

    Args:
        causes: of that version, as `causes` gives them.
    """
    about_answers = [entry for entry in causes if not set(entry["evidence"]["checks"]) <= REQUESTS]
    return next((MEANINGLESS[entry["cause"]] for entry in about_answers if entry["cause"] in MEANINGLESS), None)


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
        checks = sorted({*known["evidence"]["checks"], *entry["evidence"]["checks"]})
        known["evidence"] = {**entry["evidence"], **known["evidence"], "checks": checks}
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


def _label_shift(
    profile: Profile, window: Window, checks: Sequence[str], estimate: label_shift.Estimate | None
) -> dict[str, Any] | None:
    """The cause `label_shift`; None where other shares of the classes do not explain the window.

    Without features they may explain it, and inputs that belong to no class may explain it as well: `unknown_shift`.
    """
    found = label_shift.explain(profile, window)
    if found is None or found.p_value <= DOUBT:
        return None
    if found.p_foreign is not None and found.p_foreign > RULED_OUT:
        return None
    if (estimate or label_shift.estimate(profile, window)).shares is None:
        return None
    if found.missing is not None:
        cause = _cause("unknown_shift", 1.0, checks)
        cause["evidence"]["meaning"] = FEATURELESS[found.missing]
        return cause
    return _cause("label_shift", found.p_value, checks)


def _by_looks(
    failed: dict[str, Finding], checks: Sequence[str], profile: Profile, window: Window, known: Sequence[Signature]
) -> dict[str, Any]:
    """The cause that the inputs' properties show, where they moved or confidence did."""
    looks = any(check.startswith("property/") or check in SEEN_IN_INPUTS for check in checks)
    found = signatures.match(known, profile.properties, window.properties) if looks else []
    if looks and not found:
        found = _of_one_client(known, profile, window)
    blank = "input_range" in failed and _blank(failed["input_range"])
    if not found:
        return _cause("input_quality" if blank else "unknown_shift", 1.0, checks)
    best, *rivals = found
    evidence: dict[str, Any] = {
        "looks_like": [
            {"fault": each.fault.name, "share": round(each.share, 3), "explained": round(each.explained, 3)}
            for each in found
        ],
    }
    if rivals:
        told = ", or as if ".join(each.fault.meaning for each in found)
        cause = _cause("input_quality" if blank else "unknown_shift", 1.0, checks)
        cause["evidence"] |= evidence | {"meaning": f"It looks as if {told}."}
        return cause
    evidence |= {"fault": best.fault.name, "share": round(best.share, 3)}
    if best.fault.cause not in CLIENTS:
        cause = _cause("input_quality" if blank else "covariate_shift", best.explained, checks)
        cause["evidence"] |= evidence | {"meaning": _sentence(best, None)}
        return cause
    client = _client(best, profile, window)
    cause = _cause(best.fault.cause, best.explained, checks)
    cause["evidence"] |= evidence | {"client": client, "meaning": _sentence(best, client)}
    return cause


def _by_layers(named: dict[str, Any], findings: Sequence[Finding], trial: Trial) -> dict[str, Any]:
    """What BatchNorm statistics have to do with inputs that look different.

    `batchnorm_drift` where layers' inputs moved and re-estimated statistics bring predictions back, unless the inputs
    look like a fault of clients, among others. Inputs that only look different (`covariate_shift`) stay that where
    these statistics bring next to nothing back or nothing was lost; between the two the cause is unnamed.
    """
    found = {finding.check: finding for finding in findings}
    layers = found.get(layer_drift.CHECKS["batchnorm"])
    if layers is None or layers.verdict == "pass":
        return named
    sample = trial.sample() if layers.verdict == "fail" else Sample([], [])
    tried = trial.effect(sample) if len(sample.raw) >= FEWEST else None
    lost = any(_moved(found.get(check)) for check in ANSWERS)
    if tried is None:
        return _untried(named, layers, sample, trial, lost=lost)
    lost |= tried.moved
    evidence = {**named["evidence"], "recalibration": {**asdict(tried), "restored": round(tried.share, 3)}}
    clients = {FAULTS[each["fault"]].cause for each in evidence.get("looks_like", [])} & CLIENTS
    told = f"On {tried.images} images of this window, re-estimated BatchNorm statistics bring back {_restored(tried)}"
    name = named["cause"]
    if tried.restores and not clients:
        name = "batchnorm_drift"
    elif clients:
        told += ", but it may be a client that damages its inputs"
    elif name == "unknown_shift" or (lost and (tried.share >= HARDLY or tried.images < SURELY)):
        told = f"{told}: not enough to name them"
        evidence["meaning"] = f"{evidence.get('meaning', '')} {told}.".strip()
        settled = tried.harms or tried.images >= SURELY  # what the window's own images say is not overruled by others
        replayed = None if settled else _replayed({**named, "evidence": evidence}, trial)
        return replayed or _unnamed(evidence)
    evidence["meaning"] = f"{evidence.get('meaning', '')} {told}.".strip()
    score = tried.share if name == "batchnorm_drift" else named["score"]
    return {"cause": name, "score": score, "evidence": evidence}


def _untried(named: dict[str, Any], layers: Finding, sample: Sample, trial: Trial, *, lost: bool) -> dict[str, Any]:
    """The cause where there are no raw images to try re-estimated statistics on."""
    if named["cause"] == "covariate_shift" and not lost:
        return named
    if layers.verdict == "fail" and (found := _replayed(named, trial)):
        return found
    told = f"Whether re-estimated BatchNorm statistics would help was not tried: {layers.reason}"
    if layers.verdict == "fail":
        told = (
            "The inputs of BatchNorm layers have moved. Whether re-estimated statistics would help was not tried: the "
            f"journal holds {len(sample.raw)} raw images of this window, {FEWEST} are needed. "
            "Set journal.raw: sampled, and raise journal.raw_share."
        )
    elif named["cause"] == "unknown_shift":
        return named
    return _unnamed({**named["evidence"], "meaning": f"{named['evidence'].get('meaning', '')} {told}".strip()})


def _replayed(named: dict[str, Any], trial: Trial) -> dict[str, Any] | None:
    """What labelled images of the reference with the same fault say; None where there are none, or no fault is told.

    A window that is damaged in part has layers' inputs between those of the fault's degrees: nothing is said of it.
    """
    evidence = named["evidence"]
    if named["cause"] != "covariate_shift" or evidence["share"] < THROUGHOUT:
        return None
    if (found := trial.replay(FAULTS[evidence["fault"]])) is None:
        return None
    told = (
        f"Planted in {found.images} images of the test split, it takes accuracy from {found.clean:.2f} to "
        f"{found.broken:.2f}; re-estimated BatchNorm statistics bring it to {found.cured:.2f}."
    )
    evidence = {**evidence, "meaning": f"{evidence['meaning']} {told}", "replay": asdict(found)}
    if found.restores:
        return {**named, "cause": "batchnorm_drift", "evidence": evidence}
    return _unnamed(evidence) if found.lost and found.share >= HARDLY else {**named, "evidence": evidence}


def _unnamed(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {"cause": "unknown_shift", "score": 1.0, "evidence": dict(evidence)}


def _moved(finding: Finding | None) -> bool:
    """Whether a test's p-value leaves doubt that nothing changed, alarm or not."""
    return finding is not None and finding.statistic is not None and finding.statistic <= DOUBT


def _restored(found: Effect) -> str:
    """What of the predictions comes back."""
    parts = []
    if found.confidence_lost:
        parts.append(
            f"{found.confidence_share:.0%} of the lost confidence ({found.expected:.2f} on the reference, "
            f"{found.confidence:.2f} now, {found.recalibrated:.2f} with them)"
        )
    if found.classes_lost:
        parts.append(f"{found.classes_share:.0%} of the way to the reference's shares of predicted classes")
    return " and ".join(parts) or "nothing: neither confidence nor the predicted classes have changed"


def _of_one_client(known: Sequence[Signature], profile: Profile, window: Window) -> list[Match]:
    """The faults whose signature the inputs of one client bear, where those of the whole window bear none.

    Sound inputs that differ a little from the reference can hide what a third of a window shows clearly. Empty where
    the inputs of no client bear one, or of several clients; `share` is of the whole window.
    """
    if window.clients is None:
        return []
    names = np.array([client if client is not None else "" for client in window.clients], dtype=object)
    counts = Counter(client for client in window.clients if client is not None)
    matches = []
    for name, count in counts.most_common(MOST_CLIENTS):
        if count < FEWEST_ALONE:
            break
        part = {key: values[names == name] for key, values in window.properties.items()}
        found = signatures.match(known, profile.properties, part)
        if found and found[0].share >= DAMAGED:
            matches.append([replace(each, share=each.share * count / window.rows) for each in found])
    return matches[0] if len(matches) == 1 else []


def _client(found: Match, profile: Profile, window: Window) -> dict[str, Any] | None:
    """The one client whose inputs look damaged while those of all others do not; None where that is not clear."""
    if window.clients is None:
        return None
    counts = Counter(client for client in window.clients if client is not None)
    names = np.array([client if client is not None else "" for client in window.clients], dtype=object)
    common = [name for name, count in counts.most_common() if count >= LEAST_OF_CLIENT]
    shares = {name: _share_of(found, profile, window, names == name) for name in common}
    guilty = [name for name, share in shares.items() if share >= DAMAGED]
    if len(guilty) != 1:
        return None
    others = names != guilty[0]
    if others.any() and (others.sum() < LEAST_OF_CLIENT or _share_of(found, profile, window, others) > SOUND):
        return None
    return {"name": guilty[0], "inputs": counts[guilty[0]], "share": round(shares[guilty[0]], 3)}


def _share_of(found: Match, profile: Profile, window: Window, rows: NDArray[np.bool_]) -> float:
    part = {name: values[rows] for name, values in window.properties.items()}
    return signatures.share(found, profile.properties, part)


def _sentence(found: Match, client: dict[str, Any] | None) -> str:
    said = f"It looks as if {found.fault.meaning} in {found.share:.0%} of the inputs"
    if client is None:
        return f"{said}."
    return f"{said}; they come from client {client['name']!r}, {client['share']:.0%} of its {client['inputs']}."


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

"""What the monitor's page says in plain words: what happened, how sure that is, and what to do about it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headstart.faults.table import CARRIED_OUT, CAUSES, FAULTS
from headstart.report.plots import percent, scientific

Document = Mapping[str, Any]

P_VALUES = frozenset(
    {"predicted_classes", "confidence", "input_range", "quality", "unknown_labels", "batchnorm_drift", "layer_drift"}
)
OF_FEW_LAYERS = {
    (True,): "The one layer",
    (True, True): "Both layers",
    (True, False): "The first of 2 layers",
    (False, True): "The last of 2 layers",
}
SEND_LABELS = "curl -s localhost:8000/feedback/{name} -H 'content-type: application/json' -d '{body}'"
BODY = '{"id": "ID OF THE ANSWER", "index": 0, "label": "THE RIGHT CLASS"}'
CURES = {
    "correct_prior": "Set the model’s prior to the current class shares. The first command previews the effect; the "
    "second builds a candidate and runs the gates.",
    "recalibrate_batchnorm": "Re-estimate the layers’ statistics from recent inputs, without labels. The first command "
    "previews the effect; the second builds a candidate and runs the gates.",
    "recalibrate_confidence": "Fit the confidence again on recent labels. The command proposes how.",
    "refit_head": "Train the last layer again on recent labels. The command proposes how.",
    "fine_tune": "Train on recent labels. The command proposes how.",
    "adapt_and_fine_tune": "Adapt the backbone to recent inputs, then train. The command proposes how.",
}
SHOWS_IN = {
    "predicted_classes": "the mix of its answers",
    "confidence": "how sure it is of its answers",
    "input_range": "inputs unlike all it was judged on",
    "quality": "how often it is right",
    "unknown_labels": "labels that are none of its classes",
    "batchnorm_drift": "what its layers see",
    "layer_drift": "what its layers see",
    "refusals": "refused inputs",
    "repeated_inputs": "repeated inputs",
    "bundle": "the files that answered",
}


@dataclass(frozen=True)
class Advice:
    """What to do: a sentence, what to send to somebody (empty where nobody is asked), and the commands to type."""

    sentence: str
    message: str = ""
    commands: Sequence[str] = field(default_factory=tuple)


def is_p_value(check: str) -> bool:
    """Whether a finding's statistic and bar are a p-value and the level at which it alarms."""
    return check in P_VALUES or check.startswith("property/")


def happened(document: Document) -> str:
    """The verdict in one sentence; the likeliest cause where one is named."""
    if document["verdict"] == "ok":
        return _quiet(document)
    causes = document["causes"]
    if document["verdict"] == "unsure":
        if document["window"]["start"] is None:
            return f"This window could not be looked at: {document['findings'][0]['reason']}"
        if document["window"]["rows"] == 0:
            return "Nothing was answered in this window, so there is nothing to judge."
        if _likely_loss(document):
            return "Accuracy has probably dropped, but there are too few labels to be sure."
        return "Too little is known to judge this window: no alarm does not mean no change."
    unnamed: Document = {"cause": "unknown_shift", "evidence": {}}
    cause = causes[0] if causes else unnamed
    if meaning := cause["evidence"].get("meaning"):
        return str(meaning)
    about = set(cause["evidence"].get("checks", ()))
    if about == {"refusals"}:
        return "Many inputs were refused; the answers that were given look as they did."
    if about and about <= {"refusals", "repeated_inputs"}:
        return "One input is sent over and over; the answers that were given look as they did."
    said = _sentence(CAUSES[cause["cause"]].meaning)
    if cause["cause"] == "label_shift" and (shares := document["estimates"]["shares"]):
        name, share = max(shares.items(), key=lambda entry: abs(entry[1]["value"] - entry[1]["reference"]))
        then, now = percent(share["reference"]), percent(share["value"])
        way = "up" if share["value"] > share["reference"] else "down"
        return f"{said} The largest change is {name!r}: {now} of inputs, {way} from {then}."
    return said


def _quiet(document: Document) -> str:
    """Of a window without an alarm: shares of classes can look other ones before any test can tell."""
    shares = document["estimates"]["shares"] or {}
    apart = {name: share for name, share in shares.items() if not share["low"] <= share["reference"] <= share["high"]}
    if not apart:
        return "Answers and inputs look as they did when the model was judged."
    name, share = max(apart.items(), key=lambda entry: abs(entry[1]["value"] - entry[1]["reference"]))
    between = f"{percent(share['low'])} to {percent(share['high'])}"
    return (
        f"No test alarms, but classes may come in other shares: {name!r} is estimated at {percent(share['value'])} of "
        f"inputs ({between}), {percent(share['reference'])} in the reference."
    )


def shows_in(document: Document) -> str:
    """What the likeliest cause was noticed by, as a sentence; empty where nothing was named."""
    checks = document["causes"][0]["evidence"].get("checks", ()) if document["causes"] else ()
    seen = [
        SHOWS_IN.get(check) or (f"the inputs’ {check.partition('/')[2].replace('_', ' ')}" if "/" in check else check)
        for check in checks
    ]
    if len(seen) > 1:
        seen[-2:] = [f"{seen[-2]} and {seen[-1]}"]
    return f"It shows in {', '.join(seen)}." if seen else ""


def layers_moved(columns: Sequence[Document]) -> str:
    """When and where the inputs of layers moved, in one sentence.

    Args:
        columns: hours, oldest first: {`when`, `beyond`, `moved`}, one value a layer; empty where nothing is known.
    """
    known = [column for column in columns if column["beyond"]]
    newest, layers = known[-1], len(known[-1]["moved"])
    count = sum(newest["moved"])
    if not count:
        before = sum(any(column["moved"]) for column in known)
        if not before:
            return f"None of {layers} layers moved."
        return f"None of {layers} layers moved at the end; in {before} of {len(known)} hours some did."
    since = newest
    for column in reversed(known):
        if not any(column["moved"]):
            break
        since = column
    if which := OF_FEW_LAYERS.get(tuple(newest["moved"])):
        return f"{which} moved, since {since['when']}."
    third = max(1, layers // 3)
    early, late = (sum(part) / len(part) for part in (newest["beyond"][:third], newest["beyond"][-third:]))
    where = "early layers more than late ones" if early > 2 * late else "late layers more than early ones"
    where = where if early > 2 * late or late > 2 * early else "early and late layers alike"
    return f"{count} of {layers} layers moved, {where}, since {since['when']}."


def others(document: Document) -> list[str]:
    """A sentence for each further cause."""
    return [
        f"{entry['cause']}: {entry['evidence'].get('meaning') or CAUSES[entry['cause']].meaning}".rstrip(".") + "."
        for entry in document["causes"][1:]
    ]


def sure(document: Document) -> list[str]:
    """How sure the verdict is, and how sure the name: what bears it, and what was ruled out."""
    return [said for said in (_of_alarm(document), _of_name(document)) if said]


def advice(model: str, document: Document) -> Advice:
    """The cheapest remedy as something to type or to send."""
    name = shlex.quote(model)
    failed = _findings(document, "fail")
    remedy = document["remedy"]
    if document["verdict"] != "alert":
        waiting = [one["action"] for one in _likely_loss(document) or _findings(document, "unsure") if one["action"]]
        if document["verdict"] == "unsure" and waiting:
            return Advice(waiting[0])
        return Advice("Nothing." if document["verdict"] == "ok" else "Look again when there is more traffic.")
    if remedy == "fix_client":
        return _fix_client(model, document, failed)
    if remedy == "rollback":
        action = next((finding["action"] for finding in failed if finding["check"] == "bundle"), "")
        sentence = f"{action} If it goes on, go back to the version before." if action else "Go back one version."
        return Advice(sentence, commands=("headstart doctor", f"headstart rollback {name}"))
    if remedy in CURES:
        second = (f"headstart remedy {name} {remedy}",) if remedy in CARRIED_OUT else ()
        return Advice(CURES[remedy], commands=(f"headstart remedy {name}", *second))
    if remedy == "collect_labels":
        return Advice(
            "Look at inputs of this window and send the right labels back, also of answers that are right: labels "
            "show how much was lost. Where journal.raw is sampled, they train the next version, too.",
            commands=(
                SEND_LABELS.format(name=name, body=BODY),
                f"headstart add {name} --from-feedback",
                f"headstart run {name}",
            ),
        )
    return Advice(failed[0]["action"] if failed and failed[0]["action"] else "Look at the findings below.")


def span(window: Document) -> str:
    """`2 March 2026, 11:00 to 12:00 UTC`."""
    end = datetime.fromisoformat(window["end"])
    if window["start"] is None:
        return f"{_day(end)}, until {end:%H:%M} UTC"
    start = datetime.fromisoformat(window["start"])
    if start.date() == end.date():
        return f"{_day(start)}, {start:%H:%M} to {end:%H:%M} UTC"
    return f"{_day(start)}, {start:%H:%M} to {_day(end)}, {end:%H:%M} UTC"


def short(moment: str) -> str:
    """`2 Mar 12:00`."""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%b %H:%M}"


def first_up(clause: str) -> str:
    """With a capital letter at its beginning."""
    return clause[:1].upper() + clause[1:]


def p_value(value: float) -> str:
    """`p = 3 × 10⁻⁹`."""
    return f"p = {scientific(value)}" if value > 0 else f"p < {scientific(1e-300)}"


def one_in(level: float) -> str:
    """`one look in 2,191`."""
    return f"one look in {round(1 / level):,}"


def _of_alarm(document: Document) -> str:
    """What an alarm, or none, is worth."""
    tested = [
        finding
        for finding in document["findings"]
        if is_p_value(finding["check"]) and finding["bar"] and finding["statistic"] is not None
    ]
    if not tested:
        return ""
    level = sum(finding["bar"] for finding in tested)
    tests = f"{len(tested)} statistical {'test' if len(tested) == 1 else 'tests'}"
    failed = [finding for finding in tested if finding["verdict"] == "fail"]
    if not failed:
        return f"None of {tests} alarmed. Where nothing has changed, {one_in(level)} alarms by chance."
    smallest = min(failed, key=lambda finding: finding["statistic"])
    lowest = p_value(smallest["statistic"]).removeprefix("p = ").replace("p <", "below")
    return (
        f"{len(failed)} of {tests} alarmed; the smallest p-value is {lowest}, its alarm threshold "
        f"{scientific(smallest['bar'])}. Where nothing has changed, {one_in(level)} alarms by chance."
    )


def _of_name(document: Document) -> str:
    """How well the likeliest cause is borne out."""
    if document["verdict"] != "alert" or not document["causes"]:
        return ""
    cause = document["causes"][0]
    evidence, score = cause["evidence"], cause["score"]
    if cause["cause"] == "model_artifact":
        return "The name is certain: hashes of files were compared, nothing was estimated."
    if cause["cause"] == "label_shift":
        return (
            "Inputs from an unknown class are ruled out. After reweighting the classes, nothing else differs "
            f"(p = {score:.2g})."
        )
    if cause["cause"] == "new_class":
        return "The labels that came say so; nothing was estimated."
    if evidence.get("fault"):
        return (
            f"This fault explains {percent(score)} of the change in input properties. No known fault of another cause "
            "explains as much."
        )
    if set(evidence.get("checks", ())) <= {"refusals", "repeated_inputs"}:
        return "Requests were counted; nothing was estimated."
    if alike := evidence.get("looks_like"):
        explained = ". ".join(
            f"{first_up(FAULTS[each['fault']].meaning) if each['fault'] in FAULTS else each['fault']}: "
            f"{percent(each['explained'])} of it"
            for each in alike
        )
        return f"Several faults, or a real change in the inputs, could explain this. {explained}."
    if cause["cause"] == "unknown_shift":
        return "Something has changed, but neither a known fault nor new class shares explain all of it."
    return f"Score of this cause: {score:.2f} (of 1)."


def _fix_client(model: str, document: Document, failed: Sequence[Document]) -> Advice:
    """A message to whoever sends damaged inputs."""
    evidence, window = document["causes"][0]["evidence"], document["window"]
    client = evidence.get("client")
    when = span(window)
    name = shlex.quote(model)
    by_check = {finding["check"]: finding for finding in failed}
    checks = set(evidence.get("checks", ()))
    if fault := FAULTS.get(evidence.get("fault", "")):
        share = client["share"] if client else evidence["share"]
        inputs = f"the {client['inputs']:,} distinct inputs you sent" if client else "the inputs"
        told = f"{first_up(fault.meaning)} in about {share:.0%} of {inputs} to {model} on {when}."
    elif "refusals" in by_check and checks == {"refusals"}:
        reasons = by_check["refusals"]["evidence"]["reasons"]
        first = next(iter(reasons), "").rstrip(".")
        told = f"{by_check['refusals']['evidence']['refused']:,} of your inputs to {model} were refused on {when}"
        told += f", most because: {first}." if first else "."
    elif "repeated_inputs" in by_check and checks <= {"refusals", "repeated_inputs"}:
        most = by_check["repeated_inputs"]["evidence"]["most_repeated"]
        return Advice(by_check["repeated_inputs"]["action"], f"You sent one input {most:,} times to {model} on {when}.")
    else:
        told = f"Inputs to {model} look empty or damaged on {when}."
    check = f"To check one of yours: POST /verify/{model} says where it first differs from what the model expects."
    return Advice(
        f"Contact {client['name']}:" if client else "Contact whoever sends these inputs:",
        f"{told} Please send them raw, as they are before any preparation. {check}",
        (f"headstart diff-client {name} RAW TENSOR",),
    )


def _likely_loss(document: Document) -> list[Document]:
    """What labels showed where nothing but they makes a window unsure."""
    unsure = _findings(document, "unsure")
    if {"window", "reference", "monitor"} & {finding["check"] for finding in unsure}:
        return []
    return [finding for finding in unsure if finding["check"] == "quality" and finding["statistic"] is not None]


def _findings(document: Document, verdict: str) -> list[Document]:
    return [finding for finding in document["findings"] if finding["verdict"] == verdict]


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _sentence(clause: str) -> str:
    return f"{first_up(clause).rstrip('.')}."

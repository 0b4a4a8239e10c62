"""What the page says in plain words: verdict, metrics, gates and choice, each a sentence from numbers."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.evaluation import gates
from headstart.report import plan as plan_words
from headstart.report import selection
from headstart.report.evidence import Evidence
from headstart.report.plots import percent
from headstart.report.vocabulary import BASELINES, MEANINGS, duration, layer, title

Document = Mapping[str, Any]
PROVISIONAL = "Provisional champion"


@dataclass(frozen=True)
class Status:
    """Where the model stands: `tone` is pass, fail, unsure or open; a badge; one sentence."""

    tone: str
    badge: str
    sentence: str


def status(evidence: Evidence) -> Status:
    """The verdict and what it means for production."""
    judgement, screen = evidence.judgement, evidence.screen
    if judgement is None or (screen and screen["verdict"] == "fail"):  # what fails its screen is never judged
        return _unjudged(evidence)
    verdict, version = judgement["verdict"], judgement.get("version")
    findings = judgement["findings"]
    live = _live(evidence)
    stays = _stays(live)
    if verdict != "pass":
        names = [title(one["check"]) for one in findings if one["verdict"] == verdict]
        said = "; ".join(f"“{name}”" for name in names)
        if live and live["version"] == version and live.get("provisional"):
            return Status("unsure", PROVISIONAL, _provisional(findings, version))
        if live and live["version"] == version:
            could_not = "said no" if verdict == "fail" else "could not be sure"
            return Status(
                verdict,
                "Champion",
                f"{_count(len(names), 'gate')} {could_not}: {said}. {_overridden(live)} So version {version} is the "
                "one that answers in production.",
            )
        if verdict == "fail":
            return Status("fail", "Refused", f"{_count(len(names), 'gate')} said no: {said}. So {stays}.")
        return Status(
            "unsure",
            "Not sure enough",
            f"{_count(len(names), 'gate')} could not be sure: {said}. So {stays}.",
        )
    passed = f"It passed {'its gate' if len(findings) == 1 else f'all {len(findings)} gates'}"
    alias = _alias(evidence)
    if alias == "champion":
        return Status("pass", "Champion", f"{passed}; version {version} is the one that answers in production.")
    if alias == "challenger":
        return Status("open", "Challenger", f"{passed}. Version {version} waits for someone to promote it; {stays}.")
    if version is None:
        return Status("open", "Passed", f"{passed}, and is not registered yet; {stays}.")
    return Status("open", "Passed", f"{passed} and is registered as version {version}; {stays}.")


def _provisional(findings: Sequence[Document], version: Any) -> str:
    """What a provisional champion is, how sure its lead is and what would settle it."""
    told = f"Version {version} answers in production, provisionally: "
    if (found := gates.doubt(findings)) is None:
        return f"{told}when it was promoted there was no sound champion."
    doubt = found["evidence"]
    name = BASELINES.get(doubt["baseline"], doubt["baseline"])
    return (
        f"{told}it is ahead of {name} on the test examples, which make that {100 * doubt['sure']:.0f}% sure. "
        f"{gates.settled(doubt)}"
    ).rstrip()


def way_out(evidence: Evidence) -> str:
    """The command that promotes what the gates did not pass; empty where there is nothing to override."""
    judgement = evidence.judgement
    if judgement is None or judgement["verdict"] == "pass" or judgement.get("version") is None:
        return ""
    live = _live(evidence)
    if live and live["version"] == judgement["version"]:
        return ""
    return f"headstart promote {shlex.quote(evidence.model)} {judgement['version']} --reason WHY"


def summary(evidence: Evidence) -> str:
    """What the model is, on what it stands and what it was measured on."""
    sentences = []
    evaluation, plan = evidence.evaluation, evidence.plan
    things = "images" if modality(evidence) == "image" else "texts"
    if classes := class_names(evidence):
        shown = ", ".join(classes) if len(classes) <= 12 and sum(map(len, classes)) < 90 else None
        shown = shown or f"{classes[0]}, {classes[1]} and {len(classes) - 2} more"
        sentences.append(f"Sorts {things} into {len(classes)} classes: {shown}.")
    label = selection.kept(evidence.history)["label"] if evidence.history else None
    if label is None and plan and len(plan["shortlist"]) == 1:
        label = plan["shortlist"][0]["label"]
    if label:
        trained = evidence.rows.get("train")
        on = f" on {trained:,} labelled examples" if trained else ""
        base = f", starting from the pretrained network {evidence.backbone['name']}" if evidence.backbone else ""
        sentences.append(f"Made by {label}{on}{base}.")
    if evaluation:
        n = evaluation["metrics"]["accuracy"]["n"]
        groups = evaluation.get("groups")
        among = f", in {groups:,} groups" if groups else ""
        sentences.append(f"Measured on {n:,} examples it never saw{among}, on the very file that is served.")
        if shares := evaluation.get("shares"):
            sentences.append(
                f"They are {shares['rows']:,} of {shares['of']:,} test examples, chosen so that classes come in the "
                "shares that production sees, which its probabilities are set to."
            )
    return " ".join(sentences)


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Up to three figures beside the verdict: the lead over random weights, over something simple, the time it took."""
    result = []
    if evidence.compared:
        found = {one["strategy"]: one["validation"]["accuracy"]["value"] for one in evidence.compared["candidates"]}
        best = max((value for name, value in found.items() if name != "scratch"), default=None)
        if best is not None and "scratch" in found:
            lead = _points(best - found["scratch"])
            result.append((f"{lead} points", "on validation over the same network from random weights"))
    if evidence.evaluation and evidence.evaluation["baselines"]:
        baselines = evidence.evaluation["baselines"]
        best = max(baselines, key=lambda name: (baselines[name]["accuracy"]["value"], name))
        lead = evidence.evaluation["metrics"]["accuracy"]["value"] - baselines[best]["accuracy"]["value"]
        result.append((f"{_points(lead)} points", f"over the best simple baseline, {BASELINES.get(best, best)}"))
    if evidence.timing:
        seconds = sum(document["seconds"] for document in evidence.timing.values())
        result.append((duration(seconds), "of work, all stages together"))
    return result


def choice(plan: Document, history: Document | None) -> str:
    """Which strategies were tried, which one was kept, and what that one does."""
    if history is None:
        return f"{plan_words.summary(plan)} Training has not run yet."
    kept = selection.kept(history)
    how = "Asked for by plan.strategy" if plan["forced"] else "Kept"
    return f"{how}: {kept['label']} ({kept['strategy']}). {MEANINGS.get(kept['strategy'], '')}".strip()


def validation_check(history: Document | None, evaluation: Document | None) -> str:
    """How test and validation accuracy compare, where their intervals are apart; empty where they are not."""
    if evaluation is None or history is None:
        return ""
    measured, expected = evaluation["metrics"]["accuracy"], selection.kept(history)["validation"]["accuracy"]
    if expected.get("low") is None:
        return ""
    if measured["high"] < expected["low"]:
        way = "lower"
    elif measured["low"] > expected["high"]:
        way = "higher"
    else:
        return ""
    return f"On the test set it is significantly {way}: {percent(measured['value'])} are right."


def classical(evaluation: Document | None) -> str:
    """How the classical baseline was chosen; empty for evaluations of format 1, which tried one."""
    tried = (evaluation or {}).get("tried") or []
    chosen = next((one for one in tried if one["name"] in (evaluation or {})["baselines"]), None)
    if chosen is None or chosen["validation"] is None:
        return ""
    best = max(one["validation"] for one in tried)
    return (
        f"The classical baseline, {BASELINES.get(chosen['name'], chosen['name'])}, is the best of {len(tried)} on "
        f"validation ({percent(best)})."
    )


def layers(measured: Sequence[Document], truncation: Document | None) -> str:
    """Which layer's features serve the task best when nothing but a last layer is learned, and where the probe ends."""
    first, last = measured[0], measured[-1]
    best = max(reversed(measured), key=lambda one: one["value"])  # of equal ones the last
    if truncation and truncation["code"] == "truncated":
        best = next(one for one in measured if one["layer"] == truncation["layer"])
        gained = truncation["gained"]
        return (
            f"A simple classifier on the features of {layer(best['layer'])} gets {percent(best['value'])} right, on "
            f"the last layer {percent(last['value'])}: {100 * gained['value']:.1f} points more on the same examples ("
            f"{100 * gained['low']:.1f} to {100 * gained['high']:.1f}). The top is tied to what it was pretrained for, "
            f"so a linear probe ends there, on {truncation['kept']} of {truncation['of']} blocks; strategies that "
            "train layers keep all of them."
        )
    text = f"A simple classifier on the features of {layer(best['layer'])} gets {percent(best['value'])} right"
    if best is last:
        return f"{text}, the first layer {percent(first['value'])}: what was learned before carries over to the top."
    if last["high"] >= best["low"]:
        return f"{text}; the last layer, {percent(last['value'])}, is not clearly worse. Most of the network transfers."
    return f"{text}, the last layer only {percent(last['value'])}: the top is tied to what it was pretrained for."


def trust(evaluation: Document, calibration: Document | None) -> str:
    """Calibration before and after, in points, and what it does to the answers."""
    after, before = evaluation["metrics"]["ece"], evaluation["uncalibrated"]["ece"]
    text = (
        f"On average, stated confidence and how often it is right differ by {100 * after['value']:.1f} points; "
        f"before calibration it was {100 * before['value']:.1f}."
    )
    temperature, biases = (calibration or {}).get("temperature", 1.0), (calibration or {}).get("bias") or [0.0]
    way = "softens" if temperature > 1 else "sharpens" if temperature < 1 else "leaves"
    if any(biases):
        also = "a bias for each class can also change the label"
        return f"{text} A temperature of {temperature:.2f} {way} its answers; {also}."
    if temperature == 1:
        return text
    return f"{text} A temperature of {temperature:.2f} {way} its answers; the label never changes by it."


def modality(evidence: Evidence) -> str:
    """`text`, `image`, or empty where no document says so."""
    documents = (evidence.contract, evidence.backbone, *evidence.params.values())
    return next((one["modality"] for one in documents if one and "modality" in one), "")


def class_names(evidence: Evidence) -> list[str]:
    """From the evaluation, else from the contract; empty where neither is there."""
    return list((evidence.evaluation or {}).get("classes") or (evidence.contract or {}).get("labels") or ())


def _live(evidence: Evidence) -> Document | None:
    """The champion, as the registry had it when the run ended or someone promoted; older runs name its version only."""
    judgement, run = evidence.judgement or {}, evidence.run or {}
    if "live" in run:
        return dict(run["live"]) if run["live"] else None
    champion = judgement.get("version") if _alias(evidence) == "champion" else judgement.get("champion")
    return None if champion is None else {"version": champion, "verdict": "pass", "overridden": ""}


def _stays(live: Document | None) -> str:
    if live is None:
        return "nothing is live yet"
    although = "" if live["verdict"] == "pass" else f" although its gates said {live['verdict']}"
    why = f" (promoted{although}: {live['overridden']})" if live["overridden"] else ""
    return f"version {live['version']} stays champion{why}"


def _overridden(live: Document) -> str:
    return f"It was promoted all the same: {live['overridden'].rstrip('.')}." if live["overridden"] else ""


def _alias(evidence: Evidence) -> str | None:
    """This version's alias: the release's own word; a run document about another version says nothing."""
    judgement, run = evidence.judgement or {}, evidence.run or {}
    version = judgement.get("version")
    if version is None:
        return None
    if run.get("version") == version and run.get("alias"):
        return str(run["alias"])
    return (
        str(judgement["alias"])
        if judgement.get("alias")
        else "champion"
        if judgement.get("champion") == version
        else None
    )


def _unjudged(evidence: Evidence) -> Status:
    screen = evidence.screen
    if screen and screen["verdict"] == "fail":
        names = "; ".join(f"“{title(one['check'])}”" for one in screen["findings"] if one["verdict"] == "fail")
        return Status("fail", "Stopped early", f"Training did not pass its screen: {names}. It was never exported.")
    if evidence.evaluation:
        return Status("open", "Measured", "It is trained and measured, and no gate has judged it yet.")
    return Status("open", "Unfinished", "The run did not get as far as a measurement; below is what there is.")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "−")


def _count(number: int, noun: str) -> str:
    words = {1: "One", 2: "Two", 3: "Three", 4: "Four"}
    return f"{words.get(number, str(number))} {noun}{'' if number == 1 else 's'}"

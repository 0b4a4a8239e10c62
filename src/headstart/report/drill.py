"""One self-contained page about a drill: what was planted, what was noticed, and what a cure gave back."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from headstart.report import sparklines, vocabulary
from headstart.report.plots import percent, rounded

HERE = Path(__file__).parent
UNNAMED = "unknown_shift"
NO_BATCHNORM = "the network has no BatchNorm."  # `drill.candidates` says so


def render(document: Mapping[str, Any]) -> str:
    """The page as HTML; everything that comes from data is escaped.

    Args:
        document: what `headstart drill` gives, by model.
    """
    return _environment().get_template("drill.html").render(_view(document))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, rounded=rounded, breakable=str)
    environment.filters.update(title_of=vocabulary.title, sparkline_of=sparklines.of_finding)
    environment.globals["style"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))  # our own files
    environment.globals["own_style"] = Markup((HERE / "drill.css").read_text(encoding="utf-8"))
    return environment


def _view(document: Mapping[str, Any]) -> dict[str, Any]:
    counts = document["score"]
    return {
        "model": document["model"],
        "version": document["version"],
        "status": _status(counts),
        "facts": _facts(document),
        "before": [_candidate(row) for row in document["before"] if row["reason"] != NO_BATCHNORM],
        "without_batchnorm": sum(row["reason"] == NO_BATCHNORM for row in document["before"]),
        "after": [_window(row) for row in document["after"]],
        "clean": document["clean"],
    }


def _status(counts: Mapping[str, int]) -> dict[str, str]:
    planted = counts["planted_before"] + counts["planted_after"]
    noticed = counts["blocked"] + counts["detected"]
    wrong = counts["false_alarms"] + counts["clean_blocked"]
    sentence = f"{noticed} of {planted} planted faults were noticed."
    if noticed == planted:
        sentence = f"All {planted} planted faults were noticed."
    parts = []
    if counts["planted_before"]:
        parts.append(f"{counts['blocked']} of {counts['planted_before']} were blocked before deployment")
    if counts["planted_after"]:
        parts.append(f"{counts['detected']} of {counts['planted_after']} were detected after it")
        parts.append(f"{counts['named']} of those named right, {counts['named_wrongly']} wrongly")
    more = "; ".join(parts) + ". " + ("Nothing sound was stopped." if not wrong else f"False alarms: {wrong}.")
    tone = "pass" if noticed == planted and not wrong and not counts["named_wrongly"] else "fail"
    return {"tone": tone, "badge": f"{noticed} of {planted} noticed", "sentence": sentence, "more": more}


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = document["score"]
    facts = []
    if counts["planted_after"]:
        early = sum(1 for row in document["after"] if row["detected_after"] and row["detected_after"] <= 50)
        facts.append((f"{early} of {counts['planted_after']}", "detected within 50 answers"))
        carried_out = [row for row in document["after"] if row["remedy"] != "fix_client"]
        cured = [row["accuracy"] for row in carried_out if row["accuracy"]["cured"] is not None]
        lost = [each["clean"] - each["broken"] for each in cured if each["clean"] > each["broken"]]
        won = [each["cured"] - each["broken"] for each in cured if each["clean"] > each["broken"]]
        if sum(lost) > 0:
            facts.append(
                (
                    percent(sum(won) / sum(lost)),
                    "of the accuracy lost regained by cures that headstart carries out itself",
                )
            )
    if document["clean"]:
        facts.append((str(document["clean"]["alarms"]), f"of {document['clean']['windows']} sound windows alarmed"))
    if (rows := document["rows"]) is not None:
        known = f"{rows['known']} of them known to its profile"
        if document["unlike"]:
            known = "half of test; the other half is the reference, since validation is unlike it"
        facts.append((f"{rows['validation'] + rows['test']}", f"held-out rows, {known}"))
    return [*facts, (f"{document['seconds']:.0f} s", "on this machine")]


def _candidate(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the list of candidates; the clean one passes where nothing blocks it."""
    sound = row["fault"] is None
    good = row["planted"] and (not row["blocked"] if sound else row["blocked"] and row["gate"] in (None, *row["by"]))
    title = "Nothing was planted" if sound else row["meaning"][0].upper() + row["meaning"][1:]
    if not row["planted"]:
        return {"verdict": "unsure", "title": title, "told": f"Not planted: {row['reason']}"}
    by = f"Blocked by {', '.join(row['by'])}: " if row["blocked"] else "" if sound else "Not blocked: "
    if row["blocked"] and not good and not sound:
        by = f"Stopped by {', '.join(row['by'])}, not by {row['gate']}, which should have named it: "
    told = by + re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", row["reason"])
    return {"verdict": "pass" if good else "fail", "title": title, "told": told}


def _window(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table of traffic, with what its drawing needs."""
    right = row["cause"] == row["expected"]
    wrong = row["cause"] not in (None, UNNAMED, row["expected"])
    sign = "pass" if right else "fail" if wrong else "unsure"
    drop = {"left": 0.0, "width": 0.0}
    if row["answers"]:
        ends = sorted((100 * row["accuracy"]["broken"], 100 * row["accuracy"]["clean"]))
        drop = {"left": ends[0], "width": ends[1] - ends[0]}
    return {**row, "right": right, "wrong": wrong, "sign": sign, "drop": drop}

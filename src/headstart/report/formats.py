"""Documents of older formats as the installed version writes them, as far as they say it.

A champion keeps the plan and the history that its own version of headstart wrote, and its page may be drawn again.
"""

from collections.abc import Mapping
from typing import Any

from headstart.report.vocabulary import LABELS

Document = Mapping[str, Any]
PLAN, HISTORY = 3, 3


def plan(document: Document) -> Document:
    """A `plan.json` as format 3 has it; formats 1 and 2 chose one strategy by a race."""
    if document.get("format", 1) >= PLAN:
        return document
    strategy, work, evidence = document["strategy"], document.get("work") or {}, document["evidence"]
    of, memory = work.get("of") or {}, work.get("memory_mb") or {}
    near = (evidence.get("transferability") or {}).get("neighbours")
    domain = (evidence.get("gap") or {}).get("domain") or {}
    cut = document.get("layers")
    chosen = {
        "strategy": strategy,
        "label": LABELS.get(strategy, strategy),
        "reason": {"code": "recorded", "text": document["reason"]},
        "work": of.get(strategy, 0),
        "memory_mb": memory.get(strategy),
    }
    return {
        "format": PLAN,
        "forced": False,
        "unit": work.get("unit", "tokens"),
        "shortlist": [chosen],
        "excluded": [
            {
                "strategy": name,
                "label": LABELS.get(name, name),
                "reason": {"code": "recorded", "text": text},
                "work": of.get(name, 0),
            }
            for name, text in (document.get("barred") or {}).items()
        ],
        "truncation": {"code": "truncated", **cut} if cut else {"code": "none_significantly_better"},
        "evidence": {
            "backbone": evidence.get("backbone"),
            "examples": evidence["examples"],
            "probe": evidence["probe"],
            "layers": evidence.get("layers") or [],
            "neighbours": near,
            "domain_shift": {**domain, "saturated": domain.get("saturated", False)} if "value" in domain else None,
        },
    }


def history(document: Document) -> Document:
    """A `history.json` as format 3 has it.

    Format 2 has sentences where 3 has codes with numbers (`training.note` takes either), and compared what was
    mitigated with the probe alone; format 1 held one trained network against the probe.
    """
    version = document.get("format", 1)
    if version >= HISTORY:
        return document
    if version == 2:
        reason = document["reason"]
        code = "better_than_mitigated" if reason["code"] == "mitigated_worse_than_probe" else reason["code"]
        return {**document, "format": HISTORY, "reason": {**reason, "code": code}}
    used = document["strategy_used"]
    planned = document.get("strategy_planned", used)
    entries = []
    if probe := document.get("probe"):
        entries.append(_entry("linear_probe", probe, None))
    if planned != "linear_probe":
        epochs = document.get("epochs") or []
        best: Document = next((one for one in epochs if one["epoch"] == document.get("best_epoch")), {})
        names = ("steps", "epochs", "best_epoch", "precision", "checks", "attempts", "notes")
        training = {**{name: document.get(name) for name in names}, "rates": document.get("groups") or []}
        entry = _entry(planned, document.get("fine_tune") or best, training)
        ladder = document.get("ladder")
        entry["start_loss"] = (document.get("start") or probe or {}).get("validation/loss")
        entry["retention"] = document.get("retention")
        entry["mitigation"] = {**ladder, "code": "recorded", "text": ladder["reason"]} if ladder else None
        entries.append(entry)
    return {
        "format": HISTORY,
        "kept": used,
        "reason": {"code": "recorded", "text": document["reason"]},
        "candidates": entries,
    }


def _entry(strategy: str, measured: Document, training: Document | None) -> dict[str, Any]:
    def value(name: str) -> dict[str, Any]:
        return {"value": measured.get(f"validation/{name}"), "low": None, "high": None}

    return {
        "strategy": strategy,
        "label": LABELS.get(strategy, strategy),
        "outcome": "trained",
        "validation": {
            "accuracy": value("accuracy"),
            "macro_f1": value("macro_f1"),
            "loss": measured.get("validation/loss"),
        },
        "training": training,
    }

"""One self-contained page about one run, for people: no network, no script, the same bytes for the same evidence."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from headstart import artifacts
from headstart.report import advice, confusion, decision, forgetting, plots, strips, tables, vocabulary, words
from headstart.report.evidence import Evidence, gather
from headstart.report.plots import Row, percent

HERE = Path(__file__).parent
Document = Mapping[str, Any]


def write(model: str) -> Path:
    """Render what lies here to `artifacts/releases/<model>/report.html`; where that is."""
    path = artifacts.release(model) / "report.html"
    artifacts.write_text(path, render(gather(model)))
    return path


def render(evidence: Evidence) -> str:
    """The page as HTML; everything that comes from data is escaped, what is absent is named."""
    html = environment().get_template("page.html").render(_view(evidence))
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written


@cache
def environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, rounded=plots.rounded, duration=vocabulary.duration)
    environment.filters.update(title_of=vocabulary.title, strip_of=strips.of_finding, breakable=_breakable)
    environment.globals["style"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))  # our own file
    return environment


def _view(evidence: Evidence) -> dict[str, Any]:
    """What the template shows, section by section; None for a section without evidence."""
    level = float((evidence.params.get("evaluate") or {}).get("level", 0.95))
    return {
        "evidence": evidence,
        "level": level,
        "kind": {"image": "image classifier", "text": "text classifier"}.get(words.modality(evidence), "classifier"),
        "status": words.status(evidence),
        "way_out": words.way_out(evidence),
        "lede": words.lede(evidence),
        "tiles": strips.tiles(evidence),
        "facts": words.facts(evidence),
        "verdicts": vocabulary.VERDICTS,
        "aside": vocabulary.ASIDE,
        "choice": _choice(evidence),
        "few": _few_labels(evidence),
        "layers": _layers(evidence),
        "curve": _curve(evidence.history, words.untrained(evidence)),
        "forgotten": _forgotten(evidence.history),
        "errors": _errors(evidence),
        "trust": _trust(evidence, level),
        "classes": tables.class_rows(evidence.evaluation, level) if evidence.evaluation else None,
        "cards": tables.cards(evidence),
        "splits": tables.splits(evidence),
        "provenance": tables.provenance(evidence),
        "lineage": tables.lineage(evidence),
        "seconds": sum(document["seconds"] for document in evidence.timing.values()),
        "steps": advice.steps(evidence),
    }


def _choice(evidence: Evidence) -> dict[str, Any] | None:
    plan, evaluation = evidence.plan, evidence.evaluation
    if plan is None:
        return None
    rows = [_row("predicted by the plan", plan["predicted"])]
    if evaluation:
        rows.insert(0, _row("this model, measured", evaluation["metrics"]["accuracy"], strong=True))
        rows += [
            _row(vocabulary.BASELINES.get(name, name), document["accuracy"])
            for name, document in sorted(evaluation["baselines"].items(), key=_baseline_accuracy, reverse=True)
        ]
    alt = "Accuracy: " + "; ".join(f"{row.label} {percent(row.value)}" for row in rows)
    return {
        "words": words.choice(plan, evidence.history, forced=words.forced(evidence)),
        "reason": plan["reason"],
        "foresight": words.foresight(plan, evaluation),
        "classical": words.classical(evaluation),
        "card": decision.view(plan, (evidence.timing.get("plan") or {}).get("parts") or {}) if "race" in plan else None,
        "chart": plots.intervals(rows, alt, width=450, labels=140),
    }


def _baseline_accuracy(item: tuple[str, Document]) -> float:
    return float(item[1]["accuracy"]["value"])


def _few_labels(evidence: Evidence) -> dict[str, Any] | None:
    few = ((evidence.plan or {}).get("evidence") or {}).get("few_labels")
    if not few:
        return None
    seconds = (evidence.timing.get("plan") or {}).get("parts") or {}
    notes = {
        side: vocabulary.duration(seconds[f"few_labels/{side}"]) if f"few_labels/{side}" in seconds else ""
        for side in ("transfer", "scratch")
    }
    rows = [
        _row("transferred", few["transfer"], strong=True, note=notes["transfer"]),
        _row("from scratch", few["scratch"], note=notes["scratch"]),
    ]
    if "probe" in few:
        rows.insert(1, _row("last layer only", few["probe"]))
    chance = 1 / few["classes"]
    alt = words.gain(few, seconds)
    return {
        "words": alt,
        "few": few,
        "chart": plots.intervals(
            rows, alt, width=450, labels=96, mark=(chance, f"guessing {plots.rounded(chance)}"), pitch=36
        ),
    }


def _layers(evidence: Evidence) -> dict[str, Any] | None:
    measured = ((evidence.plan or {}).get("evidence") or {}).get("layers") or []
    groups = (evidence.history or {}).get("groups") or []
    if not measured and not groups:
        return None
    view: dict[str, Any] = {"words": None, "probe": None, "rates": None}
    if measured:
        best = max(measured, key=lambda one: one["value"])
        rows = [_row(vocabulary.layer(one["layer"]), one, strong=one is best) for one in reversed(measured)]
        view["words"] = words.layers(measured, (evidence.plan or {}).get("layers"))
        view["probe"] = plots.intervals(rows, view["words"], width=362, labels=96, pitch=24)
    groups = [{**group, "name": vocabulary.layer(group["name"])} for group in groups]
    history = evidence.history or {}
    if groups and history.get("epochs") and history["strategy_used"] != "linear_probe":
        alt = "Highest learning rate by layer, head first: " + ", ".join(
            f"{group['name']} {'frozen' if group['frozen'] else plots.scientific(group['learning_rate'])}"
            for group in sorted(groups, key=lambda group: -group["depth"])
        )
        view["rates"] = plots.learning_rates(groups, alt)
    return view


def _curve(history: Document | None, untrained: str) -> dict[str, Any] | None:
    if history is None:
        return None
    probe = (history.get("probe") or {}).get("validation/accuracy")
    epochs: Sequence[Document] = history.get("epochs") or []
    if not epochs:
        return {"loss": None, "reason": untrained, "probe": probe, "told": [], "discarded": False}
    best = history["best_epoch"]
    over = f"over {len(epochs)} epochs" + (f"; epoch {best} was the best" if best else "")
    return {
        "loss": plots.losses(epochs, best, f"Training and validation loss {over}"),
        "accuracy": plots.accuracies(epochs, best, probe, f"Validation accuracy {over}"),
        "reason": history["reason"],
        "probe": probe,
        "discarded": history["strategy_used"] == "linear_probe",
        "told": [*(attempt["reason"] for attempt in history.get("attempts", [])), *history.get("notes", [])],
    }


def _forgotten(history: Document | None) -> dict[str, Any] | None:
    """What training forgot is told where its result is served: a probe leaves the backbone as it was."""
    return None if history is None or history["strategy_used"] == "linear_probe" else forgetting.view(history)


def _errors(evidence: Evidence) -> dict[str, Any] | None:
    evaluation = evidence.evaluation
    if evaluation is None:
        return None
    classes, counts = evaluation["classes"], evaluation["confusion"]
    ranked = tables.most_mixed_up(evaluation)
    total, right = sum(map(sum, counts)), sum(line[place] for place, line in enumerate(counts))
    alt = f"Confusion matrix of {len(classes)} classes: {right} of {total} right." + "".join(
        f" {one.true} taken for {one.predicted}: {one.count}." for one in ranked
    )
    return {
        "matrix": confusion.matrix(classes, counts, alt, ranked=ranked),
        "ranked": ranked,
        "many": len(classes) > confusion.NUMBERED,
        "total": total,
        "wrong": total - right,
    }


def _trust(evidence: Evidence, level: float) -> dict[str, Any] | None:
    evaluation = evidence.evaluation
    if evaluation is None:
        return None
    text = words.trust(evaluation, evidence.calibration)
    bins = [one for one in evaluation["reliability"] if one["n"]]
    chart = plots.reliability(evaluation["reliability"], f"Reliability diagram. {text}", level=level) if bins else None
    return {"words": text, "chart": chart}


def _breakable(text: str) -> Markup:
    """Escaped, with places where a long label may be broken."""
    return Markup(re.sub(r"(?<=[_/.:-])(?=\w)", "<wbr>", str(escape(text))))  # escaped first


def _row(label: str, interval: Document, *, strong: bool = False, note: str = "") -> Row:
    return Row(label, interval["value"], interval["low"], interval["high"], note=note, strong=strong)

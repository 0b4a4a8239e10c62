"""One self-contained page about one run, for people: no network, no script, the same bytes for the same evidence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.report import (
    advice,
    confusion,
    forgetting,
    plan,
    plots,
    selection,
    sparklines,
    tables,
    training,
    vocabulary,
    words,
)
from headstart.report.evidence import Evidence, gather
from headstart.report.plots import Row, percent
from headstart.report.templates import environment

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


def _view(evidence: Evidence) -> dict[str, Any]:
    """What the template shows, section by section; None for a section without evidence."""
    level = float((evidence.params.get("evaluate") or {}).get("level", 0.95))
    return {
        "evidence": evidence,
        "level": level,
        "kind": {"image": "image classifier", "text": "text classifier"}.get(words.modality(evidence), "classifier"),
        "status": words.status(evidence),
        "way_out": words.way_out(evidence),
        "summary": words.summary(evidence),
        "tiles": sparklines.tiles(evidence),
        "facts": words.facts(evidence),
        "verdicts": vocabulary.VERDICTS,
        "aside": vocabulary.ASIDE,
        "choice": _choice(evidence),
        "compared": _compared(evidence),
        "layers": _layers(evidence),
        "curve": _curve(evidence.history),
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
    found, evaluation, history = evidence.plan, evidence.evaluation, evidence.history
    if found is None:
        return None
    expected = selection.kept(history)["validation"]["accuracy"] if history else {"low": None}
    rows = [_row("the same, on validation", expected)] if expected["low"] is not None else []
    if evaluation:
        rows.insert(0, _row("this model, on test", evaluation["metrics"]["accuracy"], strong=True))
        rows += [
            _row(vocabulary.BASELINES.get(name, name), document["accuracy"])
            for name, document in sorted(evaluation["baselines"].items(), key=_baseline_accuracy, reverse=True)
        ]
    alt = "Accuracy: " + "; ".join(f"{row.label} {percent(row.value)}" for row in rows)
    parts = {stage: (evidence.timing.get(stage) or {}).get("parts") or {} for stage in ("plan", "train")}
    return {
        "words": words.choice(found, history),
        "reason": selection.reason(history) if history else "",
        "expectation": selection.expectation(history) if history else "",
        "check": words.validation_check(history, evaluation),
        "classical": words.classical(evaluation),
        "candidates": _candidates(history, parts["train"]) if history else None,
        "card": plan.view(found, parts["plan"]),
        "chart": plots.intervals(rows, alt, width=450, labels=150) if rows else None,
    }


def _candidates(history: Document, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The table of trained candidates, their intervals on one scale."""
    rows = selection.rows(history, seconds)
    known = [row["accuracy"] for row in rows if row["accuracy"].get("low") is not None]
    start = plots.scale_start(min((one["low"] for one in known), default=0.0))
    for row in rows:
        row["sparkline"] = (
            sparklines.sparkline(row["accuracy"], start, 1.0) if row["accuracy"].get("low") is not None else None
        )
    return {"rows": rows, "start": start, "unit": next((row["unit"] for row in rows if row.get("unit")), "")}


def _compared(evidence: Evidence) -> dict[str, Any] | None:
    found = evidence.compared
    return None if found is None else _candidates(found, found["seconds"])


def _baseline_accuracy(item: tuple[str, Document]) -> float:
    return float(item[1]["accuracy"]["value"])


def _layers(evidence: Evidence) -> dict[str, Any] | None:
    measured = ((evidence.plan or {}).get("evidence") or {}).get("layers") or []
    kept = selection.kept(evidence.history) if evidence.history else {}
    groups = (kept.get("training") or {}).get("rates") or []
    if not measured and not groups:
        return None
    view: dict[str, Any] = {"words": None, "probe": None, "rates": None}
    if measured:
        best = max(reversed(measured), key=lambda one: one["value"])
        rows = [_row(vocabulary.layer(one["layer"]), one, strong=one is best) for one in reversed(measured)]
        view["words"] = words.layers(measured, (evidence.plan or {}).get("truncation"))
        view["probe"] = plots.intervals(rows, view["words"], width=362, labels=96, pitch=24)
    groups = [{**group, "name": vocabulary.layer(group["name"])} for group in groups]
    if groups:
        alt = "Highest learning rate by layer, head first: " + ", ".join(
            f"{group['name']} {'frozen' if group['frozen'] else plots.scientific(group['learning_rate'])}"
            for group in sorted(groups, key=lambda group: -group["depth"])
        )
        view["rates"] = plots.learning_rates(groups, alt)
    return view


def _curve(history: Document | None) -> dict[str, Any] | None:
    """How the kept candidate learned, or, where it trained no layer, those that were not kept."""
    if history is None:
        return None
    kept = selection.kept(history)
    probe = next((one for one in history["candidates"] if one["strategy"] == "linear_probe"), None)
    accuracy = probe["validation"]["accuracy"]["value"] if probe else None
    drawn = [
        {"label": one["label"], **_curves(one["training"], accuracy)}
        for one in ([kept] if kept.get("training") else selection.others(history))
        if (one.get("training") or {}).get("epochs")
    ]
    return {"solved": not kept.get("training"), "probe": accuracy, "drawn": drawn}


def _curves(found: Document, probe: float | None) -> dict[str, Any]:
    epochs, best = found["epochs"], found["best_epoch"]
    over = f"over {len(epochs)} epochs" + (f"; epoch {best} was the best" if best else "")
    return {
        "loss": plots.losses(epochs, best, f"Training and validation loss {over}"),
        "accuracy": plots.accuracies(epochs, best, probe, f"Validation accuracy {over}"),
        "told": training.notes(found),
    }


def _forgotten(history: Document | None) -> dict[str, Any] | None:
    """What training forgot; a probe leaves the backbone as it was."""
    return None if history is None else forgetting.view(selection.kept(history))


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


def _row(label: str, interval: Document, *, strong: bool = False, note: str = "") -> Row:
    return Row(label, interval["value"], interval["low"], interval["high"], note=note, strong=strong)

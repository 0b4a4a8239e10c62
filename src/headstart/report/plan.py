"""What the plan says in words: which strategies are trained and why, on the terminal and on a page of its own.

`plan.json` holds codes and numbers; sentences are made here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.report import formats, plots, vocabulary
from headstart.report.plots import percent
from headstart.report.templates import environment

Document = Mapping[str, Any]

REASONS = {
    "always": "It is always tried: no layer is trained.",
    "forced": "plan.strategy asks for it, and for nothing else.",
    "enough_labels": "The median class has {per_class:g} labels; layers are trained from {least} on.",
    "unlabelled_examples": "data.unlabelled gives examples of the domain, with which pretraining goes on.",
    "memory_for_adapters": "Training all layers needs {needed_mb:,} MB, and there are {available_mb:,} MB.",
    "probe_good_enough": "The linear probe is right on {accuracy:.1%} of training examples held out in turn (up to "
    "{up_to:.1%}), and {good_enough:.1%} is good enough (plan.good_enough).",
    "too_few_labels": "The median class has {per_class:g} labels; layers are trained from {least} on.",
    "over_budget": "It would take {work:,} {unit} of work; plan.budget allows {budget:,}.",
    "all_layers_fit": "Tried only where memory is too short for fine-tuning; here it is not.",
    "memory": "It needs {needed_mb:,} MB for weights and gradients, and there are {available_mb:,} MB.",
    "baseline": "A baseline: `headstart compare` trains it.",
    "no_unlabelled_examples": "data.unlabelled names no examples to adapt to.",
    "too_few_unlabelled_examples": "data.unlabelled leaves {rows} rows; at least {least} are needed.",
    "no_batchnorm": "A {kind} has no BatchNorm, whose statistics are what images adapt.",
    "no_masked_language_head": "How a {kind} guesses hidden words is not known here.",
    "no_mask_token": "The backbone's tokenizer has no mask token.",
    "too_few_texts_to_hold_out": "Of {texts} distinct unlabelled texts {held_out} are held out (adapt.held_out); "
    "at least {least} are needed.",
    "budget_below_one_text": "adapt.budget is {budget:,} tokens, and the first unlabelled text has {tokens:,}.",
    "no_linear_layers": "A {kind} has no linear layers below its head.",
    "recorded": "{text}",
}

INSTEAD = {
    "no_unlabelled_examples": "Name a source of them under data.unlabelled, or set plan.strategy to auto.",
    "too_few_unlabelled_examples": "Name more of them under data.unlabelled, or set plan.strategy to auto.",
    "no_batchnorm": "Set plan.strategy to auto, or to fine_tune.",
    "no_masked_language_head": "Set plan.strategy to auto, or take a backbone like BERT, RoBERTa or ModernBERT.",
    "no_mask_token": "Set plan.strategy to auto, or take a backbone that was pretrained on hidden words.",
    "too_few_texts_to_hold_out": "Give more unlabelled texts or raise adapt.held_out, or set plan.strategy to auto.",
    "budget_below_one_text": "Raise adapt.budget, or set plan.strategy to auto.",
    "no_linear_layers": "Set plan.strategy to auto, or to fine_tune.",
}
"""What to do where `plan.strategy` asks for a strategy that has this obstacle."""


def impossible(strategy: str, coded: Document) -> tuple[str, str]:
    """Why a strategy that was asked for is impossible, and what to do instead."""
    message = f"plan.strategy is {strategy}, which is impossible for this model: {reason(coded)}"
    return message, INSTEAD.get(coded["code"], "Set plan.strategy to auto.")


def write(model: str) -> Path:
    """Render `plan.json` to `artifacts/releases/<model>/plan.html`; where that is."""
    plan = formats.plan(artifacts.read_json(artifacts.stage_output(model, "plan") / "plan.json"))
    html = (
        environment().get_template("plan.html").render(name=model, summary=summary(plan), card=view(plan, parts(model)))
    )
    path = artifacts.release(model) / "plan.html"
    artifacts.write_text(path, html)
    return path


def parts(model: str) -> Mapping[str, float]:
    """What the parts of planning took on this machine; empty where that is not known."""
    path = artifacts.timing(model, "plan")
    return dict(artifacts.read_json(path)["parts"]) if path.is_file() else {}


def document(plan: Document, measured: Mapping[str, float]) -> dict[str, Any]:
    """What `headstart plan --json` prints for a model."""
    shortlist = [
        {
            "strategy": one["strategy"],
            "reason": reason(one["reason"]),
            "code": one["reason"]["code"],
            "work": one["work"],
            "memory_mb": one.get("memory_mb"),
            "seconds": seconds(one, measured),
        }
        for one in plan["shortlist"]
    ]
    known = [one["seconds"] for one in shortlist if one["seconds"] is not None]
    return {
        "shortlist": shortlist,
        "excluded": [
            {"strategy": one["strategy"], "reason": reason(one["reason"]), "code": one["reason"]["code"]}
            for one in plan["excluded"]
        ],
        "unit": plan["unit"],
        "truncation": plan["truncation"],
        "evidence": plan["evidence"],
        "seconds": round(sum(known), 1) if len(known) == len(shortlist) else None,
    }


def reason(coded: Document) -> str:
    """The sentence that a code and its numbers stand for; an unknown code is shown as it is."""
    if coded["code"] not in REASONS:
        return ", ".join(f"{key} {value}" for key, value in coded.items() if key != "code") or str(coded["code"])
    return REASONS[coded["code"]].format(**coded)


def seconds(entry: Document, measured: Mapping[str, float]) -> float | None:
    """What training would take here, from counted work and the time a token or pixel took; None where unknown."""
    if not measured.get("a_million") or not entry.get("work"):
        return None
    return round(float(entry["work"]) / 1e6 * measured["a_million"], 1)


def summary(plan: Document) -> str:
    """Which strategies are trained, in a sentence."""
    names = [one["label"] for one in plan["shortlist"]]
    if plan["forced"]:
        return f"Training uses {names[0]}, as plan.strategy asks."
    if len(names) == 1:
        return f"Training fits {_article(names[0])} and nothing else."
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"Training tries {len(names)} strategies, {listed}, and keeps the best on validation."


def view(plan: Document, measured: Mapping[str, float]) -> dict[str, Any]:
    """What the page shows."""
    tried = [_row(one, measured) | {"tried": True} for one in plan["shortlist"]]
    layers = plan["evidence"].get("layers") or []
    return {
        "unit": plan["unit"],
        "rows": tried + [_row(one, measured) | {"tried": False} for one in plan["excluded"]],
        "seen": list(seen(plan)),
        "layers": _layers(layers) if layers else None,
    }


def seen(plan: Document) -> Iterator[tuple[str, str]]:
    """What was measured, a line each."""
    evidence = plan["evidence"]
    if stands := evidence.get("backbone"):
        yield "backbone", f"{stands['name']}, a {stands['kind']} of {stands['parameters'] / 1e6:.1f} M parameters"
    sizes, each = evidence["examples"], evidence["examples"]["per_class"]
    yield (
        "size",
        f"{sizes['train']:,} training examples of {sizes['classes']} classes, {each['min']} to {each['max']} a class"
        + (f", in {sizes['groups']:,} groups" if sizes.get("groups") else "")
        + (f"; {sizes['conflicts']} rows labelled otherwise than an equal one" if sizes.get("conflicts") else ""),
    )
    yield "linear probe", f"right on {interval(evidence['probe'])} of train, each fold held out in turn"
    if near := evidence.get("neighbours"):
        yield "neighbours", f"{near['k']} nearest neighbours are right on {interval(near)}"
    if more := evidence.get("twice_the_labels"):
        gain = more["gain"]
        points = ", ".join(f"{100 * gain[end]:+z.1f}" for end in ("low", "high"))
        brought = f"{100 * gain['value']:+z.1f} points ({points.replace(', ', ' to ')})"
        yield "labels", f"the probe gained {brought} from the second half of the {more['labels']:,} labels"
    if layers := evidence.get("layers"):
        yield "layers", ending(plan["truncation"], layers)
    if "domain_shift" in evidence:
        yield "domain shift", _shift(evidence["domain_shift"])


def ending(truncation: Document | None, layers: list[Document]) -> str:
    """Where a linear probe ends, and why."""
    best, last = max(reversed(layers), key=lambda one: one["value"]), layers[-1]  # of equal ones the last
    name = vocabulary.layer(best["layer"])
    code = (truncation or {}).get("code")
    if truncation and code == "truncated":
        gained = truncation["gained"]
        points = f"{100 * gained['low']:.1f} to {100 * gained['high']:.1f}"
        return (
            f"a linear probe ends at {vocabulary.layer(truncation['layer'])}, {truncation['kept']} of "
            f"{truncation['of']} blocks: {100 * gained['value']:.1f} points better than the last layer ({points})"
        )
    if best is last:
        return f"the last one is the best: a probe on it is right on {percent(last['value'])}"
    why = {
        "all_asked_for": "all layers stay, as plan.layers asks",
        "impossible": "this network can't end there",
        "no_better_on_all": "on all of train that is no better",
    }.get(str(code), "that is not significantly better")
    return f"{name} is the best ({percent(best['value'])}, the last {percent(last['value'])}); {why}"


def lines(name: str, plan: Document, measured: Mapping[str, float]) -> Iterator[str]:
    """The plan for a terminal."""
    yield f"\n{name}: {summary(plan)}"
    for one in plan["shortlist"]:
        took = seconds(one, measured)
        about = f", about {vocabulary.duration(took)}" if took is not None else ""
        yield f"  train       {one['strategy']:21}{one['work']:,} {plan['unit']}{about}. {reason(one['reason'])}"
    for one in plan["excluded"]:
        yield f"  leave out   {one['strategy']:21}{reason(one['reason'])}"
    for what, told in seen(plan):
        yield f"  {what:12}{told}"


def interval(document: Document) -> str:
    """`84.7% (74.7% to 91.2%)`."""
    return f"{percent(document['value'])} ({percent(document['low'])} to {percent(document['high'])})"


def _row(one: Document, measured: Mapping[str, float]) -> dict[str, Any]:
    took = seconds(one, measured)
    return {
        "label": one["label"],
        "name": one["strategy"],
        "work": f"{one['work']:,}" if one.get("work") else "",
        "memory": f"{one['memory_mb']:,} MB" if one.get("memory_mb") is not None else "",
        "seconds": vocabulary.duration(took) if took is not None else "",
        "reason": reason(one["reason"]),
    }


def _layers(layers: list[Document]) -> Any:
    best = max(reversed(layers), key=lambda one: one["value"])
    rows = [
        plots.Row(vocabulary.layer(one["layer"]), one["value"], one["low"], one["high"], strong=one is best)
        for one in reversed(layers)
    ]
    alt = "Accuracy of a probe on each layer: " + "; ".join(f"{row.label} {percent(row.value)}" for row in rows)
    return plots.intervals(rows, alt, width=560, labels=120, pitch=24)


def _shift(shift: Document | None) -> str:
    if shift is None:
        return (
            "unknown: no sample of the backbone's own domain is kept beside it; name a data source under "
            "backbones.*.reference"
        )
    told = f"proxy A-distance {shift['value']:.2f} of 2 ({shift['low']:.2f} to {shift['high']:.2f})"
    meaning = "saturated: by how much the data differ this does not say" if shift["saturated"] else "less is nearer"
    return f"{told}; {meaning}"


def _article(label: str) -> str:
    return f"an {label}" if label[0] in "aeiou" else f"a {label}"

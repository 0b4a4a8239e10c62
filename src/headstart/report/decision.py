"""The decision card: what was seen, what was chosen, what it will likely reach and cost, and what would change it.

One view of `plan.json` serves the terminal, the card of its own and the report of a run.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from headstart import artifacts
from headstart.report import plots, vocabulary, words
from headstart.report.plots import Row, percent
from headstart.report.templates import environment

Document = Mapping[str, Any]
ADAPTING = "adapt_then_fine_tune"


def write(model: str) -> Path:
    """Render `plan.json` to `artifacts/releases/<model>/plan.html`; where that is."""
    plan = artifacts.read_json(artifacts.stage_output(model, "plan") / "plan.json")
    predicted = plan["predicted"]
    row = Row("predicted", predicted["value"], predicted["low"], predicted["high"], strong=True)
    caption = (
        f"Accuracy to expect on the {predicted['n']:,} test examples: {_range(predicted)}, from {predicted['basis']}"
    )
    html = (
        environment()
        .get_template("plan.html")
        .render(
            name=model,
            words=words.choice(plan, None),
            reason=plan["reason"],
            caption=caption,
            chart=plots.intervals([row], caption, width=560, labels=120),
            card=view(plan, seconds(model)),
        )
    )
    path = artifacts.release(model) / "plan.html"
    artifacts.write_text(path, html)
    return path


def seconds(model: str) -> Mapping[str, float]:
    """What the parts of planning took on this machine; empty where that is not known."""
    path = artifacts.timing(model, "plan")
    return dict(artifacts.read_json(path)["parts"]) if path.is_file() else {}


def cost(plan: Document, strategy: str, parts: Mapping[str, float]) -> float | None:
    """Seconds a strategy would likely take on all of train, by its longest leg or a timed epoch; None: unknown."""
    if strategy == "linear_probe":
        return parts.get("probe")
    legs = [leg for leg in (plan.get("race") or {}).get("legs", []) if leg["strategy"] == strategy]
    of = plan["work"]["of"]
    if legs and (took := parts.get(f"race/{strategy}/{legs[-1]['rows']}")):
        before = parts.get("race/adapting", 0.0) if strategy == ADAPTING else 0.0
        return before + took * float(of[strategy]) / float(legs[-1]["work"])
    once = of["linear_probe"]
    return parts["a_pass"] * float(_work(plan, strategy)) / once if "a_pass" in parts and once else None


def view(plan: Document, parts: Mapping[str, float]) -> dict[str, Any]:
    """What the card shows."""
    race = plan.get("race")
    return {
        "seen": list(seen(plan)),
        "race": _chart(race, _caption(plan)) if race and race["legs"] else None,
        "race_caption": _caption(plan) if race else "",
        "left": list(race["left"].items()) if race else [],
        "unit": plan["work"]["unit"],
        "costs": [
            {
                "name": name,
                "work": _work(plan, name),
                "memory": f"{plan['work']['memory_mb'][name]:,} MB",
                "seconds": vocabulary.duration(value) if (value := cost(plan, name, parts)) is not None else "unknown",
                "chosen": name == plan["strategy"],
            }
            for name in sorted(plan["work"]["of"], key=lambda name: _work(plan, name))
            if name not in plan["barred"] and name != "scratch"
        ],
        "otherwise": plan["otherwise"],
    }


def seen(plan: Document) -> Iterator[tuple[str, str]]:
    """The evidence, a line each."""
    evidence = plan["evidence"]
    if stands := evidence.get("backbone"):  # plans made before it was noted are shown without
        yield "backbone", f"{stands['name']}, a {stands['kind']} of {stands['parameters'] / 1e6:.1f} M parameters"
    sizes, each = evidence["examples"], evidence["examples"]["per_class"]
    yield (
        "size",
        f"{sizes['train']:,} training examples of {sizes['classes']} classes, {each['min']} to {each['max']} a class"
        + (f", in {sizes['groups']:,} groups" if sizes.get("groups") else "")
        + (f"; {sizes['small_classes']} classes too small to train layers on" if sizes["small_classes"] else "")
        + (f"; {sizes['conflicts']} rows labelled otherwise than an equal one" if sizes["conflicts"] else ""),
    )
    yield "domain gap", _gap(evidence["gap"])
    if adapted := plan.get("adapted"):
        yield "adapting", adapted + (" Training finds it done." if plan["strategy"] == ADAPTING else "")
    probe, near = evidence["probe"], evidence["transferability"]["neighbours"]
    yield (
        "frozen features",
        f"the probe is right on {_range(probe)} of train held out in turn, "
        f"{near['k']} nearest neighbours on {percent(near['value'])}; LogME "
        f"{evidence['transferability']['log_me']:.3f}",
    )
    curve = evidence["transferability"]["curve"]
    if sentences := [*([_gain(curve["twice"])] if curve else []), *_needed(plan.get("labels_needed"))]:
        yield "more labels", "; ".join(sentences)
    if layers := evidence["layers"]:
        cut = plan.get("layers")
        best = max(layers, key=lambda one: one["layer"] == cut["layer"] if cut else one["value"])
        told = f"the last one, as probes on {best['n']:,} examples of train say"
        if best is not layers[-1]:
            ahead = 100 * (best["value"] - layers[-1]["value"])
            more = f"is {ahead:z.1f} points better than on the last" if ahead else "does as well as on the last"
            told = f"{best['layer']}: a probe on it {more}, on {best['n']:,} examples of train held out in turn"
        if best is not layers[-1] and not cut:
            told += f"; all layers stay: {plan.get('all_layers') or 'it is not better beyond doubt'}"
        if cut:
            told += f"; a linear probe ends there, on {cut['kept']} of {cut['of']} blocks"
        yield "best layer", told
    few = evidence["few_labels"]
    yield (
        "few labels",
        f"{few['per_class']} a class: {percent(few['transfer']['value'])} transferred, "
        f"{percent(few['scratch']['value'])} from scratch",
    )


def lines(name: str, plan: Document, parts: Mapping[str, float]) -> Iterator[str]:
    """The card for a terminal."""
    predicted = plan["predicted"]
    yield f"\n{name}: {plan['strategy']} (runner-up {plan['runner_up']})"
    yield f"  why        {plan['reason']}"
    yield f"  predicted  {predicted['metric']} {_range(predicted)} on {predicted['n']:,} test examples,"
    yield f"             from {predicted['basis']}"
    took = cost(plan, plan["strategy"], parts)
    about = f", about {took:.0f} s on this machine" if took is not None else ""
    yield f"  costs      {_work(plan, plan['strategy']):,} {plan['work']['unit']}{about}"
    for what, told in seen(plan):
        yield f"  {what:15} {told}"
    for leg in (plan.get("race") or {}).get("legs", []):
        yield f"  race       {leg['strategy']:20} {leg['rows']:6,} rows  {_range(leg)}"
    for name, why in (plan.get("race") or {}).get("left", {}).items():
        yield f"  left       {name}: {why}"
    for one in plan["otherwise"]:
        yield f"  otherwise  {one}"


def _range(interval: Document) -> str:
    told = f"{percent(interval['value'])} ({percent(interval['low'])} to {percent(interval['high'])}"
    return f"{told}{_sure(interval)})"


def _sure(interval: Document) -> str:
    """Its level, where it carries one: the forecast does, but for plans made before that was noted."""
    return f", {interval['level']:.0%} sure" if "level" in interval else ""


def _gap(gap: Document) -> str:
    domain = gap["domain"]
    if "unknown" in domain:
        return f"unknown: {domain['unknown']}"
    told = f"proxy A-distance {domain['value']:.2f} of 2 ({domain['low']:.2f} to {domain['high']:.2f})"
    return f"{told}; {domain['meaning']}"


def _gain(twice: Document) -> str:
    """What twice the labels bring, in points: the curve's own readings are of another sample than the probe's."""
    if (gain := twice.get("gain")) is None:  # plans made before it was noted
        return f"{twice['labels']:,} would likely take a probe to {_range(twice)} of another sample"
    value, low, high = (100 * gain[key] for key in ("value", "low", "high"))
    told = f"{value:z.1f} points ({low:z.1f} to {high:z.1f})"
    return f"{twice['labels']:,}, twice as many, would likely bring a probe {told}"


def _needed(needed: Document | None) -> Iterator[str]:
    """What a stated accuracy takes."""
    if needed is None:
        return
    target, name = percent(needed["accuracy"]), needed.get("strategy", "linear_probe")
    if needed.get("by") == "plan.choice.good_enough":
        target += " (good_enough; plan.choice.target names another)"
    if needed["labels"] is None:
        yield f"that {name} reaches {target} can't be foreseen with any number of them"
    elif "more" not in needed:  # plans made before it was noted
        yield f"{target} would take about {needed['labels']:,}"
    elif needed["more"] == 0:
        yield f"{target} of {name} is within reach of those there are"
    else:
        by = "the probe's learning curve" if name == "linear_probe" else "its forecast"
        yield f"{target} of {name} would take about {needed['more']:,} more, by {by}"


def _chart(race: Document, caption: str) -> Markup:
    """Each strategy on its last rung; the leader carries the accent."""
    last = {leg["strategy"]: leg for leg in race["legs"]}
    rows = [
        Row(
            name,
            leg["value"],
            leg["low"],
            leg["high"],
            f"{percent(leg['low'])} to {percent(leg['high'])}, {leg['rows']:,} rows",
            strong=name == race["leader"],
        )
        for name, leg in sorted(last.items(), key=lambda item: (-item[1]["rows"], -item[1]["value"]))
    ]
    return plots.intervals(rows, caption, width=640, labels=150)


def _caption(plan: Document) -> str:
    race = plan["race"]
    judged = race["legs"][0]["n"] if race["legs"] else 0
    unit, apart = plan["work"]["unit"], "; what adapting read comes on top" if plan.get("adapted") else ""
    return (
        f"Accuracy on {judged:,} examples that none has learned from, by how many rows each learned from. "
        f"{race['ended']} {race['spent']:,} of {race['budget']:,} {unit} were spent on its rungs{apart}."
    )


def _work(plan: Document, strategy: str) -> int:
    """Work of a strategy on all of train, what adapting reads first included."""
    work = plan["work"]  # plans made before adapting was told apart hold it in `of`
    return int(work["of"][strategy]) + (int(work.get("adapting", 0)) if strategy == ADAPTING else 0)

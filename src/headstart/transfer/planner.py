"""Which strategy, from evidence and a race, with its reason, its runner-up and the score it predicts.

    linear_probe   without a race, if its held-out accuracy may already be good enough
                   or a class (the median one) has too few labels to train layers on
    else           the cheapest of those that the race cannot tell from its leader

Cheap first: probe, low-rank updates, fine-tuning, adapting and fine-tuning. `scratch` never enters: it is the control.
A trained network that turns out no better than the probe on validation hands the probe on (`handover`).
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from headstart.backbones.network import Network
from headstart.errors import ParamsError
from headstart.params.section import Strategy
from headstart.params.transfer import Choice, Plan
from headstart.statistics.interval import wilson
from headstart.transfer import control, device, forecast, probe, race, shortening, strategies
from headstart.transfer.evidence import Evidence, Ground, gather, ground, layers
from headstart.transfer.race import Outcome, Right
from headstart.transfer.setting import Setting, Split
from headstart.transfer.shortening import Cut

FORMAT = 2


@dataclass(frozen=True)
class Decision:
    """The strategy and why, for a person to read.

    Attributes:
        strategy: what training will do.
        runner_up: what it would do otherwise.
        reason: why, in plain words.
        otherwise: what would change the decision, a sentence each.
    """

    strategy: Strategy
    runner_up: Strategy
    reason: str
    otherwise: list[str]


def plan(params: Plan, *, backbone: Path, data: Path, cache: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The document `plan.json`, and seconds by part, which stay out of it."""
    choice = params.choice
    place = device.settle(params.fine_tune.seed)
    setting = Setting.of(params, backbone=backbone, data=data, cache=cache, level=choice.interval, place=place)
    if choice.strategy != "auto" and (told := strategies.WAYS[choice.strategy].obstacle(setting)):
        raise ParamsError(
            f"plan.choice.strategy is {choice.strategy}, which can't be tried here: {told}",
            action="Set it to auto, or to another strategy.",
        )
    whole, seconds = ground(params, setting, data)
    started = time.perf_counter()
    by_layer, together = layers(params, whole)
    cut = shortening.decide(by_layer, choice.interval, together) if choice.layers == "auto" else None
    found, wanted = _ending(params, whole, cut, data) if cut else (whole, [])
    cut = None if found is whole else cut
    seconds["layers"] = time.perf_counter() - started
    evidence, more = gather(params, whole, found, by_layer, together)
    work = costs(setting, evidence)
    barred = obstacles(params, setting, evidence, work)
    entrants: list[Strategy] = [name for name in race_order(params) if name not in barred]
    run = None
    if (early := settled(evidence, choice)) is None and len(entrants) > 1:
        run = _race(params, whole, found, entrants, evidence)
        more |= {f"race/{leg.strategy}/{leg.rows}": leg.seconds for leg in run.legs}
    decision = decide(evidence, run, choice, early, barred)
    document = {
        "format": FORMAT,
        "strategy": decision.strategy,
        "runner_up": decision.runner_up,
        "reason": decision.reason,
        "otherwise": [*decision.otherwise, *wanted],
        "layers": cut.document() if cut else None,
        "predicted": forecast.predict(decision.strategy, evidence, run, choice),
        "work": {"unit": evidence.unit, "budget": choice.budget, "of": work, "memory_mb": memory(setting)},
        "barred": barred,
        "labels_needed": labels_needed(evidence, choice),
        "evidence": evidence.document(),
        "race": run.document() if run else None,
    }
    return document, seconds | more


def race_order(params: Plan) -> list[Strategy]:
    """The candidates of `params.yaml`, cheapest first, the probe always among them."""
    return [name for name in strategies.WAYS if name == "linear_probe" or name in params.race.candidates]


def costs(setting: Setting, evidence: Evidence) -> dict[Strategy, int]:
    """Work of each strategy on all of train: input units times passes, and what adapting reads first."""
    result = {name: evidence.once * way.passes(setting) for name, way in strategies.WAYS.items()}
    if setting.pool is not None and setting.modality == "text":
        result["adapt_then_fine_tune"] += setting.adapt.budget
    return result


def memory(setting: Setting) -> dict[Strategy, int]:
    """Megabytes of weights, gradients and AdamW's moments in float32; activations come on top."""
    network = Network.from_backbone(setting.backbone, setting.classes, dropout=0.0)
    whole = 4 * sum(parameter.numel() for parameter in network.parameters())
    updates = 4 * sum(
        setting.lora.rank * (module.in_features + module.out_features)
        for module in network.backbone.modules()
        if isinstance(module, nn.Linear)
    )
    learning = {"linear_probe": 0, "lora": 4 * updates}
    return {name: round((whole + learning.get(name, 3 * whole)) / 1e6) for name in strategies.WAYS}


def obstacles(params: Plan, setting: Setting, evidence: Evidence, work: dict[Strategy, int]) -> dict[Strategy, str]:
    """Why a candidate does not enter the race, for those that don't."""
    result: dict[Strategy, str] = {}
    for name in race_order(params):
        if name == "linear_probe":
            continue
        if found := strategies.WAYS[name].obstacle(setting):
            result[name] = found
        elif work[name] > params.choice.budget:
            result[name] = (
                f"It would cost {work[name]:,} {evidence.unit}; the budget is {params.choice.budget:,} "
                "(plan.choice.budget)."
            )
    return result


def settled(evidence: Evidence, choice: Choice) -> str | None:
    """Why no race is needed; None where one is."""
    reached, per_class = evidence.probe, evidence.examples["per_class"]["median"]
    if (up_to := _up_to(evidence, choice)) >= choice.good_enough:
        return (
            f"The linear probe is right on {reached.value:.3f} of held-out examples (up to {up_to:.3f}), "
            f"and {choice.good_enough:g} is good enough."
        )
    if per_class < choice.examples_per_class:
        return (
            f"The median class has {per_class:g} training examples; layers are trained from "
            f"{choice.examples_per_class} on."
        )
    return None


def _up_to(evidence: Evidence, choice: Choice) -> float:
    """What the probe may be right on, by rows: groups widen its interval, and to know little is not to be good."""
    reached = evidence.probe
    return wilson(reached.value * reached.n, reached.n, choice.interval).high


def decide(
    evidence: Evidence, run: Outcome | None, choice: Choice, early: str | None, barred: dict[Strategy, str]
) -> Decision:
    """The choice that follows; `choice.strategy` overrides it, and the reason says so."""
    strategy: Strategy = "linear_probe"
    if early is not None:
        reason = early
    elif run is None:
        reason = " ".join(f"{name}: {why}" for name, why in barred.items()) or "Nothing else is a candidate."
    else:
        strategy, reason = _winner(run)
    others = [name for name in _ranked(run) if name != strategy] if run else []
    runner_up = others[0] if others else ("fine_tune" if strategy == "linear_probe" else "linear_probe")
    if choice.strategy == strategy:
        reason = f"params.yaml asks for it, and the plan agrees: {reason}"
    elif choice.strategy != "auto":
        reason = f"params.yaml asks for {choice.strategy}. Left to itself, the plan would say {strategy}: {reason}"
        strategy, runner_up = choice.strategy, strategy
    return Decision(strategy, runner_up, reason, _otherwise(evidence, run, choice, early, barred))


def labels_needed(evidence: Evidence, choice: Choice) -> dict[str, Any] | None:
    """Training labels at which the probe's curve reaches `good_enough`; null: not on this curve. None: no curve."""
    if evidence.curve is None:
        return None
    return {"accuracy": choice.good_enough, "labels": evidence.curve.labels_needed(choice.good_enough)}


def _ending(params: Plan, whole: Ground, cut: Cut, data: Path) -> tuple[Ground, list[str]]:
    """What a probe stands on that ends at `cut`; `whole`, and why, where that can't be or is no better after all.

    Layers were compared by their raw outputs, on a sample; the network that ends there may put a norm on top.
    """
    better = f"{cut.layer} serves a probe better than the last layer"
    if not shortening.possible(whole.setting.backbone, cut):
        return whole, [f"{better}, but this network can't end there."]
    backbone = shortening.shortened(whole.setting.backbone, cut.kept, whole.setting.cache)
    found, _ = ground(params, replace(whole.setting, backbone=backbone), data)
    reached, before = found.head.accuracy_cv.value, whole.head.accuracy_cv.value
    if reached <= before:
        told = (
            f"does not: its probe is right on {reached:.3f} of held-out examples, the whole network's on {before:.3f}."
        )
        return whole, [f"{better} on a sample, but a network that ends there {told}"]
    return found, []


def _race(params: Plan, whole: Ground, found: Ground, entrants: list[Strategy], evidence: Evidence) -> Outcome:
    """`found` is what the probe stands on; all others train the whole backbone."""
    setting = whole.setting
    a_row = evidence.once / len(found.learn)
    once: dict[Strategy, int] = dict.fromkeys(entrants, 0)
    if setting.modality == "text" and "adapt_then_fine_tune" in once:
        once["adapt_then_fine_tune"] = setting.adapt.budget
    price = {name: (once[name], a_row * strategies.WAYS[name].passes(setting)) for name in entrants}

    def train(name: Strategy, shown: Split, judged: Split) -> Right:
        if name != "linear_probe" and found is not whole:
            shown = setting.split(shown.examples, progress="race, features")
        own = shown.examples.groups
        head = probe.fit(shown.features, shown.targets, setting.classes, setting.probe, level=setting.level, groups=own)
        if name == "linear_probe":
            right: Right = head.logits(judged.features).argmax(axis=1) == judged.targets
            return right
        saying = f"race, {name} on {len(shown)}"
        network, _ = strategies.train(name, setting, shown, head, watch=None, progress=saying)
        answered: Right = control.answers(network, setting, judged) == judged.targets
        return answered

    return race.run(entrants, price, found.learn, found.validation, params.race, train, level=params.choice.interval)


def _winner(run: Outcome) -> tuple[Strategy, str]:
    """The cheapest that cannot be told from the leader, and why."""
    if run.leader is None:
        return "linear_probe", f"The race ended before anyone ran: {run.ended}"
    chosen = run.standing[0]
    last = {leg.strategy: leg for leg in run.legs}
    rows = last[chosen].rows
    told = ", ".join(f"{name} {last[name].accuracy.value:.3f}" for name in _ranked(run) if last[name].rows == rows)
    where = f"On {last[chosen].accuracy.n} judged examples, after learning from {rows}: {told}."
    if chosen == run.leader:
        return chosen, f"It leads the race. {where} {run.ended}"
    ahead = run.behind[chosen].interval
    return chosen, (
        f"{run.leader} leads by {100 * ahead.value:.1f} points ({100 * ahead.low:.1f} to {100 * ahead.high:.1f}), "
        f"which is not beyond the doubt allowed, and {chosen} is cheaper. {where} {run.ended}"
    )


def _ranked(run: Outcome | None) -> list[Strategy]:
    """Who ran, those on the latest rungs first, the more accurate first."""
    last = {leg.strategy: leg for leg in run.legs} if run else {}
    return sorted(last, key=lambda name: (-last[name].rows, -last[name].accuracy.value))


def _otherwise(
    evidence: Evidence, run: Outcome | None, choice: Choice, early: str | None, barred: dict[Strategy, str]
) -> list[str]:
    """What would change the decision."""
    result = []
    if early is not None and _up_to(evidence, choice) >= choice.good_enough:
        result.append(f"A higher plan.choice.good_enough (now {choice.good_enough:g}) would start a race.")
    elif early is not None:
        result.append(f"{choice.examples_per_class} labels in the median class would start a race.")
    result += [f"{name} did not enter: {why}" for name, why in barred.items()]
    if run is not None:
        close = {name: one for name, one in run.behind.items() if one.interval.low <= 0}
        result += [
            f"{name} is {100 * one.interval.value:.1f} points behind {run.leader}, within doubt: more judged examples "
            "may tell them apart."
            for name, one in close.items()
        ]
        if run.short:
            result.append(f"A higher plan.race.budget (now {run.budget:,} {evidence.unit}) would run the race further.")
    if evidence.curve is not None:
        now, twice = evidence.curve.at(evidence.examples["train"]), evidence.curve.at(2 * evidence.examples["train"])
        result.append(
            f"Twice the labels would likely bring the probe {100 * (twice.value - now.value):.1f} points: its learning "
            f"curve goes from {now.value:.3f} to {twice.value:.3f} ({twice.low:.3f} to {twice.high:.3f})."
        )
    few = evidence.few_labels
    if few.scratch.low > few.transfer.high:
        result.append(
            f"Negative transfer: with {few.per_class} labels a class the same network from scratch is right on "
            f"{few.scratch.value:.3f}, transferred on {few.transfer.value:.3f}. Look for a backbone nearer to the data."
        )
    return result

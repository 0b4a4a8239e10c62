"""The plan: evidence, a race where one is needed, the decision, and the score it predicts, as one document."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import nn

from headstart.backbones.network import Network
from headstart.errors import ParamsError
from headstart.params.section import Strategy
from headstart.params.transfer import Plan
from headstart.transfer import control, decision, device, forecast, probe, race, shortening, strategies
from headstart.transfer.adapt import adaptation
from headstart.transfer.adapt.adaptation import Adapted
from headstart.transfer.evidence import Evidence, Ground, gather, ground, layers
from headstart.transfer.race import Outcome, Right
from headstart.transfer.setting import Setting, Split
from headstart.transfer.shortening import Cut

FORMAT = 2


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
    found, cut, kept = _ending(params, whole, shortening.decide(by_layer, choice.interval, together), data)
    seconds["layers"] = time.perf_counter() - started
    evidence, more = gather(params, whole, found, by_layer, together)
    work = costs(setting, evidence)
    barred = obstacles(params, setting, evidence, work)
    entrants: list[Strategy] = [name for name in race_order(params) if name not in barred]
    run = adapted = None
    if (early := decision.settled(evidence, choice)) is None and len(entrants) > 1:
        run, adapted = _race(params, whole, found, entrants, evidence)
        more |= {f"race/{leg.strategy}/{leg.rows}": leg.seconds for leg in run.legs}
        more |= {"race/adapting": adapted.seconds} if adapted else {}
    chosen = decision.decide(evidence, run, choice, early, barred, doubt=params.race.doubt, work=work)
    document = {
        "format": FORMAT,
        "strategy": chosen.strategy,
        "runner_up": chosen.runner_up,
        "reason": chosen.reason,
        "otherwise": chosen.otherwise,
        "layers": cut.document() if cut else None,
        "all_layers": kept,
        "predicted": forecast.predict(chosen.strategy, evidence, run, choice),
        "work": {
            "unit": evidence.unit,
            "budget": choice.budget,
            "of": work,
            "adapting": adapting(setting, evidence, adapted),
            "memory_mb": memory(setting),
        },
        "adapted": adapted.told if adapted else None,
        "barred": barred,
        "labels_needed": decision.labels_needed(chosen.strategy, evidence, run, choice),
        "evidence": evidence.document(),
        "race": run.document() if run else None,
    }
    return document, seconds | more


def race_order(params: Plan) -> list[Strategy]:
    """The candidates of `params.yaml`, cheapest first."""
    return [name for name in strategies.WAYS if name in params.race.candidates]


def costs(setting: Setting, evidence: Evidence) -> dict[Strategy, int]:
    """Work of each strategy on all of train: input units times passes; what adapting reads first is not in it."""
    return {name: evidence.once * way.passes(setting) for name, way in strategies.WAYS.items()}


def adapting(setting: Setting, evidence: Evidence, adapted: Adapted | None) -> int:
    """Work of adapting the backbone, once for all that is trained on it: what it read, or may read at most."""
    if setting.pool is None:
        return 0
    if setting.modality == "text":
        return adapted.read if adapted else setting.adapt.budget
    images = adapted.read if adapted else pq.read_metadata(setting.pool).num_rows
    return images * evidence.once // int(evidence.examples["train"])


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


def _ending(params: Plan, whole: Ground, cut: Cut | None, data: Path) -> tuple[Ground, Cut | None, str | None]:
    """What a probe stands on, where that ends, and, where it ends nowhere, why all layers stay.

    Layers were compared by their raw outputs, on a sample; the network that ends there may put a norm on top.
    """
    if params.choice.layers == "all":
        return whole, None, "plan.choice.layers asks for all of them"
    if cut is None:
        return whole, None, "no other is better beyond doubt"
    if not shortening.possible(whole.setting.backbone, cut):
        return whole, None, f"this network can't end at {cut.layer}, where a probe is better"
    backbone = shortening.shortened(whole.setting.backbone, cut.kept, whole.setting.cache)
    found, _ = ground(params, replace(whole.setting, backbone=backbone), data)
    reached, before = found.head.accuracy_cv.value, whole.head.accuracy_cv.value
    if reached <= before:
        told = f"the probe of a network that ends there is right on {reached:.1%} of train held out, before on"
        return whole, None, f"{cut.layer} is better on a sample, but {told} {before:.1%}"
    return found, cut, None


def _race(
    params: Plan, whole: Ground, found: Ground, entrants: list[Strategy], evidence: Evidence
) -> tuple[Outcome, Adapted | None]:
    """The race, and the backbone adapted for it; `found` is what the probe stands on, others train all of `whole`."""
    setting, adapted = whole.setting, list[Adapted]()
    a_row = evidence.once / len(found.learn)
    price = {name: a_row * strategies.WAYS[name].passes(setting) for name in entrants}

    def ready(name: Strategy) -> str | None:
        if name == "adapt_then_fine_tune":
            adapted[:] = [adaptation.adapted(setting)]  # on later rungs, and in training, found by content
            return None if adapted[0].moved else adapted[0].told
        return None

    def train(name: Strategy, shown: Split, judged: Split) -> Right:
        if name != "linear_probe" and found is not whole:
            shown = setting.split(shown.examples, progress="race, features")
        own = shown.examples.groups
        head = probe.fit(shown.features, shown.targets, setting.classes, setting.probe, level=setting.level, groups=own)
        if name == "linear_probe":
            right: Right = head.logits(judged.features).argmax(axis=1) == judged.targets
            return right
        saying = f"race, {name} on {len(shown)}"
        network, _ = strategies.train(name, setting, shown, head, validation=None, progress=saying)
        answered: Right = control.answers(network, setting, judged) == judged.targets
        return answered

    level = params.choice.interval
    run = race.run(entrants, price, found.learn, found.validation, params.race, train, level=level, ready=ready)
    return run, adapted[0] if adapted else None

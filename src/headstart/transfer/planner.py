"""The plan: what was measured, and which strategies training tries; nothing is trained.

`plan.json` holds codes and numbers; `report.plan` makes sentences of them.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import StrategyError
from headstart.params.section import Strategy as Name
from headstart.params.transfer import Plan
from headstart.statistics import cluster_robust
from headstart.transfer import device, domain_shift, evidence, features, shortlist, truncation
from headstart.transfer.context import LEVEL, Split, TrainingContext
from headstart.transfer.evidence import Probed
from headstart.transfer.shortlist import Facts
from headstart.transfer.strategies import STRATEGIES
from headstart.transfer.strategies.strategy import Reason

FORMAT = 3
TIMED = 64  # examples that are passed to tell seconds from counted work


def plan(params: Plan, *, backbone: Path, data: Path, cache: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The document `plan.json`, and seconds by part, which stay out of it.

    Where `plan.strategy` names one strategy, only what that one needs is measured.

    Raises:
        StrategyError: if `plan.strategy` names one that is impossible here.
    """
    place = device.settle(params.fine_tune.seed)
    context = TrainingContext.of(params, backbone=backbone, data=data, cache=cache, device=place)
    forced = None if params.strategy == "auto" else params.strategy
    if forced and (obstacle := STRATEGIES[forced].obstacle(context)):
        raise StrategyError(forced, obstacle)
    seconds, started = dict[str, float](), time.perf_counter()
    whole = evidence.probed(context, data)
    seconds["probe"], started = time.perf_counter() - started, time.perf_counter()
    found, ending, layers = whole, None, None
    if forced in (None, "linear_probe"):
        found, ending, layers = _ending(params, whole, data)
    seconds["layers"] = time.perf_counter() - started
    network = context.frozen()
    unit, once = evidence.one_pass(context, whole.learn)
    rows = len(whole.learn)
    work = {name: one.work(context, once=once, rows=rows) for name, one in STRATEGIES.items()}
    memory = {name: one.memory(context, network) for name, one in STRATEGIES.items()}
    sizes = evidence.sizes(whole.learn, data)
    measured: dict[str, Any] = {
        "backbone": {
            "name": backbone.name,
            "kind": network.backbone.config.model_type,
            "parameters": sum(weight.numel() for weight in network.backbone.parameters()),
        },
        "examples": sizes,
        "probe": found.document(),
        "layers": layers or [],
    }
    if forced:
        listed, excluded = {forced: {"code": "forced"}}, dict[Any, Any]()
    else:
        facts = Facts(
            cluster_robust.share(found.right, LEVEL),
            float(np.bincount(found.learn.targets).max() / len(found.learn)),
            sizes["per_class"]["median"],
            {name: reason for name, one in STRATEGIES.items() if (reason := one.obstacle(context))},
            work,
            memory,
            device.memory(),
            unit,
        )
        listed, excluded = shortlist.choose(facts, good_enough=params.good_enough, budget=params.budget)
        started = time.perf_counter()
        measured |= {
            "neighbours": evidence.neighbours(found),
            "twice_the_labels": evidence.twice_the_labels(found),
            "domain_shift": domain_shift.measure(context, whole.learn),
        }
        seconds["evidence"] = time.perf_counter() - started
    seconds["a_million"] = 1e6 * _a_unit(context, whole.learn)
    document = {
        "format": FORMAT,
        "forced": forced is not None,
        "unit": unit,
        "level": LEVEL,
        "shortlist": [
            {**_entry(name, reason, work), "memory_mb": round(memory[name] / 1e6)} for name, reason in listed.items()
        ],
        "excluded": [_entry(name, reason, work) for name, reason in excluded.items()],
        "head_strength": whole.head.strength,
        "truncation": ending,
        "evidence": measured,
    }
    return document, seconds


def _entry(name: Name, reason: Reason, work: Mapping[Name, int]) -> dict[str, Any]:
    """A strategy as `plan.json` lists it."""
    return {"strategy": name, "label": STRATEGIES[name].label, "reason": reason, "work": work[name]}


def _ending(params: Plan, whole: Probed, data: Path) -> tuple[Probed, dict[str, Any], list[dict[str, Any]]]:
    """The probe where it ends, how that was decided, and the accuracy of a probe on each layer.

    Layers were compared by their raw outputs, on a sample; the network that ends there may put a norm on top.
    """
    by_layer, groups = evidence.layers(whole)
    layers = evidence.layer_documents(by_layer, groups)
    if params.layers == "all":
        return whole, {"code": "all_asked_for"}, layers
    cut = truncation.decide(by_layer, groups)
    if cut is None:
        return whole, {"code": "none_significantly_better"}, layers
    if not truncation.possible(whole.context.backbone, cut):
        return whole, {"code": "impossible", "layer": cut.layer}, layers
    backbone = truncation.truncated(whole.context.backbone, cut.kept, whole.context.cache)
    found = evidence.probed(replace(whole.context, backbone=backbone), data)
    reached, before = float(found.right.mean()), float(whole.right.mean())
    if reached <= before:
        return whole, {"code": "no_better_on_all", "layer": cut.layer, "accuracy": reached, "whole": before}, layers
    return found, {"code": "truncated", **cut.document()}, layers


def _a_unit(context: TrainingContext, learn: Split) -> float:
    """Seconds that one token or pixel takes to pass forward here, from a few examples; shown, never decided on."""
    few = learn.select(np.arange(min(TIMED, len(learn))))
    _, counted = evidence.one_pass(context, few)
    network = context.frozen()
    for _ in range(2):  # the first pass of a process is slower
        started = time.perf_counter()
        features.compute(network, context.preprocessor, few.examples, progress="timing")
    return (time.perf_counter() - started) / counted

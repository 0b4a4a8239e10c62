"""Train every shortlisted strategy on all of train, and keep the best on validation.

`history.json` holds one entry for each candidate, in codes and numbers; `report.selection` makes sentences of them.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts, findings
from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.evaluation import screen
from headstart.params.section import Strategy as Name
from headstart.params.transfer import Plan, Train
from headstart.transfer import candidates, device, features, mitigations, probe, retention, selection, truncation
from headstart.transfer.candidates import Candidate
from headstart.transfer.context import LEVEL, Split, TrainingContext, Validation
from headstart.transfer.mitigations import Point
from headstart.transfer.selection import Score
from headstart.transfer.strategies import STRATEGIES, linear_probe

FORMAT = 3
FORGETTING_EXAMPLES = 300  # of the backbone's own sample: intervals of 4 points


def train(
    params: Train, *, plan: Mapping[str, Any], backbone: Path, data: Path, out: Path, partial: Path, cache: Path
) -> dict[str, float]:
    """Write `model/`, `history.json`, `batchnorm.json` and `screen.json` into `out`, and answer with seconds by part.

    Args:
        params: the model's section.
        plan: the document of the stage `plan`.
        backbone: folder of the backbone.
        data: what `prepare` wrote: splits and contract.
        out: folder, empty.
        partial: finished candidates and checkpoints of this very run; a killed run that is started again goes on.
        cache: features already computed.
    """
    context, found = prepared(params, plan=plan, backbone=backbone, data=data, cache=cache)
    names: list[Name] = [entry["strategy"] for entry in plan["shortlist"]]
    growth = params.screen.loss_growth
    work = {entry["strategy"]: entry.get("work") for entry in plan["shortlist"]}
    trained = {one.name: one for one in each(names, context, found, partial=partial, growth=growth)}
    seconds: dict[str, float] = {one.name: one.seconds for one in trained.values()}
    failed = {one.name: one.document["outcome"] for one in trained.values() if one.document["outcome"] != "trained"}
    mitigated: dict[Name, Point] = {}

    def mitigate(name: Name) -> Score | None:
        """The score of a candidate with less of its backbone forgotten; None where it stays as it is."""
        one = trained[name]
        if name in failed or one.document["training"] is None or name == "scratch":
            return None
        started = time.perf_counter()
        mitigated[name], score = _mitigated(one, found[name], params.forgetting.budget)
        seconds["forgetting"] = seconds.get("forgetting", 0.0) + time.perf_counter() - started
        return score

    chosen, scores = selection.settle({one.name: one.score for one in trained.values()}, failed, mitigate)
    kept = trained[chosen.kept]
    network = kept.network()
    if chosen.kept in mitigated:
        mitigations.put(network, mitigated[chosen.kept].weights)
    for one in trained.values():
        other = scores[one.name]
        one.document["work"] = work[one.name]
        one.document["difference"] = None if one is kept else selection.difference(scores[kept.name], other)
    history = {
        "format": FORMAT,
        "level": LEVEL,
        "kept": kept.name,
        "reason": chosen.document(),
        "candidates": [one.document for one in trained.values()],
    }
    targets = found[kept.name][1].targets
    by_class = params.probe.class_weights == "balanced" or params.fine_tune.balanced
    judged = screen.judge(history, params.screen, targets, context.classes, by_class=by_class)
    statistics = _kept_statistics(kept, mitigated.get(kept.name))
    artifacts.write_json(out / "batchnorm.json", {"format": 1, "kept": statistics})
    network.to("cpu").save(out / "model")
    artifacts.write_json(out / "history.json", history)
    artifacts.write_json(
        out / "screen.json",
        {"format": 1, "verdict": findings.overall(judged), "findings": [finding.document() for finding in judged]},
    )
    return seconds


Splits = tuple[Split, Split, probe.Head, TrainingContext]
"""Train, validation, the probe of train, and the context whose backbone gave their features."""


class Prepared:
    """The splits of a model under the whole backbone, and under the truncated one where a probe ends there."""

    def __init__(self, context: TrainingContext, ending: TrainingContext, data: Path, plan: Mapping[str, Any]) -> None:
        self._context, self._ending, self._data = context, ending, data
        self._strengths = {"whole": plan["head_strength"], "ending": plan["evidence"]["probe"]["strength"]}
        self._kept: dict[str, Splits] = {}

    def __getitem__(self, name: Name) -> Splits:
        key = "ending" if name == "linear_probe" else "whole"
        if key not in self._kept:
            context = self._ending if key == "ending" else self._context
            learn, validation = (context.read(self._data, split) for split in ("train", "validation"))
            head = probe.refit(
                learn.features, learn.targets, context.classes, context.probe, strength=self._strengths[key]
            )
            self._kept[key] = learn, validation, head, context
        return self._kept[key]


def prepared(
    params: Train | Plan, *, plan: Mapping[str, Any], backbone: Path, data: Path, cache: Path
) -> tuple[TrainingContext, Prepared]:
    """The training context, and the splits by strategy, read when they are asked for."""
    place = device.settle(params.fine_tune.seed)
    context = TrainingContext.of(params, backbone=backbone, data=data, cache=cache, device=place)
    cut = plan["truncation"] or {}
    ending = context
    if cut.get("code") == "truncated":
        ending = replace(context, backbone=truncation.truncated(backbone, cut["kept"], cache))
    return context, Prepared(context, ending, data, plan)


def each(
    names: Iterable[Name], context: TrainingContext, found: Prepared, *, partial: Path, growth: float
) -> Iterable[Candidate]:
    """Train one strategy after another; those trained before are read back."""
    for name in names:
        learn, validation, head, own = found[name]
        yield candidates.trained(name, own, learn, validation, head, folder=partial / name, growth=growth)


def _mitigated(one: Candidate, splits: Splits, budget: float) -> tuple[Point, Score | None]:
    """The candidate as it is to be kept, mitigated where it forgot more than the budget; its score if that changed it.

    Its document gets what it kept of its backbone and what was tried.
    """
    learn, validation, head, context = splits
    network = one.network()
    before = retention.remember(linear_probe.start(context, head), context, validation.examples, FORGETTING_EXAMPLES)
    answers: dict[str, NDArray[np.float64]] = {}
    scores = {mitigations.TRAINED: one.score}

    def judge(name: str, weights: mitigations.Weights) -> Point:
        mitigations.put(network, weights)
        if name not in scores:
            answers[name] = features.logits(network, context.preprocessor, validation.examples, progress=name)
            scores[name] = candidates.scored(context, answers[name], validation)
        found = retention.measure(network, context, before, LEVEL)
        return Point(name, scores[name].accuracy, scores[name].loss, found, weights)

    def retrain(pull: float) -> mitigations.Weights | None:
        device.settle(context.fine_tune.seed)
        judged = Validation(context.shown(validation, augmented=False), one.folder / mitigations.PULLED)
        again, history = STRATEGIES[one.name].train(
            context.with_fine_tune(pull=pull), learn, head, validation=judged, progress=f"{one.name}, pulled back"
        )
        return again.state_dict() if history and history.best_epoch is not None else None

    weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    found = mitigations.mitigate(judge(mitigations.TRAINED, weights), before.weights, budget, judge, retrain)
    one.document["retention"] = found.point.retention.document()
    one.document["mitigation"] = found.document(budget)
    if not found.chosen:
        return found.point, None
    name = found.point.name
    one.document["before_mitigation"] = one.document["validation"]
    one.document["validation"] = candidates.metrics(scores[name], answers[name], validation)
    return found.point, scores[name]


def _kept_statistics(kept: Candidate, mitigated: Point | None) -> dict[str, str]:
    """Fingerprints of the BatchNorm statistics that training had to leave alone, as they came with the backbone.

    None of a network that learned its own, and none where statistics before and after adapting were interpolated.
    """
    backbone = STRATEGIES[kept.name].backbone(kept.context)
    if backbone is None:
        return {}
    interpolated = mitigated is not None and mitigated.name.startswith(mitigations.INTERPOLATION)
    if interpolated and backbone != kept.context.backbone:
        return {}
    return batchnorm.fingerprints(Network.from_backbone(backbone, kept.context.classes, dropout=0.0))

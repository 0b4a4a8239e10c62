"""Train as planned: the probe always, then layers from it; what is no better than the probe hands the probe on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts, findings
from headstart.backbones import batchnorm, layers
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.evaluation import screen
from headstart.params.section import Strategy
from headstart.params.transfer import Forgetting, Train
from headstart.statistics import paired
from headstart.statistics.interval import Interval
from headstart.transfer import control, device, handover, ladder, probe, retention, shortening, strategies
from headstart.transfer.adapt import adaptation
from headstart.transfer.finetune import rates
from headstart.transfer.finetune.history import History
from headstart.transfer.finetune.loop import Validation
from headstart.transfer.handover import Score
from headstart.transfer.probe import Head
from headstart.transfer.retention import Retention
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import linear_probe

FORMAT = 1


def train(
    params: Train, *, plan: Mapping[str, Any], backbone: Path, data: Path, out: Path, partial: Path, cache: Path
) -> dict[str, float]:
    """Write `model/`, `history.json`, `batchnorm.json` and `screen.json` into `out`, and answer with seconds by part.

    Args:
        params: the model's section.
        plan: what the stage `plan` wrote: strategy, where a probe ends, its strength and accuracy.
        backbone: folder of the backbone.
        data: what `prepare` wrote: splits and contract.
        out: folder, empty.
        partial: checkpoints of this very run; a killed run that is started again goes on from them.
        cache: features already computed.
    """
    place = device.settle(params.fine_tune.seed)
    started = time.perf_counter()
    level = params.forgetting.level
    whole = Setting.of(params, backbone=backbone, data=data, cache=cache, level=level, place=place)
    cut = plan.get("layers")
    setting = replace(whole, backbone=shortening.shortened(backbone, cut["kept"], cache)) if cut else whole
    learn, validate = (_split(setting, data, name) for name in ("train", "validation"))
    measured = plan["evidence"]["probe"]
    head = probe.refit(
        learn.features,
        learn.targets,
        setting.classes,
        params.probe,
        strength=measured["strength"],
        accuracy_cv=Interval.from_document(measured),
    )
    network, probed = linear_probe.start(setting, head), _judged(setting, head.logits(validate.features), validate)
    seconds = {"probe": time.perf_counter() - started}

    strategy: Strategy = plan["strategy"]
    history, rated = _probed(head, probed), _frozen(network)
    if strategy != "linear_probe":
        if cut:  # only a probe ends at a middle layer: what trains layers has all of them, and a head of its own
            learn, validate = (_split(whole, data, name) for name in ("train", "validation"))
            head = probe.fit(
                learn.features, learn.targets, whole.classes, params.probe, level=level, groups=learn.examples.groups
            )
        start = _judged(whole, head.logits(validate.features), validate) if cut else probed
        made = _tuned(strategy, whole, learn, validate, head, params.forgetting, partial)
        seconds |= made.seconds
        history |= _learned(made, start, probed, params.forgetting.budget)
        keep, history["reason"] = handover.decide(
            probed, start, made.trained, made.handed, made.course, made.climbed, params.screen.loss_growth
        )
        history["strategy_planned"], rated = strategy, made.course.rates
        if keep:
            network, history["strategy_used"] = made.network, strategy
            history["retention"] = made.kept.document() if made.kept else None
    history["groups"] = [rate.document() for rate in rated]
    by_class = params.probe.class_weights == "balanced" or params.fine_tune.classes_alike  # layers start from the probe
    judged = screen.judge(history, params.screen, validate.targets, setting.classes, by_class=by_class)
    kept = _kept_statistics(history, setting if history["strategy_used"] == "linear_probe" else whole)
    artifacts.write_json(out / "batchnorm.json", {"format": FORMAT, "kept": kept})
    network.to("cpu").save(out / "model")
    artifacts.write_json(out / "history.json", history)
    artifacts.write_json(
        out / "screen.json",
        {
            "format": FORMAT,
            "verdict": findings.overall(judged),
            "findings": [finding.document() for finding in judged],
        },
    )
    return seconds


@dataclass(frozen=True)
class _Tuned:
    """A network whose layers were trained.

    Attributes:
        network: as it would be handed on, in evaluation mode.
        trained: how what training left does on validation.
        handed: how `network` does: another one where the ladder chose a rung.
        course: how training went.
        climbed: what it forgot, and the rungs climbed for that; None where nothing was learned.
        seconds: by part.
    """

    network: Network
    trained: Score
    handed: Score
    course: History
    climbed: ladder.Climb | None
    seconds: dict[str, float]

    @property
    def kept(self) -> Retention | None:
        """What `network` still has of what its backbone knew, where that was measured."""
        return self.climbed.points[self.climbed.chosen].retention if self.climbed else None


def _tuned(
    strategy: Strategy, setting: Setting, learn: Split, validate: Split, head: Head, params: Forgetting, partial: Path
) -> _Tuned:
    """Train layers from the probe, and climb the ladder where that forgot more than the budget allows."""
    started = time.perf_counter()
    before = retention.remember(linear_probe.start(setting, head), setting, validate.examples, params.examples)
    judged = setting.shown(validate, augmented=False)
    network, course = strategies.train(
        strategy, setting, learn, head, validation=Validation(judged, partial), progress=strategy
    )
    assert course is not None, f"{strategy} keeps no course"  # only the probe has none
    seconds: dict[str, float] = {strategy: time.perf_counter() - started}
    trained = _score(setting, network, validate)
    if strategy == "scratch" or course.best_epoch is None:
        return _Tuned(network, trained, trained, course, None, seconds)
    started = time.perf_counter()
    scores = {"tuned": trained}

    def judge(name: str, weights: ladder.Weights) -> ladder.Point:
        ladder.put(network, weights)
        if name not in scores:
            scores[name] = _score(setting, network, validate)
        kept = retention.measure(network, setting, before, setting.level)
        return ladder.Point(name, scores[name].accuracy, scores[name].loss, kept, weights)

    def again(name: str, changes: Mapping[str, Any]) -> ladder.Weights | str:
        rung = Validation(judged, partial / name.replace(" ", "-"))
        own = setting.with_fine_tune(**changes)
        found, how = strategies.train(strategy, own, learn, head, validation=rung, progress=name)
        assert how is not None  # as above
        return found.state_dict() if how.best_epoch is not None else "its losses were not finite"

    tuned = judge("tuned", {name: value.detach().cpu().clone() for name, value in network.state_dict().items()})
    climbed = ladder.climb(tuned, before.weights, params, judge, again, by_layer=strategy != "lora")
    chosen = climbed.points[climbed.chosen]
    seconds["retention"] = time.perf_counter() - started
    return _Tuned(ladder.put(network, chosen.weights), trained, scores[chosen.name], course, climbed, seconds)


def _kept_statistics(history: Mapping[str, Any], setting: Setting) -> dict[str, str]:
    """Fingerprints of the BatchNorm statistics that training had to leave alone, as they came with the backbone.

    None of a network from scratch, and none where the ladder mixed statistics before and after adapting.
    """
    strategy, backbone = history["strategy_used"], setting.backbone
    if strategy == "scratch":
        return {}
    if strategy == "adapt_then_fine_tune":
        if (history["ladder"] or {}).get("chosen", "").startswith(ladder.INTERPOLATION):
            return {}
        backbone = adaptation.adapted(setting).backbone
    return batchnorm.fingerprints(Network.from_backbone(backbone, setting.classes, dropout=0.0))


def _split(setting: Setting, data: Path, name: str) -> Split:
    """A split with its features, from the cache where the plan left them."""
    return setting.split(dataset.read(data / f"{name}.parquet"), progress=f"features of {name}")


def _score(setting: Setting, network: Network, validate: Split) -> Score:
    return _judged(setting, control.logits(network, setting, validate), validate)


def _judged(setting: Setting, logits: NDArray[np.float64], validate: Split) -> Score:
    return Score.of(logits, validate.targets, validate.examples.groups, alike=setting.fine_tune.classes_alike)


def _probed(head: Head, score: Score) -> dict[str, Any]:
    """The document `history.json` of a probe alone, but for `groups`."""
    return {
        "format": FORMAT,
        "strategy_planned": "linear_probe",
        "strategy_used": "linear_probe",
        "reason": "The plan chose the linear probe; no layer was trained.",
        "probe": {"strength": head.strength, **_shown(score)},
        "steps": [],
        "epochs": [],
        "best_epoch": None,
        "precision": "float32",
        "checks": [],
        "attempts": [],
        "notes": [],
        "retention": None,
        "ladder": None,
    }


def _learned(made: _Tuned, start: Score, probed: Score, budget: float) -> dict[str, Any]:
    """What training layers adds: `start` is where it started, `fine_tune` the network offered, held to the probe."""
    course, handed = made.course, made.handed
    wins, losses = int((handed.right & ~probed.right).sum()), int((probed.right & ~handed.right).sum())
    return {
        "start": _shown(start),
        "steps": course.steps,
        "epochs": course.epochs,
        "best_epoch": course.best_epoch,
        "precision": course.precision,
        "checks": course.checks,
        "attempts": [attempt.document() for attempt in course.attempts],
        "notes": course.notes,
        "ladder": made.climbed.document(budget) if made.climbed else None,
        "fine_tune": {
            **_shown(handed),
            "fixed": wins,
            "regressed": losses,
            "difference": paired.difference(
                handed.right, probed.right, 1 - handover.SURE, handed.groups
            ).interval.document(),
        },
    }


def _shown(score: Score) -> dict[str, float | None]:
    return {
        "validation/accuracy": score.accuracy,
        "validation/macro_f1": score.macro_f1,
        "validation/loss": score.loss,
    }


def _frozen(network: Network) -> list[rates.Rate]:
    """The rates of a network of which only the head was fitted, outside gradient descent."""
    return [
        rates.Rate(group.name, group.depth, 0.0, sum(value.numel() for _, value in group.parameters), True)
        for group in layers.groups(network)[:-1]
    ]

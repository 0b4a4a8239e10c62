"""Train as planned: the probe always, then layers from it; what is no better than the probe hands the probe on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts, findings
from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.evaluation.gates import screen
from headstart.params.section import Strategy
from headstart.params.transfer import Forgetting, Train
from headstart.statistics import paired
from headstart.statistics.interval import Interval
from headstart.transfer import control, device, ladder, probe, rates, retention, shortening, strategies
from headstart.transfer.course import Course
from headstart.transfer.finetune import Watch
from headstart.transfer.probe import Head
from headstart.transfer.setting import Setting, Split
from headstart.transfer.strategies import linear_probe

FORMAT = 1


@dataclass(frozen=True)
class Score:
    """How a network does on validation data.

    Attributes:
        loss: mean negative log-likelihood in nats after temperature scaling; None where it is not finite.
        accuracy: share of right answers.
        right: `(examples,)`, which were.
    """

    loss: float | None
    accuracy: float
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, logits: NDArray[np.float64], targets: NDArray[np.int64]) -> "Score":
        loss, right = probe.calibrated_loss(logits, targets), logits.argmax(axis=1) == targets
        return cls(loss if np.isfinite(loss) else None, float(right.mean()), right)


def train(
    params: Train, *, plan: Mapping[str, Any], backbone: Path, data: Path, out: Path, partial: Path, cache: Path
) -> dict[str, float]:
    """Write `model/`, `history.json` and `screen.json` into `out`, and answer with seconds by part.

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
    probed, at_start = (setting, head), Score.of(head.logits(validate.features), validate.targets)
    seconds = {"probe": time.perf_counter() - started}

    strategy: Strategy = plan["strategy"]
    made = None
    if strategy != "linear_probe":
        if cut:  # only a probe ends at a middle layer: what trains layers has all of them, and a head of its own
            learn = _split(whole, data, "train")
            head = probe.fit(
                learn.features, learn.targets, whole.classes, params.probe, level=level, groups=learn.examples.groups
            )
        made = _tuned(strategy, whole, learn, validate, head, params.forgetting, partial)
        seconds |= made.seconds
    after, course = (made.score, made.course) if made else (None, None)
    keep, reason = _decide(at_start, after, course, params.screen.loss_growth)
    network, climbed = linear_probe.start(*probed), None  # the probe, which forgot nothing
    if made and keep:
        network, climbed = made.network, made.climbed
    kept = climbed.points[climbed.chosen].retention if climbed else None
    if climbed is not None and climbed.chosen > 0:
        reason += f" Handed on is the ladder's {climbed.points[climbed.chosen].name}. {climbed.reason}"

    history = _history(strategy, strategy if keep else "linear_probe", reason, probed[1], at_start, after, course)
    history["groups"] = [rate.document() for rate in (course.rates if course else _frozen(network))]
    history["retention"] = kept.document() if kept else None
    history["ladder"] = climbed.document(params.forgetting.budget) if climbed else None
    share = np.bincount(validate.targets, minlength=setting.classes).max() / max(1, len(validate))
    judged = screen.judge(history, params.screen, float(share))
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
        score: on validation.
        course: how training went; None where the strategy keeps none.
        climbed: what it forgot, and the rungs climbed for that; None where nothing was learned.
        seconds: by part.
    """

    network: Network
    score: Score
    course: Course | None
    climbed: ladder.Climb | None
    seconds: dict[str, float]


def _tuned(
    strategy: Strategy, setting: Setting, learn: Split, validate: Split, head: Head, params: Forgetting, partial: Path
) -> _Tuned:
    """Train layers from the probe, and climb the ladder where that forgot more than the budget allows."""
    started = time.perf_counter()
    before = retention.remember(linear_probe.start(setting, head), setting, validate.examples, params.examples)
    watch = Watch(setting.shown(validate, augmented=False), partial)
    network, course = strategies.train(strategy, setting, learn, head, watch=watch, progress=strategy)
    seconds: dict[str, float] = {strategy: time.perf_counter() - started}
    if strategy == "scratch" or course is None or course.best_epoch is None:
        return _Tuned(network, _score(setting, network, validate), course, None, seconds)
    started = time.perf_counter()

    def judge(name: str, weights: ladder.Weights) -> ladder.Point:
        score = _score(setting, ladder.put(network, weights), validate)
        kept = retention.measure(network, setting, before, setting.level)
        return ladder.Point(name, score.accuracy, score.loss, kept, weights)

    def again(name: str, changes: Mapping[str, Any]) -> ladder.Weights | None:
        rung = Watch(watch.validation, partial / name.replace(" ", "-"))
        found, how = strategies.train(
            strategy, setting.with_fine_tune(**changes), learn, head, watch=rung, progress=name
        )
        return found.state_dict() if how is None or how.best_epoch is not None else None

    tuned = judge("tuned", {name: value.detach().cpu().clone() for name, value in network.state_dict().items()})
    climbed = ladder.climb(tuned, before.weights, params, judge, again, by_layer=strategy != "lora")
    score = _score(setting, ladder.put(network, climbed.points[climbed.chosen].weights), validate)
    seconds["retention"] = time.perf_counter() - started
    return _Tuned(network, score, course, climbed, seconds)


def _split(setting: Setting, data: Path, name: str) -> Split:
    """A split with its features, from the cache where the plan left them."""
    return setting.split(dataset.read(data / f"{name}.parquet"), progress=f"features of {name}")


def _score(setting: Setting, network: Network, validate: Split) -> Score:
    return Score.of(control.logits(network, setting, validate), validate.targets)


def _decide(before: Score, after: Score | None, course: Course | None, growth: float) -> tuple[bool, str]:
    """Whether the fine-tuned network is handed on, and why: more right answers, or as many at a lower loss."""
    if after is None or course is None:
        return False, "The plan chose the linear probe; no layer was trained."
    was, became = f"{before.accuracy:.3f}", f"{after.accuracy:.3f}"
    if course.best_epoch is None or after.loss is None or before.loss is None:
        return False, "Training met losses that are not finite; the linear probe it started from is handed on."
    told = f"validation accuracy went from {was} to {became}, loss from {before.loss:.3f} to {after.loss:.3f}"
    if after.loss > growth * before.loss:
        return False, f"Training diverged: {told}. The linear probe it started from is handed on."
    if (after.accuracy, -after.loss) <= (before.accuracy, -before.loss):
        return False, f"Training did not improve on the linear probe: {told}. The probe is handed on."
    return True, f"Training improved on the linear probe: {told}, at epoch {course.best_epoch}."


def _history(
    planned: str,
    used: str,
    reason: str,
    head: Head,
    before: Score,
    after: Score | None,
    course: Course | None,
) -> dict[str, Any]:
    """The document `history.json`, but for `groups`."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "strategy_planned": planned,
        "strategy_used": used,
        "reason": reason,
        "probe": {"strength": head.strength, **_shown(before)},
        "steps": course.steps if course else [],
        "epochs": course.epochs if course else [],
        "best_epoch": course.best_epoch if course else None,
        "precision": course.precision if course else "float32",
        "checks": course.checks if course else [],
        "attempts": [attempt.document() for attempt in course.attempts] if course else [],
        "notes": course.notes if course else [],
    }
    if after is not None:
        wins, losses = int((after.right & ~before.right).sum()), int((before.right & ~after.right).sum())
        document["fine_tune"] = {
            **_shown(after),
            "mended": wins,
            "broken": losses,
            "p_value": paired.mcnemar(wins, losses),
        }
    return document


def _shown(score: Score) -> dict[str, float | None]:
    return {"validation/accuracy": score.accuracy, "validation/loss": score.loss}


def _frozen(network: Network) -> list[rates.Rate]:
    """The rates of a network of which only the head was fitted, outside gradient descent."""
    return [
        rates.Rate(group.name, group.depth, 0.0, sum(value.numel() for _, value in group.parameters), True)
        for group in layers.groups(network)[:-1]
    ]

"""Train as planned: the probe always, then fine-tuning from it; what is no better than the probe hands the probe on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts, findings
from headstart.backbones import layers
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.determinism import folder_digest
from headstart.evaluation.gates import screen
from headstart.params.transfer import Train
from headstart.predictor import Preprocessor
from headstart.statistics import paired
from headstart.statistics.interval import Interval
from headstart.transfer import augment, device, features, finetune, probe, rates
from headstart.transfer.examples import Examples
from headstart.transfer.finetune import Course, Watch
from headstart.transfer.probe import Head

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
        plan: what the stage `plan` wrote: strategy, and the probe's strength and accuracy.
        backbone: folder of the backbone.
        data: what `prepare` wrote: splits and contract.
        out: folder, empty.
        partial: checkpoints of this very run; a killed run that is started again goes on from them.
        cache: features already computed.
    """
    place = device.settle(params.fine_tune.seed)
    preprocessor = Preprocessor.load(data / "contract")
    classes, key = preprocessor.contract.labels, folder_digest(backbone)
    learn, validate = dataset.read(data / "train.parquet"), dataset.read(data / "validation.parquet")
    targets, truth = learn.targets(classes), validate.targets(classes)

    started = time.perf_counter()
    network = Network.from_backbone(backbone, len(classes), dropout=params.fine_tune.dropout).to(place)
    found = [
        features.extract(network, preprocessor, split, cache=cache, key=key, progress=f"features of {name}")
        for name, split in (("train", learn), ("validation", validate))
    ]
    measured = plan["evidence"]["probe"]
    head = probe.refit(
        found[0],
        targets,
        len(classes),
        params.probe,
        strength=measured["strength"],
        accuracy_cv=Interval.from_document(measured),
    )
    network.set_head(head.weight, head.bias)
    at_start = Score.of(head.logits(found[1]), truth)
    seconds = {"probe": time.perf_counter() - started}

    course, after = None, None
    if plan["strategy"] == "fine_tune":
        started = time.perf_counter()
        change = augment.augmentation(params.fine_tune.augmentation) if params.modality == "image" else None
        examples = Examples(preprocessor, learn, targets, augment=change)
        watch = Watch(Examples(preprocessor, validate, truth), partial)
        course = finetune.run(network, examples, params.fine_tune, watch=watch, progress="fine-tuning")
        moved = features.compute(network, preprocessor, validate, progress="validation")
        after = Score.of(_head_of(network, head).logits(moved), truth)
        seconds["fine_tune"] = time.perf_counter() - started
    keep, reason = _decide(at_start, after, course, params.screen.loss_growth)
    if course is not None and not keep:
        network = Network.from_backbone(backbone, len(classes), dropout=params.fine_tune.dropout)
        network.set_head(head.weight, head.bias)

    history = _history(plan["strategy"], "fine_tune" if keep else "linear_probe", reason, head, at_start, after, course)
    history["groups"] = [rate.document() for rate in (course.rates if course else _frozen(network))]
    share = np.bincount(truth, minlength=len(classes)).max() / max(1, len(truth))
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


def _decide(before: Score, after: Score | None, course: Course | None, growth: float) -> tuple[bool, str]:
    """Whether the fine-tuned network is handed on, and why: more right answers, or as many at a lower loss."""
    if after is None or course is None:
        return False, "The plan chose the linear probe; nothing was fine-tuned."
    was, became = f"{before.accuracy:.3f}", f"{after.accuracy:.3f}"
    if course.best_epoch is None or after.loss is None or before.loss is None:
        return False, "Fine-tuning met losses that are not finite; the linear probe it started from is handed on."
    told = f"validation accuracy went from {was} to {became}, loss from {before.loss:.3f} to {after.loss:.3f}"
    if after.loss > growth * before.loss:
        return False, f"Fine-tuning diverged: {told}. The linear probe it started from is handed on."
    if (after.accuracy, -after.loss) <= (before.accuracy, -before.loss):
        return False, f"Fine-tuning did not improve on the linear probe: {told}. The probe is handed on."
    return True, f"Fine-tuning improved on the linear probe: {told}, at epoch {course.best_epoch}."


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


def _head_of(network: Network, before: Head) -> Head:
    """The network's head as it is now; strength and held-out accuracy are those of the probe it grew from."""
    weight, bias = network.head.weight.detach().cpu().numpy(), network.head.bias.detach().cpu().numpy()
    return Head(weight, bias, before.strength, before.accuracy_cv)


def _frozen(network: Network) -> list[rates.Rate]:
    """The rates of a network of which only the head was fitted, outside gradient descent."""
    return [
        rates.Rate(group.name, group.depth, 0.0, sum(value.numel() for _, value in group.parameters), True)
        for group in layers.groups(network)[:-1]
    ]

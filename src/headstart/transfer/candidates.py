"""One strategy trained on all of train and measured on validation; kept on disk, so that it is not trained twice."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.evaluation import scores
from headstart.params.section import Strategy as Name
from headstart.statistics.bootstrap import Sampling
from headstart.transfer import device, features
from headstart.transfer.context import LEVEL, Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head
from headstart.transfer.selection import Score
from headstart.transfer.strategies import STRATEGIES

DONE = "candidate.json"  # written last: its existence means that the files beside it are whole
WEIGHTS, LOGITS = "weights.safetensors", "logits.npy"
BOOTSTRAP = Sampling(resamples=500, level=LEVEL, seed=11)  # of macro-F1


@dataclass(frozen=True)
class Candidate:
    """A strategy that was trained.

    Attributes:
        name: of the strategy.
        context: whose backbone it has the architecture of.
        head: the linear probe that its training started from.
        score: on validation.
        document: its entry in `history.json`.
        folder: where its weights are.
        seconds: what training it took.
    """

    name: Name
    context: TrainingContext
    head: Head
    score: Score
    document: dict[str, Any]
    folder: Path
    seconds: float

    def network(self) -> Network:
        """The trained network, in evaluation mode."""
        own = self.context
        network = Network.from_backbone(own.backbone, own.classes, dropout=own.fine_tune.dropout)
        network.load_state_dict(load_file(self.folder / WEIGHTS))
        return network.to(own.device).eval()


def trained(
    name: Name, context: TrainingContext, learn: Split, validation: Split, head: Head, *, folder: Path, growth: float
) -> Candidate:
    """Train a strategy, or find it in `folder` where it was trained before.

    Args:
        name: of the strategy.
        context: how to train.
        learn: all of train.
        validation: what it is measured on.
        head: the linear probe of train.
        folder: belongs to this strategy of this very run alone.
        growth: of the validation loss since the start, beyond which training diverged.
    """
    if not (folder / DONE).is_file():
        started = time.perf_counter()
        device.settle(context.fine_tune.seed)  # whatever was trained before
        judged = Validation(context.shown(validation, augmented=False), folder / "run")
        network, history = STRATEGIES[name].train(context, learn, head, validation=judged, progress=name)
        logits = features.logits(network, context.preprocessor, validation.examples, progress="validation")
        values = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        with artifacts.replaced(folder / WEIGHTS) as temporary:
            save_file(values, temporary)
        with artifacts.replaced(folder / LOGITS) as temporary, temporary.open("wb") as file:
            np.save(file, logits)
        document = {
            "strategy": name,
            "label": STRATEGIES[name].label,
            "start_loss": _start_loss(name, context, validation, head),
            "training": _training(history),
        }
        artifacts.write_json(
            folder / DONE, {"format": 1, "document": document, "seconds": time.perf_counter() - started}
        )
        shutil.rmtree(folder / "run", ignore_errors=True)
    kept = artifacts.read_json(folder / DONE)
    logits = np.load(folder / LOGITS, allow_pickle=False)
    score = scored(context, logits, validation)
    document = {**kept["document"], "validation": metrics(score, logits, validation)}
    document["outcome"] = _outcome(score, document, growth)
    return Candidate(name, context, head, score, document, folder, float(kept["seconds"]))


def scored(context: TrainingContext, logits: NDArray[np.float64], validation: Split) -> Score:
    balanced = context.fine_tune.balanced
    return Score.of(logits, validation.targets, validation.examples.groups, balanced=balanced)


def metrics(score: Score, logits: NDArray[np.float64], validation: Split) -> dict[str, Any]:
    """Accuracy and macro-F1 with intervals, and the loss that selection compares."""
    answers, groups = logits.argmax(axis=1), validation.examples.groups
    found = scores.labelled(answers, validation.targets, logits.shape[1], BOOTSTRAP, groups)
    return {**{name: value.document() for name, value in found.items()}, "loss": score.loss}


def _start_loss(name: Name, context: TrainingContext, validation: Split, head: Head) -> float | None:
    """Validation loss of the network that training started from: the probe, or one that favours no class."""
    if name == "scratch":
        return float(np.log(context.classes))
    return scored(context, head.logits(validation.features), validation).loss


def _outcome(score: Score, document: dict[str, Any], growth: float) -> str:
    """`trained`, `nonfinite` or `diverged`."""
    training, start = document["training"], document["start_loss"]
    if score.loss is None or (training is not None and training["best_epoch"] is None):
        return "nonfinite"
    return "diverged" if start is not None and score.loss > growth * start else "trained"


def _training(history: History | None) -> dict[str, Any] | None:
    """How gradient descent went; None where there was none."""
    if history is None:
        return None
    return {
        "steps": history.steps,
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "precision": history.precision,
        "checks": history.checks,
        "attempts": [attempt.document() for attempt in history.attempts],
        "notes": history.notes,
        "rates": [rate.document() for rate in history.rates],
    }

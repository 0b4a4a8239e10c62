"""What training hands on: the network whose layers were trained, or the probe where that is no worse on validation.

Better is the one that is right more often, where that can't be chance, else the one of lower loss, which tells two
networks apart sooner than counting right answers does. Where `fine_tune` asks that
every class counts alike, its loss decides, classes weighted. The same rows chose the network's epoch, which flatters
it: on 75 of them one truly 3.3 points worse is handed on in 21% of simulated runs of 3 epochs, in 42% of 25 epochs (by
right answers alone in 26% and 46%), on 300 of them in 6% and 7% (13% and 19%).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation import metrics
from headstart.statistics import paired
from headstart.statistics.clustered import Groups
from headstart.transfer import probe
from headstart.transfer.finetune.history import History
from headstart.transfer.ladder import Climb

SURE = 0.05  # two-sided error allowed where right answers decide


@dataclass(frozen=True)
class Score:
    """How a network does on validation data.

    Attributes:
        loss: mean negative log-likelihood in nats after temperature scaling; None where it is not finite.
        accuracy: share of right answers.
        right: `(examples,)`, which were.
        groups: which examples belong together.
        alike: whether every class counts alike in the loss, which alone decides then.
        macro_f1: every class counts the same, however rare; None where it was not measured.
    """

    loss: float | None
    accuracy: float
    right: NDArray[np.bool_]
    groups: Groups = None
    alike: bool = False
    macro_f1: float | None = None

    @classmethod
    def of(
        cls, logits: NDArray[np.float64], targets: NDArray[np.int64], groups: Groups = None, *, alike: bool = False
    ) -> "Score":
        loss = probe.calibrated_loss(logits, targets, probe.alike(targets) if alike else None)
        answers = logits.argmax(axis=1)
        right = answers == targets
        f1 = metrics.macro_f1(answers, targets, logits.shape[1])
        return cls(loss if np.isfinite(loss) else None, float(right.mean()), right, groups, alike, f1)

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.3f}, loss {'not finite' if self.loss is None else f'{self.loss:.3f}'}"

    def beats(self, other: "Score") -> bool:
        """Whether it is better, by the same examples."""
        if self.loss is None or other.loss is None:
            return self.loss is not None
        return self.accuracy > other.accuracy if self.told_from(other) else self.loss < other.loss

    def told_from(self, other: "Score") -> bool:
        """Whether right answers tell the two apart, so that their losses need not be asked."""
        if self.alike:
            return False
        found = paired.difference(self.right, other.right, 1 - SURE, self.groups)
        apart = found.interval.low > 0 or found.interval.high < 0  # of groups, where there are any
        return apart and found.p_value <= SURE


def decide(
    probed: Score,
    start: Score,
    trained: Score,
    handed: Score,
    course: History,
    climbed: Climb | None,
    growth: float,
) -> tuple[bool, str]:
    """Whether the trained network is handed on, and why.

    Args:
        probed: the probe that is handed on otherwise.
        start: where training started: the probe of all layers, which is another one where `probed` ends lower.
        trained: the network that training left.
        handed: the one that the ladder chose, if one was climbed, else `trained`.
        course: how training went.
        climbed: the ladder.
        growth: of the loss since the start, beyond which training diverged.
    """
    if course.best_epoch is None or trained.loss is None or start.loss is None:
        return False, "Training met losses that are not finite; the linear probe is handed on."
    told = (
        f"validation accuracy went from {start.accuracy:.3f} to {trained.accuracy:.3f}, "
        f"loss from {start.loss:.3f} to {trained.loss:.3f}"
    )
    if trained.loss > growth * start.loss:
        return False, f"Training diverged: {told}. The linear probe is handed on."
    what = "the linear probe" if probed is start else f"the linear probe (which ends lower, {probed})"
    if not trained.beats(probed):
        told += _decided(trained, probed)
        return False, f"Training did not improve on {what}: {told} The probe is handed on."
    reason = f"Training improved on {what}: {told}, at epoch {course.best_epoch}{_decided(trained, probed)}"
    if climbed is None or climbed.chosen == 0:
        return True, reason
    rung = climbed.points[climbed.chosen].name
    if handed.beats(probed):
        return True, f"{reason} Handed on is the ladder's {rung}. {climbed.reason}"
    return False, (
        f"{reason} But {climbed.reason[0].lower()}{climbed.reason[1:]} That ({handed}) is no better than the probe "
        f"({probed}), which is handed on."
    )


def _decided(trained: Score, probed: Score) -> str:
    """The end of a sentence; where losses decide against right answers, that they do."""
    better = trained.beats(probed)
    if trained.accuracy == probed.accuracy or better is (trained.accuracy > probed.accuracy):
        return "."
    why = "every class counts alike in it" if trained.alike else "so few right answers more may be chance"
    return f". Its loss is {'lower' if better else 'higher'} than the probe's, which decides: {why}."

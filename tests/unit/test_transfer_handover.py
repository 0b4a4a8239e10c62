"""What is handed on, and that its reason names what was compared with what."""

import numpy as np
import pytest

from headstart.transfer import handover
from headstart.transfer.finetune.history import History
from headstart.transfer.handover import Score
from headstart.transfer.ladder import Climb, Point
from headstart.transfer.retention import Retention


def score(accuracy: float, loss: float | None) -> Score:
    return Score(loss, accuracy, np.arange(1000) < 1000 * accuracy)


def course(best_epoch: int | None = 2) -> History:
    return History([], [], [], best_epoch, "float32")


def climb(*points: tuple[str, float, float], chosen: int) -> Climb:
    made = [Point(name, right, loss, Retention(None, None, {}, {}, None), {}) for name, right, loss in points]
    return Climb(made, chosen, "The fine-tune lost 0.300 of accuracy.")


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        pytest.param((0.8, 0.5), (0.81, 0.6), True, id="10 right answers more and none less: no chance"),
        pytest.param((0.8, 0.5), (0.79, 0.3), False, id="10 less and none more"),
        pytest.param((0.8, 0.5), (0.805, 0.51), False, id="5 more may be chance (p = 0.0625), and the loss is higher"),
        pytest.param((0.8, 0.5), (0.806, 0.51), True, id="6 more are not (p = 0.031)"),
        pytest.param((0.8, 0.5), (0.795, 0.49), True, id="5 less may be chance, and the loss is lower"),
        pytest.param((0.8, 0.5), (0.8, 0.49), True, id="as many, a lower loss"),
        pytest.param((0.8, 0.5), (0.8, 0.5), False, id="the same"),
        pytest.param((0.8, 0.5), (0.9, 0.8), False, id="more right answers, but it diverged"),
    ],
)
def test_the_better_one_on_validation_is_handed_on_unless_training_diverged(before, after, keeps):
    probed, trained = score(*before), score(*after)
    keep, reason = handover.decide(probed, probed, trained, trained, course(), None, 1.5)
    assert keep is keeps
    assert f"from {before[0]:.3f} to {after[0]:.3f}" in reason
    assert ("diverged" in reason) is (after[1] > 1.5 * before[1])
    assert ("which decides" in reason) is (after[0] in (0.795, 0.805))  # where the loss speaks against right answers


def test_what_decided_is_said_of_the_probe_it_was_held_to_also_where_that_ends_lower():
    start, trained = score(0.6, 0.9), score(0.855, 0.47)
    keep, reason = handover.decide(score(0.85, 0.45), start, trained, trained, course(), None, 1.5)
    assert not keep
    assert "loss from 0.900 to 0.470. Its loss is higher than the probe's, which decides" in reason


def test_right_answers_of_groups_tell_apart_what_groups_tell_apart():
    # 200 examples in 10 groups, all of one group right or wrong: one group more is 20 right answers, and may be chance
    few, more = np.arange(200) < 160, np.arange(200) < 180
    groups = [str(row // 20) for row in range(200)]
    assert Score(0.5, 0.9, more).told_from(Score(0.4, 0.8, few))
    assert not Score(0.5, 0.9, more, groups).told_from(Score(0.4, 0.8, few, groups))


def test_where_every_class_counts_alike_a_rare_one_may_decide_against_right_answers():
    # 380 of the common class, 20 of the rare: the probe answers the common one always, the other finds the rare ones
    targets = np.repeat([0, 1], [380, 20])
    probed = np.tile([3.0, 0.0], (400, 1))
    trained = np.where(targets[:, None] == 0, [2.0, 0.0], [0.0, 2.0]).astype(float)
    trained[:30] = [0.0, 1.0]
    plain = Score.of(trained, targets), Score.of(probed, targets)
    assert plain[0].accuracy < plain[1].accuracy
    one, other = Score.of(trained, targets, alike=True), Score.of(probed, targets, alike=True)
    assert one.beats(other)
    keep, reason = handover.decide(other, other, one, one, course(), None, 1.5)
    assert keep and "every class counts alike in it" in reason


def test_losses_that_are_not_finite_hand_on_the_probe():
    probed = score(0.8, 0.5)
    for trained, how in ((score(0.9, None), course()), (score(0.9, 0.4), course(None))):
        keep, reason = handover.decide(probed, probed, trained, trained, how, None, 1.5)
        assert not keep and "not finite" in reason


def test_training_is_told_from_its_own_start_where_the_probe_ends_lower():
    # from a whole network's probe of 0.600 to 0.720; the probe that ends lower is at 0.850 with a loss of 0.45
    probed, start, trained = score(0.85, 0.45), score(0.6, 0.9), score(0.72, 0.75)
    keep, reason = handover.decide(probed, start, trained, trained, course(), None, 1.5)
    assert not keep and "diverged" not in reason
    assert "from 0.600 to 0.720" in reason and "which ends lower, accuracy 0.850, loss 0.450" in reason


def test_a_rung_that_is_handed_on_is_named():
    probed, trained = score(0.8, 0.5), score(0.9, 0.4)
    climbed = climb(("tuned", 0.9, 0.4), ("interpolation 0.5", 0.86, 0.42), chosen=1)
    keep, reason = handover.decide(probed, probed, trained, score(0.86, 0.42), course(), climbed, 1.5)
    assert keep
    assert "from 0.800 to 0.900" in reason and "Handed on is the ladder's interpolation 0.5." in reason


def test_a_rung_no_better_than_the_probe_is_not_told_as_training_that_failed():
    probed, trained = score(0.8, 0.5), score(0.9, 0.4)
    climbed = climb(("tuned", 0.9, 0.4), ("interpolation 0.25", 0.79, 0.52), chosen=1)
    keep, reason = handover.decide(probed, probed, trained, score(0.79, 0.52), course(), climbed, 1.5)
    assert not keep
    assert reason.startswith("Training improved on the linear probe: validation accuracy went from 0.800 to 0.900")
    assert reason.endswith(
        "But the fine-tune lost 0.300 of accuracy. "
        "That (accuracy 0.790, loss 0.520) is no better than the probe (accuracy 0.800, loss 0.500), "
        "which is handed on."
    )

"""Which candidate is kept, and why."""

import numpy as np
import pytest

from headstart.transfer import selection
from headstart.transfer.selection import Score, select, significantly_better


def score(accuracy: float, loss: float | None, *, balanced: bool = False) -> Score:
    return Score(loss, np.arange(1000) < 1000 * accuracy, balanced=balanced)


@pytest.mark.parametrize(
    ("probe", "trained", "kept", "code"),
    [
        pytest.param((0.8, 0.5), (0.81, 0.6), "fine_tune", "significantly_better", id="10 more right, none fewer"),
        pytest.param((0.8, 0.5), (0.79, 0.3), "linear_probe", "significantly_better", id="10 fewer"),
        pytest.param((0.8, 0.5), (0.805, 0.51), "linear_probe", "lower_loss", id="5 more may be chance (p = 0.0625)"),
        pytest.param((0.8, 0.5), (0.806, 0.51), "fine_tune", "significantly_better", id="6 more are not (p = 0.031)"),
        pytest.param((0.8, 0.5), (0.795, 0.49), "fine_tune", "lower_loss", id="5 fewer may be, and the loss is lower"),
        pytest.param((0.8, 0.5), (0.8, 0.5), "linear_probe", "lower_loss", id="equal: the cheaper"),
        pytest.param((0.8, 0.5), (0.9, None), "linear_probe", "others_failed", id="a loss that is not finite"),
    ],
)
def test_of_two_the_better_is_kept_and_of_equal_ones_the_cheaper(probe, trained, kept, code):
    found = select({"linear_probe": score(*probe), "fine_tune": score(*trained)}, {})
    assert (found.kept, found.code) == (kept, code)


def test_of_three_the_least_loss_among_those_near_the_most_accurate_is_kept():
    # lora is 4 answers behind fine_tune (p = 0.125), the probe 20: only the first two are compared by loss
    scores = {"linear_probe": score(0.88, 0.1), "lora": score(0.896, 0.3), "fine_tune": score(0.9, 0.4)}
    found = select(scores, {})
    assert (found.kept, found.against, found.code) == ("lora", "fine_tune", "lower_loss")


def test_a_candidate_that_another_is_significantly_more_accurate_than_is_never_kept_for_its_loss():
    # lora is right most often, on other rows; the probe is right wherever fine_tune is, and on 7 more (p = 0.016)
    rows = np.arange(300)
    scores = {
        "linear_probe": Score(0.4, rows < 207),
        "lora": Score(0.5, rows >= 92),
        "fine_tune": Score(0.3, rows < 200),
    }
    found = select(scores, {})
    assert (found.kept, found.against, found.code) == ("linear_probe", "fine_tune", "significantly_better")


def test_where_all_of_several_failed_that_is_the_reason():
    found = select({"linear_probe": score(0.7, None), "fine_tune": score(0.9, None)}, {})
    assert (found.kept, found.code) == ("linear_probe", "all_failed")


def test_comparing_three_takes_more_evidence_than_comparing_two():
    # 6 of 1,000 answers apart: p = 0.031, below 0.05 for one comparison, above 0.025 for two
    two = {"linear_probe": score(0.894, 0.2), "fine_tune": score(0.9, 0.3)}
    assert select(two, {}).kept == "fine_tune"
    assert select({**two, "lora": score(0.5, 0.9)}, {}).kept == "linear_probe"


def test_a_candidate_that_diverged_is_kept_only_where_there_is_no_other():
    scores = {"linear_probe": score(0.7, 0.8), "fine_tune": score(0.9, 0.7)}
    assert select(scores, {"fine_tune": "diverged"}).kept == "linear_probe"
    found = select({"fine_tune": score(0.9, 0.7)}, {"fine_tune": "diverged"})
    assert (found.kept, found.code, found.against) == ("fine_tune", "only_candidate", None)


def test_answers_of_one_group_count_together():
    # 200 examples in 10 groups, all of one group right or wrong: one group more is 20 right answers, and may be chance
    few, more = np.arange(200) < 160, np.arange(200) < 180
    groups = [str(row // 20) for row in range(200)]
    assert significantly_better(Score(0.5, more), Score(0.4, few), 0.05)
    assert not significantly_better(Score(0.5, more, groups), Score(0.4, few, groups), 0.05)


def test_where_all_classes_weigh_the_same_a_rare_one_may_decide_against_right_answers():
    # 380 of the common class, 20 of the rare: the probe answers the common one always, the other finds the rare ones
    targets = np.repeat([0, 1], [380, 20])
    probe = np.tile([3.0, 0.0], (400, 1))
    trained = np.where(targets[:, None] == 0, [2.0, 0.0], [0.0, 2.0]).astype(float)
    trained[:30] = [0.0, 1.0]
    assert Score.of(trained, targets).accuracy < Score.of(probe, targets).accuracy
    names = ("linear_probe", "fine_tune")
    scores = {name: Score.of(one, targets, balanced=True) for name, one in zip(names, (probe, trained), strict=True)}
    found = select(scores, {})
    assert (found.kept, found.code) == ("fine_tune", "lower_balanced_loss")


def test_the_difference_counts_what_the_kept_one_fixes_and_regresses():
    kept, other = Score(0.1, np.array([1, 1, 1, 0, 1], bool)), Score(0.2, np.array([1, 0, 0, 1, 1], bool))
    found = selection.difference(kept, other)
    assert (found["fixed"], found["regressed"], found["n"]) == (2, 1, 5)
    assert found["value"] == pytest.approx(0.2)


class Mitigations:
    """What mitigating each candidate would make of its score; which were asked for it, in that order."""

    def __init__(self, **scores: Score | None) -> None:
        self.scores, self.asked = scores, []

    def __call__(self, name: str) -> Score | None:
        self.asked.append(name)
        return self.scores.get(name)


THREE = {"linear_probe": (0.8, 0.5), "fine_tune": (0.85, 0.4), "adapt_then_fine_tune": (0.9, 0.3)}
"""The dearest is the best, then fine-tuning, then the probe; each difference is significant."""


@pytest.mark.parametrize(
    ("after", "kept", "asked", "against"),
    [
        pytest.param({}, "adapt_then_fine_tune", ["adapt_then_fine_tune"], None, id="within the budget"),
        pytest.param(
            {"adapt_then_fine_tune": (0.89, 0.31)},
            "adapt_then_fine_tune",
            ["adapt_then_fine_tune"],
            None,
            id="mitigated, and still the best",
        ),
        pytest.param(
            {"adapt_then_fine_tune": (0.82, 0.45)},
            "fine_tune",
            ["adapt_then_fine_tune", "fine_tune"],
            "adapt_then_fine_tune",
            id="another wins, and is within the budget",
        ),
        pytest.param(
            {"adapt_then_fine_tune": (0.82, 0.45), "fine_tune": (0.78, 0.55)},
            "adapt_then_fine_tune",
            ["adapt_then_fine_tune", "fine_tune"],
            None,
            id="the other loses more by it, so the first wins again and is not mitigated twice",
        ),
        pytest.param(
            {"adapt_then_fine_tune": (0.7, 0.6), "fine_tune": (0.7, 0.6)},
            "linear_probe",
            ["adapt_then_fine_tune", "fine_tune", "linear_probe"],
            "adapt_then_fine_tune",
            id="in the end the probe",
        ),
    ],
)
def test_each_winner_is_mitigated_once_and_compared_with_all_others_again(after, kept, asked, against):
    mitigate = Mitigations(**{name: score(*values) for name, values in after.items()})
    found, scores = selection.settle({name: score(*values) for name, values in THREE.items()}, {}, mitigate)
    assert (found.kept, mitigate.asked) == (kept, asked)
    assert [scores[name].accuracy for name in THREE] == [(after.get(name) or THREE[name])[0] for name in THREE]
    if against:
        assert (found.code, found.against) == ("better_than_mitigated", against)
    else:
        assert found.code == "significantly_better"


def test_a_mitigated_network_whose_loss_is_not_finite_does_not_win_again():
    found, _ = selection.settle(
        {name: score(*values) for name, values in THREE.items()}, {}, Mitigations(adapt_then_fine_tune=score(0.9, None))
    )
    assert (found.kept, found.code) == ("fine_tune", "better_than_mitigated")


@pytest.mark.nightly
def test_two_equally_good_networks_are_rarely_called_significantly_better():
    # both right on 80% of 150 rows, 70% of their errors in common; exact McNemar is conservative: at most 5%
    random, called = np.random.default_rng(1), 0
    for _ in range(2000):
        common = random.random(150) < 0.8
        one, other = (np.where(random.random(150) < 0.3, random.random(150) < 0.8, common) for _ in range(2))
        called += significantly_better(Score(0.5, one), Score(0.5, other), selection.ALPHA)
    assert called / 2000 <= 0.05

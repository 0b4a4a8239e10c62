"""Mitigations of forgetting: tried only over the budget, the cheapest first, and the best within it is chosen."""

import pytest
import torch

from headstart.statistics import paired
from headstart.transfer import mitigations
from headstart.transfer.mitigations import Mitigation, Point
from headstart.transfer.retention import Retention

BUDGET = 0.1
START, TRAINED = {"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])}
INTERPOLATED = ("interpolation 0.75", "interpolation 0.5", "interpolation 0.25")


def point(name: str, accuracy: float, lost: float | None, loss: float = 0.5, weights: dict | None = None) -> Point:
    """100 reference examples, of which so many are no longer answered."""
    kept = None if lost is None else paired.from_counts(0, round(100 * lost), 100, 0.95)
    return Point(name, accuracy, loss, Retention(kept, None, {}, {}, None), weights or TRAINED)


def mitigate(trained: Point, answers: dict[str, tuple[float, float]], *, finite: bool = True) -> tuple[Mitigation, int]:
    """With the accuracy and loss of retention that each would give; how often a network was trained again."""
    pulls: list[float] = []

    def retrain(pull: float) -> dict | None:
        pulls.append(pull)
        return TRAINED if finite else None

    def judge(name: str, weights: dict) -> Point:
        return point(name, *answers.get(name, (0.1, 0.0)), weights=weights)

    return mitigations.mitigate(trained, START, BUDGET, judge, retrain), len(pulls)


def test_a_network_within_the_budget_is_left_alone():
    found, trained = mitigate(point("trained", 0.9, 0.1), {})
    assert (found.code, len(found.points), trained) == ("within_budget", 1, 0)


def test_without_a_reference_nothing_is_tried():
    found, _ = mitigate(point("trained", 0.9, None), {})
    assert (found.code, found.chosen) == ("unknown", 0)


def test_interpolation_that_suffices_trains_nothing():
    answers = dict(zip(INTERPOLATED, ((0.899, 0.15), (0.896, 0.08), (0.5, 0.0)), strict=True))
    found, trained = mitigate(point("trained", 0.9, 0.3), answers)
    assert (found.point.name, found.code, trained) == ("interpolation 0.5", "mitigated", 0)
    assert found.point.weights["w"].item() == 0.5


def test_training_again_with_a_pull_is_tried_where_interpolation_costs_too_much_accuracy():
    answers = {"interpolation 0.75": (0.88, 0.2), "interpolation 0.5": (0.80, 0.05), "pull": (0.9, 0.06)}
    found, trained = mitigate(point("trained", 0.9, 0.3), answers)
    assert (found.point.name, trained) == ("pull", 1)


def test_a_pulled_network_whose_losses_are_not_finite_does_not_count():
    answers = dict(zip(INTERPOLATED, ((0.88, 0.2), (0.80, 0.05), (0.7, 0.01)), strict=True))
    found, trained = mitigate(point("trained", 0.9, 0.3), answers, finite=False)
    assert (found.point.name, trained) == ("interpolation 0.5", 1)


def test_of_all_within_the_budget_the_most_accurate_is_chosen():
    answers = {**dict(zip(INTERPOLATED, ((0.87, 0.09), (0.85, 0.04), (0.7, 0.0)), strict=True)), "pull": (0.86, 0.05)}
    found, _ = mitigate(point("trained", 0.9, 0.3), answers)
    assert found.point.name == "interpolation 0.75"


def test_where_nothing_stays_within_the_budget_the_one_that_forgot_least_is_taken():
    answers = {**dict.fromkeys(INTERPOLATED, (0.88, 0.25)), "interpolation 0.5": (0.88, 0.2), "pull": (0.88, 0.22)}
    found, _ = mitigate(point("trained", 0.9, 0.3), answers)
    assert (found.point.name, found.code) == ("interpolation 0.5", "none_within_budget")


@pytest.mark.parametrize(
    ("second", "chosen"),
    [
        pytest.param((0.82, 0.35), "interpolation 0.75", id="8 points of accuracy for a little less loss"),
        pytest.param((0.896, 0.35), "interpolation 0.5", id="within half a point"),
    ],
)
def test_a_lower_loss_is_not_bought_with_accuracy_that_matters(second, chosen):
    made = {"interpolation 0.75": (0.899, 0.36), "interpolation 0.5": second, "interpolation 0.25": (0.2, 0.9)}

    def judge(name: str, weights: dict) -> Point:
        return point(name, made[name][0], 0.05, loss=made[name][1], weights=weights)

    found = mitigations.mitigate(point("trained", 0.9, 0.3), START, BUDGET, judge, lambda _: None)
    assert found.point.name == chosen


def test_what_is_not_a_floating_point_number_stays_the_starts():
    start, trained = {"n": torch.tensor(3), "w": torch.tensor([2.0])}, {"n": torch.tensor(9), "w": torch.tensor([4.0])}
    mixed = mitigations.interpolated(start, trained, 0.75)
    assert (mixed["n"].item(), mixed["w"].item()) == (3, 3.5)

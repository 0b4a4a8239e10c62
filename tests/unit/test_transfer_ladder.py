"""The ladder: climbed only over the budget, cheapest rung first, and what is handed on is the best within it."""

import torch

from headstart.params.transfer import Forgetting
from headstart.statistics import paired
from headstart.transfer import ladder
from headstart.transfer.retention import Retention

PARAMS = Forgetting(
    budget=0.1, worth=0.005, examples=10, alphas=[0.75, 0.5], pull=1.0, layer_decay=0.6, level=0.95
)  # fmt: skip
START, TUNED = {"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])}


def retention(lost: float | None) -> Retention:
    """100 reference examples, of which so many are answered no more."""
    kept = None if lost is None else paired.from_counts(0, round(100 * lost), 100, 0.95)
    return Retention(kept, None, {}, {}, None)


def point(name: str, accuracy: float, lost: float | None, weights: dict | None = None) -> ladder.Point:
    return ladder.Point(name, accuracy, 0.5, retention(lost), weights or TUNED)


def climb(
    tuned: ladder.Point, answers: dict[str, tuple[float, float]], diverging: tuple[str, ...] = ()
) -> tuple[ladder.Climb, list[str]]:
    """Climb with the accuracy and loss of retention that each rung would give; what was trained again."""
    trained: list[str] = []

    def retrain(name: str, changes: object) -> dict | str:
        trained.append(name)
        return "its losses were not finite" if name in diverging else TUNED

    def judge(name: str, weights: dict) -> ladder.Point:
        return point(name, *answers[name], weights)

    return ladder.climb(tuned, START, PARAMS, judge, retrain), trained


def test_a_fine_tune_within_the_budget_is_left_alone():
    found, trained = climb(point("tuned", 0.9, 0.1), {})
    assert (found.chosen, len(found.points), trained) == (0, 1, [])
    assert "lost 0.100 of accuracy on the backbone's own sample; 0.1 is allowed" in found.reason


def test_without_a_reference_nothing_is_climbed_and_the_reason_names_the_key():
    found, _ = climb(point("tuned", 0.9, None), {})
    assert "unknown" in found.reason and "reference" in found.reason


def test_interpolation_that_suffices_trains_nothing():
    found, trained = climb(
        point("tuned", 0.9, 0.3), {"interpolation 0.75": (0.899, 0.15), "interpolation 0.5": (0.896, 0.08)}
    )
    assert (found.points[found.chosen].name, trained) == ("interpolation 0.5", [])
    assert found.points[found.chosen].weights["w"].item() == 0.5


def test_the_next_rung_is_tried_where_interpolation_costs_too_much_accuracy():
    answers = {"interpolation 0.75": (0.88, 0.2), "interpolation 0.5": (0.80, 0.05), "pull 1": (0.9, 0.06)}
    found, trained = climb(point("tuned", 0.9, 0.3), answers)
    assert trained == ["pull 1"]
    assert found.points[found.chosen].name == "pull 1"


def test_a_rung_whose_losses_are_not_finite_is_named_and_does_not_count():
    answers = {"interpolation 0.75": (0.88, 0.2), "interpolation 0.5": (0.80, 0.15), "layer decay 0.6": (0.9, 0.06)}
    found, trained = climb(point("tuned", 0.9, 0.3), answers, diverging=("pull 1",))
    assert trained == ["pull 1", "layer decay 0.6"]
    assert found.points[found.chosen].name == "layer decay 0.6"
    assert "Not climbed: pull 1 (its losses were not finite)." in found.reason


def test_of_all_within_the_budget_the_most_accurate_is_handed_on():
    answers = {
        "interpolation 0.75": (0.87, 0.09),
        "interpolation 0.5": (0.85, 0.04),
        "pull 1": (0.86, 0.05),
        "layer decay 0.6": (0.86, 0.3),
    }
    found, trained = climb(point("tuned", 0.9, 0.3), answers)
    assert trained == ["pull 1", "layer decay 0.6"]
    assert found.points[found.chosen].name == "interpolation 0.75"


def test_where_no_rung_stays_within_the_budget_the_nearest_is_taken_and_it_is_said():
    answers = {name: (0.88, lost) for name, lost in (("interpolation 0.75", 0.25), ("interpolation 0.5", 0.2))}
    answers |= {"pull 1": (0.88, 0.22), "layer decay 0.6": (0.88, 0.28)}
    found, _ = climb(point("tuned", 0.9, 0.3), answers)
    assert found.points[found.chosen].name == "interpolation 0.5"
    assert "No rung stayed within it" in found.reason


def test_a_lower_loss_is_not_bought_with_accuracy_that_matters():
    # within the budget: one as accurate as the tuned network, and one of a little less loss that is 8 points worse
    def judge(name: str, weights: dict) -> ladder.Point:
        right, loss = {"interpolation 0.75": (0.9, 0.36), "interpolation 0.5": (0.82, 0.35)}[name]
        return ladder.Point(name, right, loss, retention(0.05), weights)

    found = ladder.climb(point("tuned", 0.9, 0.3), START, PARAMS, judge, lambda *_: "not needed")
    assert found.points[found.chosen].name == "interpolation 0.75"

    def near(name: str, weights: dict) -> ladder.Point:
        right, loss = {"interpolation 0.75": (0.899, 0.36), "interpolation 0.5": (0.896, 0.35)}[name]
        return ladder.Point(name, right, loss, retention(0.05), weights)

    found = ladder.climb(point("tuned", 0.9, 0.3), START, PARAMS, near, lambda *_: "not needed")
    assert found.points[found.chosen].name == "interpolation 0.5"

"""The race: who leaves when, what is never spent, and that nobody judges what they learned from."""

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.params.transfer import Race
from headstart.transfer import decision, race, rungs
from headstart.transfer.setting import Split


def params(**changes: object) -> Race:
    values = {
        "candidates": ["linear_probe", "lora", "fine_tune"],
        "shares": [0.25, 0.5],
        "examples": 1000,
        "judged": 400,
        "budget": 10_000,
        "doubt": 0.1,
        "seed": 1,
    }
    return Race(**{**values, **changes})


def split(name: str, count: int, *, groups: list[str | None] | None = None) -> Split:
    ids = [f"{name}-{row}" for row in range(count)]
    targets = np.arange(count) % 4
    examples = Dataset("text", ids, [str(one) for one in targets], ids, groups or [None] * count, [None] * count)
    return Split(examples, targets, np.zeros((count, 1), dtype=np.float32))


def answers(share: float, n: int, *, seed: int) -> np.ndarray:
    """`share` of `n` answers are right; which ones depends on the seed, so strategies err on different examples."""
    return np.random.default_rng(seed).permutation(n) < round(share * n)


def run(accuracies: dict[str, list[float]], **changes: object):
    """A race in which each strategy reaches the accuracies given, rung by rung; who ran on how many rows."""
    ran: list[tuple[str, int]] = []

    def train(name: str, shown: Split, judged: Split) -> np.ndarray:
        rung = sum(one == name for one, _ in ran)
        ran.append((name, len(shown)))
        return answers(accuracies[name][rung], len(judged), seed=len(name))

    costs = {"scratch": 5.0, "linear_probe": 1.0, "lora": 3.0, "fine_tune": 5.0}
    outcome = race.run(
        list(accuracies), costs, split("train", 400), split("validation", 200), params(**changes), train, level=0.9
    )
    return outcome, ran


def test_nobody_leaves_by_chance_while_the_budget_holds_the_next_rung_for_all():
    outcome, ran = run({"linear_probe": [0.7, 0.7], "lora": [0.71, 0.7], "fine_tune": [0.72, 0.8]})
    assert [name for name, rows in ran if rows == 200] == ["linear_probe", "lora", "fine_tune"]
    assert set(outcome.left) == {"linear_probe", "lora"} and all("behind" in why for why in outcome.left.values())


def test_where_the_budget_is_short_the_better_trained_half_goes_on_and_the_probe_stays_as_yardstick():
    # 100 + 300 + 500, then 200 + 600 + 1,000 for all, 200 + 1,000 for the better half
    outcome, ran = run({"linear_probe": [0.7, 0.7], "lora": [0.71, 0.7], "fine_tune": [0.72, 0.8]}, budget=2100)
    assert ran == [("linear_probe", 100), ("lora", 100), ("fine_tune", 100), ("linear_probe", 200), ("fine_tune", 200)]
    told = "the budget does not hold the next rung for all, and it was in the worse half (accuracy 71.0%; right"
    assert outcome.left["lora"].startswith(f"After learning from 100 rows: {told}")
    assert "of 400, fine_tune on " in outcome.left["lora"] and outcome.short
    assert (outcome.standing, outcome.leader) == (["fine_tune"], "fine_tune")
    assert outcome.gaps["fine_tune"].interval.value == pytest.approx(0.1)


def test_nobody_leaves_for_a_rung_that_the_budget_does_not_hold_for_the_better_half_either():
    # 1,150 are left after rung 1, and the better half would cost 1,200
    outcome, ran = run({"linear_probe": [0.7], "lora": [0.71], "fine_tune": [0.72]}, budget=2050)
    assert {rows for _, rows in ran} == {100}
    assert outcome.standing == ["linear_probe", "lora", "fine_tune"] and outcome.short


def test_of_two_trained_ones_that_are_as_often_right_the_cheaper_goes_on_and_it_is_said():
    same = answers(0.8, 100, seed=1)
    out = race.worse_half(["linear_probe", "lora", "fine_tune"], {"lora": same, "fine_tune": same})
    assert list(out) == ["fine_tune"] and out["fine_tune"].endswith("as often right as lora (80.0%), which is cheaper.")


def test_a_leader_beyond_doubt_ends_the_race_at_once():
    outcome, ran = run({"linear_probe": [0.5], "fine_tune": [0.9]})
    assert [name for name, _ in ran] == ["linear_probe", "fine_tune"]
    assert outcome.ended == "After learning from 100 rows fine_tune is the only one left."
    assert "After learning from 100 rows: behind fine_tune by 40.0 points" in outcome.left["linear_probe"]


def test_a_dearer_strategy_that_is_behind_may_overtake_with_more_labels():
    outcome, ran = run({"linear_probe": [0.8, 0.7], "fine_tune": [0.6, 0.8]})
    assert ("fine_tune", 200) in ran
    assert outcome.leader == "fine_tune"


def test_a_dearer_strategy_that_is_behind_on_the_last_rung_stays_too_since_more_labels_come_after_it():
    outcome, _ = run({"linear_probe": [0.8, 0.8], "fine_tune": [0.6, 0.6]})
    assert (outcome.standing, outcome.leader) == (["linear_probe", "fine_tune"], "linear_probe")
    assert outcome.behind["fine_tune"].interval.low > 0.1 and not outcome.left


def test_those_that_cannot_be_told_apart_stay_cheapest_first():
    outcome, _ = run({"linear_probe": [0.70, 0.70], "fine_tune": [0.705, 0.705]})
    assert (outcome.standing, outcome.leader) == (["linear_probe", "fine_tune"], "fine_tune")
    assert outcome.behind["linear_probe"].interval.low <= 0


def test_no_leg_is_run_that_the_budget_does_not_hold():
    # 100 rows: 100 + 300 + 500 = 900; the next rung would cost 200 + 1,000, and 300 are left
    outcome, ran = run({"linear_probe": [0.7, 0.7], "lora": [0.6], "fine_tune": [0.72]}, budget=1200)
    assert ran == [("linear_probe", 100), ("lora", 100), ("fine_tune", 100)]
    assert (outcome.spent, outcome.short) == (900, True)
    assert outcome.ended == "The next rung of 200 rows would cost 1,200; 300 of the budget were left."
    assert outcome.standing == ["linear_probe", "fine_tune"]


def test_a_strategy_that_the_budget_does_not_hold_is_out_where_others_run():
    outcome, _ = run({"linear_probe": [0.7, 0.7], "lora": [0.71, 0.71], "fine_tune": [0.72]}, budget=700)
    assert "would cost 500; 300 of the budget were left" in outcome.left["fine_tune"]


def test_a_rung_that_does_not_hold_the_leader_is_not_run_without_it():
    accuracies = {"linear_probe": [0.5, 0.5], "lora": [0.84, 0.8], "fine_tune": [0.86, 0.9], "scratch": [0.7, 0.7]}
    whole, _ = run(accuracies)
    first = sum(leg.work for leg in whole.legs if leg.rows == 100)
    outcome, ran = run(accuracies, budget=first + 900)  # probe and lora cost 200 + 600 there, fine_tune 1,000 more
    assert {rows for _, rows in ran} == {100}
    assert (outcome.leader, outcome.short) == ("fine_tune", True)


def test_the_probe_runs_on_every_rung_also_when_it_is_out():
    outcome, ran = run(
        {"linear_probe": [0.5, 0.5], "lora": [0.85, 0.85], "fine_tune": [0.86, 0.9], "scratch": [0.84, 0.9]}
    )
    assert ("linear_probe", 200) in ran
    assert outcome.left["linear_probe"].endswith(" It ran on as the yardstick alone.")
    assert outcome.left["linear_probe"].count("yardstick") == 1 and "linear_probe" not in outcome.standing
    assert outcome.gaps["fine_tune"].interval.value == pytest.approx(0.4)


def test_a_budget_for_the_probe_alone_leaves_the_probe():
    outcome, ran = run({"linear_probe": [0.7], "fine_tune": [0.9]}, budget=150)
    assert ran == [("linear_probe", 100)]
    assert (outcome.standing, outcome.short, outcome.gaps) == (["linear_probe"], True, {})


def test_a_rung_that_the_budget_holds_for_the_probe_alone_changes_nothing():
    # 100 + 500, then 200 of 1,200: what rung 1 said stands, on the answers of rung 1
    outcome, _ = run({"linear_probe": [0.70, 0.9], "fine_tune": [0.71, 0.9]}, budget=850)
    assert outcome.short
    assert {leg.rows for leg in outcome.legs} == {100}
    assert set(outcome.standing) == {"linear_probe", "fine_tune"} and not outcome.left


def test_a_rung_that_shows_one_class_is_not_why_a_race_ended_that_went_on():
    one, own = split("train", 400), params()
    rare = Split(one.examples, np.zeros(400, dtype=np.int64), one.features)
    rare.targets[:5] = 1
    few, more = rungs.draw(rare, split("validation", 200), own).rungs
    assert [len(np.unique(rare.targets[rung])) for rung in (few, more)] == [1, 2]
    outcome = race.run(
        ["linear_probe", "fine_tune"], {"linear_probe": 1.0, "fine_tune": 5.0}, rare,
        split("validation", 200), own, lambda _, shown, judged: answers(0.7, len(judged), seed=1), level=0.9,
    )  # fmt: skip
    assert {leg.rows for leg in outcome.legs} == {len(more)} and outcome.ended == "All rungs were run."


def test_a_rung_that_shows_one_class_is_left_out():
    one = split("train", 400)
    rare = Split(one.examples, np.zeros(400, dtype=np.int64), one.features)
    outcome = race.run(
        ["linear_probe", "fine_tune"], {"linear_probe": 1.0, "fine_tune": 5.0}, rare,
        split("validation", 20), params(shares=[0.125]), lambda *_: pytest.fail("nothing to learn"), level=0.9,
    )  # fmt: skip
    assert "shows fewer than two classes" in outcome.ended and not outcome.legs
    from tests.unit.test_transfer_decision import WORK, choice, evidence

    made = decision.decide(evidence(), outcome, choice(), None, {}, doubt=0.25, work=WORK)
    assert made.strategy == "linear_probe" and "label more of the rare ones" in made.reason


def test_a_rung_of_groups_is_as_large_as_allowed_and_no_large_group_is_first_of_all():
    # one group of 60 rows among 170 of 2: dealt by size, it would be all of a rung of 50 and more than that
    groups = ["large"] * 60 + [f"g{row // 2}" for row in range(340)]
    seen = 0
    for seed in range(40):
        field = rungs.draw(
            split("train", 400, groups=groups),
            split("validation", 50),
            params(shares=[0.25, 0.5], examples=100, seed=seed),
        )
        few, more = field.rungs
        assert (len(few), len(more)) == (50, 100) and set(few) < set(more)
        assert len({groups[row] for row in few}) == 25
        seen += "large" in {groups[row] for row in more}
    assert seen == 0  # more than the second rung has left for it after the first


def test_a_rung_of_one_group_tells_nothing_of_others():
    one = split("train", 40, groups=["all"] * 40)
    assert "one single group" in str(rungs.tells_nothing(one, split("validation", 20)))
    assert rungs.tells_nothing(split("train", 40), split("validation", 20)) is None
    huge = split("train", 400, groups=[f"g{row // 200}" for row in range(400)])  # two groups; a rung takes 50 or 100
    few, _ = rungs.draw(huge, split("validation", 20), params(examples=100)).rungs
    assert "No whole group fits" in str(rungs.tells_nothing(huge.select(few), split("validation", 20)))
    assert "No example is left" in str(rungs.tells_nothing(split("train", 40), split("validation", 0)))


def test_rungs_are_nested_and_nobody_judges_what_they_learned_from_or_a_near_copy_of_it():
    groups = [f"g{row // 5}" for row in range(400)]
    field = rungs.draw(split("train", 400, groups=groups), split("validation", 50), params())
    first, second = (set(rows.tolist()) for rows in field.rungs)
    assert first < second
    learned = {groups[row] for row in second}
    assert not learned & {group for group in field.judged.examples.groups if group is not None}
    assert sum(name.startswith("validation") for name in field.judged.examples.ids) == 50


def test_shares_that_are_the_same_eighth_are_one_rung():
    field = rungs.draw(split("train", 800), split("validation", 50), params(shares=[0.05, 0.1, 0.5]))
    assert [len(rung) for rung in field.rungs] == [100, 400]


def test_a_rung_has_at_most_as_many_rows_as_allowed():
    field = rungs.draw(split("train", 4000), split("validation", 50), params(examples=300))
    assert max(map(len, field.rungs)) <= 300
    assert len(field.judged) == 400


def test_equally_good_strategies_are_rarely_sent_away():
    # both right on 75%, independently: the cheaper looks worse beyond `doubt` 0.1 that often at most
    generator = np.random.default_rng(3)
    sent = 0
    for _ in range(400):
        right = {name: generator.random(400) < 0.75 for name in ("linear_probe", "fine_tune")}
        sent += bool(race.leaving(["linear_probe", "fine_tune"], right, 0.1))
    assert sent / 400 <= 0.1 + 2 * (0.1 * 0.9 / 400) ** 0.5


def test_the_same_race_is_the_same_document():
    accuracies = {"linear_probe": [0.7, 0.7], "fine_tune": [0.72, 0.8]}
    assert run(accuracies)[0].document() == run(accuracies)[0].document()


def test_equally_good_strategies_are_sent_away_as_often_as_doubted_where_examples_come_in_groups():
    # 30 groups of 20: each strategy has a gift of its own for each group, 0.7 on average; the cheaper may be sent away,
    # with a doubt of 0.1; while rows were counted, it was in a quarter of the draws
    generator, sent, trials = np.random.default_rng(5), 0, 300
    together = [str(row // 20) for row in range(600)]
    for _ in range(trials):
        gifts = np.repeat(generator.beta(4.2, 1.8, (2, 30)), 20, axis=1)
        probe, tuned = generator.random(gifts.shape) < gifts
        right = {"linear_probe": probe, "fine_tune": tuned}
        sent += bool(race.leaving(list(right), right, 0.1, groups=together))
    assert sent / trials <= 0.1 + 3 * (0.1 * 0.9 / trials) ** 0.5

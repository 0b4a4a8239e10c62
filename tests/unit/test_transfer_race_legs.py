"""The race: what comes before a leg, what the next rung is priced at, error rates, and that groups count throughout."""

import numpy as np
import pytest

from headstart.statistics import clustered, paired
from headstart.transfer import race
from tests.unit.test_transfer_race import answers, params, run, split

COSTS = {"linear_probe": 1.0, "lora": 3.0, "fine_tune": 5.0, "adapt_then_fine_tune": 5.0}
ALL = list(COSTS)


def test_what_a_strategy_does_before_a_leg_is_none_of_its_seconds_and_only_done_where_a_leg_follows(monkeypatch):
    clock, asked = [0.0], []
    monkeypatch.setattr(race.time, "perf_counter", lambda: clock[0])

    def ready(name):
        asked.append(name)
        clock[0] += 100.0

    def train(name, shown, judged):
        clock[0] += COSTS[name]
        return answers(0.7, len(judged), seed=len(name))

    places = (split("train", 400), split("validation", 200))
    outcome = race.run(ALL, COSTS, *places, params(budget=900), train, level=0.9, ready=ready)
    assert [leg.strategy for leg in outcome.legs] == asked == ["linear_probe", "lora", "fine_tune"]  # 900 hold no more
    assert [leg.seconds for leg in outcome.legs] == [1.0, 3.0, 5.0]
    assert "would cost 500; 0 of the budget were left" in outcome.left["adapt_then_fine_tune"]


def test_a_strategy_that_turns_out_unready_leaves_with_the_reason_and_costs_nothing():
    def ready(name):
        return "Adapting changed nothing." if name == "adapt_then_fine_tune" else None

    def train(name, shown, judged):
        assert name != "adapt_then_fine_tune"
        return answers(0.7, len(judged), seed=len(name))

    places = (split("train", 400), split("validation", 200))
    outcome = race.run(ALL, COSTS, *places, params(doubt=0.001), train, level=0.9, ready=ready)
    assert outcome.left == {"adapt_then_fine_tune": "Adapting changed nothing."}
    assert outcome.spent == (100 + 200) * (1 + 3 + 5) and not outcome.short

    alone = race.run(["linear_probe", ALL[-1]], COSTS, *places, params(), train, level=0.9, ready=ready)
    assert (alone.standing, alone.leader, alone.short) == (["linear_probe"], "linear_probe", False)
    assert alone.ended == "Nobody else could run."


def test_the_next_rung_is_priced_with_the_probe_that_runs_on_it_out_of_the_race():
    # rung 1 costs 1,400 and sends the probe away; rung 2 costs 2,600 and the probe's 200: 100 too many for all
    accuracies = {"linear_probe": [0.3, 0.3], "lora": [0.9], "fine_tune": [0.91, 0.91], "scratch": [0.92, 0.92]}
    outcome, ran = run(accuracies, budget=4100)
    assert [name for name, rows in ran if rows == 200] == ["linear_probe", "fine_tune", "scratch"]
    assert "in the worse half" in outcome.left["lora"]


@pytest.mark.parametrize("others", [1, 2])
def test_doubt_is_shared_among_all_who_are_compared_with_the_leader(others):
    # the dearest is truly as good as the cheaper: each of them is sent away by it, together no more often than doubted;
    # with two, the leader is the best of three, which doubles nothing away: half of doubt / 2 a comparison is used up
    names, generator, doubt, sent, trials = [*ALL[:others], "fine_tune"], np.random.default_rng(8), 0.3, 0, 1500
    for _ in range(trials):
        right = {name: generator.random(300) < 0.7 for name in names}
        sent += bool(race.leaving(names, right, doubt))
    assert 0.5 * doubt <= sent / trials <= doubt + 3 * (doubt * (1 - doubt) / trials) ** 0.5


@pytest.mark.parametrize(("budget", "level"), [(700, 1 - 2 * 0.1), (10_000, 1 - 2 * 0.1 / 2)])
def test_how_far_behind_is_told_at_the_level_of_those_who_ran_on_the_last_rung(budget, level):
    # 700 do not hold fine_tune's leg, so that doubt is not shared among three
    accuracies = {"linear_probe": [0.7, 0.7], "lora": [0.705, 0.705], "fine_tune": [0.7, 0.7]}
    outcome, _ = run(accuracies, budget=budget)
    right = {leg.strategy: leg.right for leg in outcome.legs}
    expected = paired.difference(right[outcome.leader], right["linear_probe"], level)
    assert outcome.behind["linear_probe"].interval == expected.interval


def test_a_race_counts_groups_in_every_interval_and_in_who_leaves():
    # of 40 judged groups of 10, fine-tuning is right on all of 24 and the probe on all of 20 others: by rows that is
    # beyond doubt, by groups it is not
    groups = [f"g{row // 10}" for row in range(400)]
    own = {"linear_probe": np.arange(400) // 10 >= 20, "fine_tune": np.arange(400) // 10 < 24}
    assert race.leaving(list(own), own, 0.1) and not race.leaving(list(own), own, 0.1, groups=groups)
    places = (split("train", 400), split("validation", 400, groups=groups))
    outcome = race.run(list(own), COSTS, *places, params(judged=400), lambda name, *_: own[name], level=0.9)
    assert outcome.groups == groups and outcome.standing == ["linear_probe", "fine_tune"]
    for leg in outcome.legs:
        assert leg.accuracy == clustered.share(own[leg.strategy], 0.9, groups)
    ahead = paired.difference(own["fine_tune"], own["linear_probe"], 0.9, groups)
    assert outcome.gaps["fine_tune"].interval == ahead.interval
    behind = paired.difference(own["fine_tune"], own["linear_probe"], 1 - 2 * 0.1, groups)
    assert outcome.behind["linear_probe"].interval == behind.interval

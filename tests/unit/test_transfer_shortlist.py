"""Which strategies are tried: the rules, one by one."""

import re
from pathlib import Path

import pytest

from headstart import transfer
from headstart.params.section import Strategy
from headstart.report.plan import REASONS, reason
from headstart.report.training import NOTES, STOPPED
from headstart.statistics.interval import wilson
from headstart.transfer import shortlist
from headstart.transfer.shortlist import Facts
from headstart.transfer.strategies import STRATEGIES

NO_UNLABELLED = {"adapt_then_fine_tune": {"code": "no_unlabelled_examples"}}


def choose(
    *, right=80, majority=0.1, per_class=40.0, obstacles=NO_UNLABELLED, work=1000, available=10**9, budget=10**6
):
    units = {name: work * place for place, name in enumerate(STRATEGIES, start=1)}
    memory = {**dict.fromkeys(STRATEGIES, 10**8), "lora": 10**7}
    facts = Facts(wilson(right, 100, 0.95), majority, per_class, obstacles, units, memory, available, "tokens")
    return shortlist.choose(facts, good_enough=0.98, budget=budget)


def test_the_probe_and_fine_tuning_are_the_rule():
    listed, excluded = choose()
    assert list(listed) == ["linear_probe", "fine_tune"]
    assert {name: one["code"] for name, one in excluded.items()} == {
        "lora": "all_layers_fit",
        "adapt_then_fine_tune": "no_unlabelled_examples",
        "scratch": "baseline",
    }


@pytest.mark.parametrize(
    ("right", "trained"),
    [
        pytest.param(96, False, id="up to 98.2% by Wilson at 0.9"),
        pytest.param(95, True, id="up to 97.5%"),
    ],
)
def test_nothing_is_trained_where_the_probe_may_be_good_enough(right, trained):
    listed, excluded = choose(right=right)
    assert ("fine_tune" in listed) is trained
    if not trained:
        assert excluded["fine_tune"]["code"] == "probe_good_enough"


@pytest.mark.parametrize(("per_class", "trained"), [(3.5, False), (4.0, True)])
def test_layers_are_trained_from_four_labels_a_class_on(per_class, trained):
    listed, excluded = choose(per_class=per_class)
    assert ("fine_tune" in listed) is trained
    if not trained:
        assert excluded["fine_tune"] == {"code": "too_few_labels", "per_class": 3.5, "least": 4}


def test_unlabelled_examples_bring_adaptation():
    listed, _ = choose(obstacles={})
    assert listed["adapt_then_fine_tune"] == {"code": "unlabelled_examples"}


def test_low_rank_updates_stand_in_where_memory_holds_no_gradients_of_all_layers():
    listed, excluded = choose(obstacles={}, available=10**8 - 1)
    assert list(listed) == ["linear_probe", "lora"]
    assert excluded["fine_tune"] == {"code": "memory", "needed_mb": 100, "available_mb": 100}
    assert excluded["adapt_then_fine_tune"]["code"] == "memory"


def test_a_strategy_over_the_budget_says_what_it_would_take():
    _, excluded = choose(budget=2999)
    assert excluded["fine_tune"] == {"code": "over_budget", "work": 3000, "budget": 2999, "unit": "tokens"}
    assert reason(excluded["fine_tune"]) == "It would take 3,000 tokens of work; plan.budget allows 2,999."


def test_every_name_in_params_is_a_strategy_and_the_other_way_round():
    assert set(STRATEGIES) == set(Strategy.__args__)
    assert all(one.name == name and one.label for name, one in STRATEGIES.items())


def test_every_code_that_the_package_writes_as_a_reason_has_a_sentence():
    """An unknown code would be shown raw."""
    files = [*Path(transfer.__file__).parent.rglob("*.py")]
    named = {code for file in files for code in re.findall(r'"code": "(\w+)"', file.read_text())}
    endings = {"all_asked_for", "none_significantly_better", "impossible", "no_better_on_all", "truncated"}
    selected = {"mitigated_worse_than_probe"}
    assert named - endings - selected <= {*REASONS, *NOTES, *STOPPED}


def test_a_probe_that_may_only_answer_the_commonest_class_is_not_good_enough():
    listed, _ = choose(right=99, majority=0.99)
    assert "fine_tune" in listed


def test_adapters_that_do_not_fit_into_memory_either_are_not_tried():
    listed, excluded = choose(available=10**7 - 1)
    assert list(listed) == ["linear_probe"]
    assert excluded["lora"]["code"] == excluded["fine_tune"]["code"] == "memory"

"""The benchmark's own arithmetic, by hand: which strategy each rule keeps, regret, cost, and an interval over sets."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

from headstart.transfer import selection


@pytest.fixture()
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks/transfer"))
    return importlib.import_module("table")


def score(right: int, loss: float, n: int = 40):
    return selection.Score(loss, np.arange(n) < right)


def case(table, *, probe=(30, 0.60), fine_tune=(29, 0.50), name="a"):
    scores = {"linear_probe": score(*probe), "fine_tune": score(*fine_tune), "lora": score(40, 0.1)}
    tests = {"linear_probe": 0.70, "fine_tune": 0.76, "lora": 0.78}
    seconds = {"linear_probe": 1.0, "fine_tune": 9.0, "lora": 10.0}
    return table.Case(name, None, 1, ("linear_probe", "fine_tune"), scores, tests, seconds)


def test_regret_is_against_the_best_of_all_that_were_trained(table):
    assert table.regret(case(table), lambda _: "fine_tune") == pytest.approx(2.0)
    assert table.regret(case(table), lambda _: "linear_probe") == pytest.approx(8.0)


def test_each_rule_keeps_what_it_says(table):
    kept = {name: rule(case(table)) for name, rule in table.RULES.items()}
    assert kept == {
        "always probe": "linear_probe",
        "always fine-tune": "fine_tune",
        "oracle": "fine_tune",
        "ours": "fine_tune",  # one answer fewer of 40 is chance, so the loss decides
        "most accurate on validation": "linear_probe",
        "least loss on validation": "fine_tune",
        "cheapest unless significantly worse": "linear_probe",
    }
    clear = case(table, probe=(10, 0.60), fine_tune=(39, 0.70))  # 29 answers more are not chance
    assert table.RULES["cheapest unless significantly worse"](clear) == "fine_tune"
    assert table.RULES["least loss on validation"](clear) == "linear_probe"


def test_cost_is_of_the_shortlist_against_training_everything(table):
    assert table.cost(case(table)) == pytest.approx(10 / 20)


def test_two_draws_of_a_set_are_no_two_sets(table):
    best = {"a": 0.76, "b": 0.77, "c": 0.78, "d": 0.81}  # regrets of always fine-tuning: 0, 1, 2 and 5 points
    cases = [
        dataclasses.replace(case(table, name=name), tests={"fine_tune": 0.76, "lora": value})
        for name, value in best.items()
        for _ in range(2)
    ]
    alone = [dataclasses.replace(one, name=str(at)) for at, one in enumerate(cases)]

    def width(some):
        mean, ends = table.mean_interval(some, lambda one: table.regret(one, lambda _: "fine_tune")).split(" (")
        low, high = ends.rstrip(")").split(" to ")
        assert float(mean) == 2.0
        return float(high) - float(low)

    assert width(cases) > 1.3 * width(alone)  # eight values of four sets: at least the square root of two

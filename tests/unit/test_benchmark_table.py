"""The benchmark's own arithmetic: regret, coverage and cost of one case, and an interval over sets, by hand."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture()
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks/transfer"))
    return importlib.import_module("table")


def case(chosen: str = "fine_tune", **changes: object) -> dict:
    of = {"linear_probe": 10, "lora": 100, "fine_tune": 200, "adapt_then_fine_tune": 200, "scratch": 400}
    plan = {"strategy": chosen, "predicted": {"low": 0.7, "high": 0.8}, "adapted": "told", "race": {"spent": 150}}
    plan["work"] = {"of": of, "adapting": 300}
    tests = {"linear_probe": 0.7, "lora": 0.74, "fine_tune": 0.76, "adapt_then_fine_tune": 0.72, "scratch": 0.99}
    reached = {name: {"test": value} for name, value in tests.items()}
    return {"set": "a", "plan": {**plan, **changes}, "reached": reached, "handed": {"test": 0.74}}


def test_regret_is_of_the_best_that_transfers_or_the_probe_on_all_layers_against_what_was_handed_on(table):
    assert table.regret(case()) == pytest.approx(0.02)  # from scratch is the control
    assert table.regret(case() | {"probe_on_all_layers": {"test": 0.79}}) == pytest.approx(0.05)


def test_a_forecast_holds_within_its_ends(table):
    assert [table.covered(case() | {"handed": {"test": value}}) for value in (0.69, 0.7, 0.8, 0.81)] == [0, 1, 1, 0]


def test_cost_counts_adapting_once_wherever_it_was_done(table):
    every = 10 + 100 + 200 + 200 + 300
    assert table.cost(case()) == pytest.approx((150 + 300 + 200) / every)
    assert table.cost(case("adapt_then_fine_tune")) == pytest.approx((150 + 300 + 200) / every)
    assert table.cost(case("linear_probe", adapted=None, race=None)) == pytest.approx(10 / every)
    assert table.cost(case("adapt_then_fine_tune", adapted=None, race=None)) == pytest.approx((300 + 200) / every)
    without = case(adapted=None)
    del without["reached"]["adapt_then_fine_tune"]
    assert table.cost(without) == pytest.approx((150 + 200) / (10 + 100 + 200))


def test_two_draws_of_a_set_are_no_two_sets(table):
    values = {"a": [0.0, 0.0], "b": [0.01, 0.01], "c": [0.02, 0.02], "d": [0.05, 0.05]}
    cases = [{"set": name, "value": value} for name, both in values.items() for value in both]
    alone = [{**one, "set": str(at)} for at, one in enumerate(cases)]

    def width(some):
        mean, ends = table.mean_interval(some, lambda one: one["value"]).split(" (")
        low, high = ends.rstrip(")").split(" to ")
        assert float(mean) == 0.02
        return float(high) - float(low)

    assert width(cases) > 1.3 * width(alone)  # eight values of four sets: at least the square root of two

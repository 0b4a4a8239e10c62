"""The plan of a toy model: it measures, shortlists and trains nothing."""

import pytest

from headstart.transfer import planner
from headstart.transfer.strategies import FineTune
from tests.unit import tiny_transfer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_transfer.text_model(tmp_path_factory.mktemp("text"))


def plan(folder, **changes: object) -> tuple[dict, dict]:
    params = tiny_transfer.sections("text")[0].model_copy(update=changes)
    return planner.plan(params, backbone=folder / "backbone", data=folder / "data", cache=folder / "cache")


def test_it_trains_nothing_and_repeats_to_the_byte(folder, monkeypatch):
    monkeypatch.setattr(FineTune, "train", None)
    first, seconds = plan(folder)
    assert [one["strategy"] for one in first["shortlist"]] == ["linear_probe", "fine_tune"]
    assert {one["strategy"] for one in first["excluded"]} == {"lora", "adapt_then_fine_tune", "scratch"}
    assert first == plan(folder)[0]
    assert seconds["a_million"] > 0  # seconds stay out of the document
    assert set(first["evidence"]) == {
        "backbone", "examples", "probe", "layers", "neighbours", "twice_the_labels", "domain_shift"
    }  # fmt: skip
    assert first["evidence"]["layers"][-1]["value"] == pytest.approx(first["evidence"]["probe"]["value"], abs=0.1)


def test_a_strategy_that_is_asked_for_is_the_only_one_and_nothing_else_is_measured(folder):
    found, _ = plan(folder, strategy="fine_tune")
    assert [(one["strategy"], one["reason"]["code"]) for one in found["shortlist"]] == [("fine_tune", "forced")]
    assert found["excluded"] == [] and found["truncation"] is None
    assert set(found["evidence"]) == {"backbone", "examples", "probe", "layers"} and found["evidence"]["layers"] == []


def test_a_probe_that_is_asked_for_is_measured_by_layer_since_it_may_end_at_one(folder):
    found, _ = plan(folder, strategy="linear_probe")
    assert [one["strategy"] for one in found["shortlist"]] == ["linear_probe"]
    assert len(found["evidence"]["layers"]) == 3 and "neighbours" not in found["evidence"]

"""Every possible strategy side by side: trained once for one set of inputs, resumed where it was interrupted."""

import pytest

from headstart import artifacts
from headstart.transfer import comparison, planner
from headstart.transfer.strategies import Scratch
from tests.unit import tiny_transfer

pytestmark = pytest.mark.slow


def test_all_possible_strategies_are_compared_once_and_again_after_a_change(tmp_path, monkeypatch):
    folder = tiny_transfer.text_model(tmp_path / "model")
    plan, train = tiny_transfer.sections("text", epochs=1)
    short = {name: getattr(train, name).model_copy(update={"epochs": 1}) for name in ("lora", "scratch")}
    train = train.model_copy(update=short)
    places = {"backbone": folder / "backbone", "data": folder / "data", "cache": folder / "cache"}
    document, _ = planner.plan(plan, **places)
    artifacts.write_json(tmp_path / "plan.json", document)
    more = {"plan": document, **places, "plan_file": tmp_path / "plan.json", "out": tmp_path / "out"}
    asked, own = [], Scratch.train

    def breaks(*given, **options):
        asked.append("scratch")
        if len(asked) == 1:
            raise KeyboardInterrupt
        return own(*given, **options)

    monkeypatch.setattr(Scratch, "train", breaks)
    with pytest.raises(KeyboardInterrupt):
        comparison.compare(train, **more, code="1")
    finished = {path.parent.name for path in (tmp_path / "out").rglob("candidate.json")}
    assert finished == {"linear_probe", "lora", "fine_tune"}
    found = comparison.compare(train, **more, code="1")
    assert [one["strategy"] for one in found["candidates"]] == ["linear_probe", "lora", "fine_tune", "scratch"]
    assert found["impossible"] == {"adapt_then_fine_tune": {"code": "no_unlabelled_examples"}}
    assert all(set(one["validation"]["accuracy"]) == {"value", "low", "high", "n"} for one in found["candidates"])
    assert set(found["seconds"]) == {one["strategy"] for one in found["candidates"]}
    assert comparison.compare(train, **more, code="1") == found
    assert len(asked) == 2
    comparison.compare(train, **more, code="2")
    assert len(asked) == 3

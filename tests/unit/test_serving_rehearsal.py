"""A candidate behind a real server: what it answers otherwise than the bundle itself is found before deployment."""

from pathlib import Path

import pytest

from headstart.params.loader import load
from headstart.serving import rehearsal
from headstart.serving.models import LoadedModel
from tests.unit.tiny_bundle import grey, image_bundle, text_bundle

PARAMS = load(Path(__file__).parents[2] / "params.yaml").models


def test_a_sound_server_answers_hard_inputs_and_the_test_split_as_the_bundle_does(tmp_path):
    found = rehearsal.rehearse(
        "notes", text_bundle(tmp_path / "bundle"), ["good", "bad", "a bad day"], PARAMS["apidocs"]
    )
    assert (found["label_flips"], found["wrong"]) == (0, [])
    assert found["max_difference"] < 1e-6
    assert found["refused"] >= 1  # the empty text
    assert found["inputs"] > 15


def test_pictures_travel_unharmed(tmp_path):
    found = rehearsal.rehearse("squares", image_bundle(tmp_path / "bundle"), [grey(10), grey(200)], PARAMS["digits"])
    assert (found["label_flips"], found["wrong"]) == (0, [])


@pytest.mark.parametrize("fault", ["another answer", "a refusal"])
def test_a_server_that_changes_inputs_on_their_way_is_found(tmp_path, monkeypatch, fault):
    answer = LoadedModel.answer

    def garbled(self, inputs):
        return answer(self, [(place, "bad" if raw == "good one" else raw) for place, raw in inputs])

    def refusing(self, inputs):
        return answer(self, [(place, "" if raw == "good one" else raw) for place, raw in inputs])

    monkeypatch.setattr(LoadedModel, "answer", garbled if fault == "another answer" else refusing)
    bundle = text_bundle(tmp_path / "bundle")
    found = rehearsal.rehearse("notes", bundle, ["good one", "bad"], PARAMS["apidocs"])
    served = "negative" if fault == "another answer" else None
    assert found["wrong"] == [{"name": "test row 0", "served": served, "expected": "positive"}]

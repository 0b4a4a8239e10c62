"""A candidate behind a real server: what it answers otherwise than the bundle itself is found before deployment."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.faults.table import FAULTS
from headstart.params.loader import load
from headstart.serving import rehearsal
from headstart.serving.models import LoadedModel
from tests.unit.tiny_bundle import grey, image_bundle, text_bundle

PARAMS = load(Path(__file__).parents[2] / "params.yaml").models


def noise(side: int) -> bytes:
    """A PNG that no compression makes smaller than a byte a pixel."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


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


def limited(name, **changes):
    params = PARAMS[name]
    return params.model_copy(update={"serve": params.serve.model_copy(update=changes)})


@pytest.mark.parametrize("items", [1, 3])
def test_requests_hold_no_more_inputs_than_the_server_takes(tmp_path, items):
    found = rehearsal.rehearse("notes", text_bundle(tmp_path / "bundle"), ["good"] * 9, limited("apidocs", items=items))
    assert found["wrong"] == []


def test_large_pictures_are_sent_apart_and_those_that_no_request_can_hold_are_counted(tmp_path):
    big, huge = noise(500), noise(1000)  # 250 kB and 1 MB of a PNG that cannot be compressed
    test = [big] * 8 + [huge]
    found = rehearsal.rehearse("squares", image_bundle(tmp_path / "bundle"), test, limited("digits", megabytes=1))
    assert (found["too_large"], found["wrong"]) == (1, [])


def test_a_bundle_that_does_not_give_its_golden_answers_is_evidence_and_not_an_error(tmp_path):
    bundle = text_bundle(tmp_path / "bundle")
    FAULTS["labels_permuted"].inject(bundle, np.random.default_rng(0))
    found = rehearsal.rehearse("notes", bundle, ["good"], PARAMS["apidocs"])
    assert found["inputs"] == 0
    assert "golden" in found["error"]


def test_a_difference_of_a_probability_counts_though_the_label_stays(tmp_path, monkeypatch):
    answers = [{"label": "positive", "probability": 0.9, "probabilities": [0.1, 0.9]}]
    monkeypatch.setattr(rehearsal, "_hard", lambda form: {})
    monkeypatch.setattr(rehearsal, "ask", lambda *asked: answers)
    found = rehearsal.rehearse("notes", text_bundle(tmp_path / "bundle"), ["good"], PARAMS["apidocs"])
    assert [each["name"] for each in found["wrong"]] == ["test row 0"]  # the bundle says 0.982: logits 4 and 0
    assert found["label_flips"] == 0

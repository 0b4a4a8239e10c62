"""A window holds what one version answered in its minutes, with the labels that came."""

from datetime import timedelta

import numpy as np
import pytest

from headstart.journal.schema import Answer, Label
from headstart.journal.writer import Journal
from headstart.monitoring import windows
from headstart.params.operation import Journal as JournalParams
from tests.unit.made_traffic import NOON

PARAMS = JournalParams(
    flush_s=1.0, seal_minutes=5.0, seal_megabytes=1, raw="off", raw_share=0.0, raw_days=1, features=False
)


def answer(request_id, minutes_ago, **changes):
    values = {
        "request_id": request_id, "index": 0, "time": NOON - timedelta(minutes=minutes_ago), "model": "pets",
        "version": 2, "role": "champion", "contract": "a.b", "label": "cat", "probability": 0.75,
        "probabilities": [0.75, 0.25], "properties": {"width": 8.0}, "latency_ms": 1.0,
    }  # fmt: skip
    return Answer(**{**values, **changes})


@pytest.fixture
def journal(tmp_path):
    def write(*rows, labels=()):
        book = Journal(tmp_path / "pets", PARAMS, clock=lambda: NOON)
        book.record(list(rows))
        book.feedback([Label(request_id, 0, label, NOON) for request_id, label in labels])
        book.close()
        return tmp_path / "pets"

    return write


def select(folder, **changes):
    return windows.select(folder, **{"end": NOON, "minutes": 60, "version": None, **changes})


def test_the_start_is_in_the_window_and_the_end_is_not(journal):
    folder = journal(answer("older", 61), answer("start", 60), answer("inside", 1), answer("end", 0))
    assert select(folder).rows == 2


def test_answers_of_other_versions_are_left_out(journal):
    folder = journal(answer("a", 3, version=1, label="dog"), answer("b", 2))
    assert select(folder, version=2).predicted == ["cat"]
    assert select(folder).predicted == ["dog", "cat"]


def test_confidence_and_properties_stand_in_the_order_of_the_answers(journal):
    folder = journal(
        answer("late", 1, probability=0.9, properties={"width": 9.0}),
        answer("early", 2, probability=0.6, properties={"width": 7.0}),
    )
    window = select(folder)
    assert window.confidence.tolist() == [0.6, 0.9]
    assert window.properties["width"].tolist() == [7.0, 9.0]


def test_a_property_that_was_not_measured_is_nan(journal):
    folder = journal(answer("a", 2, properties={"width": 7.0}), answer("b", 1, properties={}))
    assert np.isnan(select(folder).properties["width"]).tolist() == [False, True]


def test_labels_that_came_are_counted_and_the_right_ones_too(journal):
    folder = journal(answer("a", 3), answer("b", 2), answer("c", 1), labels=[("a", "cat"), ("c", "dog")])
    window = select(folder)
    assert window.truth == ["cat", None, "dog"]
    assert (window.labelled, window.correct) == (2, 1)


def test_a_model_that_was_never_asked_has_an_empty_window(tmp_path):
    assert select(tmp_path / "nobody").document() == {
        "start": "2026-03-02T11:00:00+00:00",
        "end": "2026-03-02T12:00:00+00:00",
        "version": None,
        "rows": 0,
        "labelled": 0,
    }

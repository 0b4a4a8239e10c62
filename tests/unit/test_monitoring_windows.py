"""A window holds what each version answered in its minutes, every distinct input once, with the labels that came."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from headstart.errors import UsageError
from headstart.journal.schema import Answer, Label
from headstart.journal.writer import Journal
from headstart.monitoring import windows
from headstart.params.operation import Journal as JournalParams
from tests.unit.made_traffic import NOON

PARAMS = JournalParams(
    flush_s=1.0, seal_minutes=5.0, seal_megabytes=1, raw="off", raw_share=0.0, raw_days=1, features=5000
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


def refusal(request_id, minutes_ago, reason):
    nothing = {"label": None, "probability": None, "probabilities": None, "properties": {}}
    return answer(request_id, minutes_ago, status=422, reason=reason, **nothing)


def select(folder, **changes):
    return windows.select(folder, **{"asked": NOON, "minutes": 60, **changes})


def only(folder, **changes):
    (window,) = select(folder, **changes).windows
    return window


def test_the_start_is_in_the_window_and_the_end_is_not(journal):
    folder = journal(answer("older", 61), answer("start", 60), answer("inside", 1), answer("end", 0))
    assert only(folder).rows == 2


def test_a_window_ends_on_a_whole_minute_and_says_what_came_later(journal):
    folder = journal(answer("inside", 1), answer("later", -0.5), answer("later still", -0.6))
    traffic = select(folder, asked=NOON + timedelta(seconds=59))
    assert traffic.end == NOON
    assert (traffic.answers, traffic.later) == (1, 2)


def test_features_are_of_the_distinct_inputs_that_have_any_whichever_answer_kept_them(journal):
    folder = journal(
        answer("a", 9, input_hash="one"),
        answer("b", 8, input_hash="two", features=[1.0, 2.0]),
        answer("c", 7, input_hash="one", features=[3.0, 4.0]),
        answer("d", 6, input_hash="three"),
        answer("e", 5, input_hash="two", features=[5.0, 6.0]),
    )
    features = only(folder).features
    assert features.rows.tolist() == [0, 1]
    assert features.values.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert features.values.dtype == np.float16


def test_a_window_whose_features_were_not_kept_has_none(journal):
    assert only(journal(answer("a", 9))).features is None


def test_each_version_has_a_window_of_its_own(journal):
    folder = journal(answer("a", 3, version=1, label="dog"), answer("b", 2), answer("c", 1))
    found = {window.version: window.predicted for window in select(folder).windows}
    assert found == {1: ["dog"], 2: ["cat", "cat"]}


def test_who_sent_an_input_first_stands_beside_it(journal):
    folder = journal(
        answer("a", 4, client="phone", input_hash="1"), answer("b", 3, client="web", input_hash="1"), answer("c", 2)
    )
    assert only(folder).clients == ["phone", None]


def test_confidence_and_properties_stand_in_the_order_of_the_answers(journal):
    folder = journal(
        answer("late", 1, probability=0.9, properties={"width": 9.0}),
        answer("early", 2, probability=0.6, properties={"width": 7.0}),
    )
    window = only(folder)
    assert window.confidence.tolist() == [0.6, 0.9]
    assert window.properties["width"].tolist() == [7.0, 9.0]


def test_a_property_that_was_not_measured_is_nan(journal):
    folder = journal(answer("a", 2, properties={"width": 7.0}), answer("b", 1, properties={}))
    assert np.isnan(only(folder).properties["width"]).tolist() == [False, True]


def test_probabilities_stand_row_by_row(journal):
    assert only(journal(answer("a", 2), answer("b", 1))).probabilities.tolist() == [[0.75, 0.25], [0.75, 0.25]]


def test_labels_that_came_are_counted_and_the_right_ones_too(journal):
    folder = journal(answer("a", 3), answer("b", 2), answer("c", 1), labels=[("a", "cat"), ("c", "dog")])
    window = only(folder)
    assert window.truth == ["cat", None, "dog"]
    assert (window.labelled, window.correct) == (2, 1)


def test_an_input_sent_three_times_is_one_row_with_the_label_that_came_for_any(journal):
    again = [answer(f"again-{at}", 5 - at, input_hash="aa") for at in range(3)]
    folder = journal(*again, answer("other", 1, input_hash="bb"), labels=[("again-2", "dog")])
    window = only(folder)
    assert (window.rows, window.answers, window.most_repeated) == (2, 4, 3)
    assert window.truth == ["dog", None]


def test_inputs_that_were_not_hashed_are_not_taken_for_the_same(journal):
    window = only(journal(answer("a", 2), answer("b", 1)))
    assert (window.rows, window.most_repeated) == (2, 1)


def test_the_same_input_answered_by_other_files_is_another_row(journal):
    window = only(journal(answer("a", 2, input_hash="aa", bundle="x"), answer("b", 1, input_hash="aa", bundle="y")))
    assert window.rows == 2
    assert window.bundles == {"x": 1, "y": 1}


def test_refusals_are_no_answers_and_are_counted_by_reason_whatever_number_is_in_it(journal):
    folder = journal(
        answer("a", 4),
        refusal("b", 3, "input 3 is empty"),
        refusal("c", 2, "input 17 is empty"),
        refusal("d", 1, "not an image"),
    )
    traffic = select(folder)
    assert (traffic.answers, traffic.refused) == (1, 3)
    assert list(traffic.refusals.items()) == [("input N is empty", 2), ("not an image", 1)]


def test_labels_outside_the_classes_are_counted_the_commonest_first(journal):
    rows = [answer(name, 9 - at) for at, name in enumerate("abcd")]
    window = only(journal(*rows, labels=[("a", "owl"), ("b", "cat"), ("c", "eel"), ("d", "eel")]))
    assert list(window.unknown_labels(["cat", "dog"]).items()) == [("eel", 2), ("owl", 1)]


def test_a_model_that_was_never_asked_has_an_empty_window(tmp_path):
    assert select(tmp_path / "nobody").document() == {
        "start": "2026-03-02T11:00:00+00:00",
        "end": "2026-03-02T12:00:00+00:00",
        "rows": 0,
        "distinct": 0,
        "labelled": 0,
        "refused": 0,
        "later": 0,
        "versions": {},
    }


def test_a_moment_is_taken_to_utc():
    assert windows.moment("2026-03-02T13:00:30+01:00") == datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["noon", "2026-03-02T12:00:00", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"is not a moment: .*Write it like 2026-03-01T12:00:00\+00:00"):
        windows.moment(text)


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(days=365)])
def test_a_moment_in_the_future_is_refused_with_the_time(monkeypatch, ahead):
    monkeypatch.setenv("HEADSTART_NOW", NOON.isoformat())
    with pytest.raises(UsageError, match=r"lies in the future: it is 2026-03-02 12:00:00 UTC.*Leave --now out"):
        windows.moment((NOON + ahead).isoformat())


def test_a_clock_that_is_seconds_ahead_is_no_future(monkeypatch):
    monkeypatch.setenv("HEADSTART_NOW", NOON.isoformat())
    assert windows.moment((NOON + timedelta(seconds=50)).isoformat()) == NOON + timedelta(seconds=50)

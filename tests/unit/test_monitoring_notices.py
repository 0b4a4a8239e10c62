"""Which looks and trainings make a message, and which are folded into a later one; a window an hour."""

from datetime import UTC, datetime, timedelta

import pytest

from headstart.monitoring import notices

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def look(hour, verdict="alert", cause="label_shift", *, minutes=60):
    end = NOON + timedelta(hours=hour)
    window = {"start": (end - timedelta(minutes=minutes)).isoformat(), "end": end.isoformat()}
    return {"verdict": verdict, "window": window, "causes": [{"cause": cause}] if verdict == "alert" else []}


def told(looks):
    """(hour, event, folded) of each message."""
    state, result = notices.unknown(), []
    for hour, document in looks:
        state, notice = notices.of_look(state, document)
        if notice:
            result.append((hour, notice.event, notice.folded))
    return result


def hourly(*verdicts):
    return [(hour, look(hour, verdict)) for hour, verdict in enumerate(verdicts)]


def test_an_alert_that_lasts_three_hours_makes_two_messages():
    assert told(hourly("ok", "alert", "alert", "alert", "ok", "ok", "ok")) == [(1, "begins", 0), (5, "ends", 2)]


def test_an_alert_of_two_days_is_told_of_once_a_day_with_the_count_of_what_was_folded():
    # told at hour 0; hours 1 to 23 are 23 looks; the 24th is a day later
    assert told(hourly(*["alert"] * 50)) == [(0, "begins", 0), (24, "lasts", 23), (48, "lasts", 23)]


def test_another_cause_is_told_of_and_one_that_was_named_before_is_not():
    causes = ["label_shift", "unknown_shift", "label_shift", "unknown_shift", "new_class"]
    looks = [(hour, look(hour, cause=cause)) for hour, cause in enumerate(causes)]
    assert told(looks) == [(0, "begins", 0), (1, "changes", 0), (4, "changes", 2)]


def test_an_alert_that_comes_and_goes_is_one_alert():
    assert told(hourly("alert", "ok", "alert", "ok", "alert", "ok", "ok")) == [(0, "begins", 0), (6, "ends", 2)]


def test_an_unsure_window_neither_ends_an_alert_nor_begins_one():
    assert told(hourly("unsure", "alert", "unsure", "unsure", "ok", "unsure", "ok")) == [
        (1, "begins", 0),
        (6, "ends", 0),
    ]


def test_two_looks_at_overlapping_windows_do_not_end_an_alert():
    looks = [(0, look(0)), (1, look(1, "ok")), (1.5, look(1.5, "ok"))]
    assert told(looks) == [(0, "begins", 0)]
    assert told([*looks, (2, look(2, "ok"))]) == [(0, "begins", 0), (2, "ends", 0)]


def test_a_look_by_hand_at_the_same_or_an_older_window_says_nothing_new():
    assert told([(5, look(5)), (5, look(5)), (2, look(2, cause="new_class")), (3, look(3, "ok"))]) == [(5, "begins", 0)]


def repeats(*events):
    state, result = notices.unknown(), []
    for hour, key in events:
        state, notice = notices.of_repeat(state, "training", key, NOON + timedelta(hours=hour))
        if notice:
            result.append((hour, notice.folded))
    return result


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(0, "a"), (1, "a"), (2, "a")], [(0, 0)], id="the same is folded"),
        pytest.param([(0, "a"), (1, "b"), (2, "a")], [(0, 0), (1, 0), (2, 0)], id="something else is news"),
        pytest.param([(0, "a"), (1, "a"), (25, "a"), (26, "a")], [(0, 0), (25, 1)], id="a reminder a day"),
    ],
)
def test_the_same_result_of_a_training_is_told_of_once_a_day(events, expected):
    assert repeats(*events) == expected


def test_what_is_forgotten_is_news_again():
    state, _ = notices.of_repeat(notices.unknown(), "look", "no disk", NOON)
    state, notice = notices.of_repeat(notices.forget(state, "look"), "look", "no disk", NOON)
    assert notice is not None

"""Training starts on trouble that lasts and is still there, and not twice within the cooldown."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from headstart.errors import UsageError
from headstart.monitoring import retrain
from headstart.params.operation import Retrain

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PARAMS = Retrain(windows=3, cooldown_days=7.0)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param([], False, id="nothing was looked at"),
        pytest.param(["alert"], False, id="a single bad window"),
        pytest.param(["alert", "alert", "ok"], False, id="trouble that is over"),
        pytest.param(["alert", "alert", "ok", "alert"], False, id="trouble that came back"),
        pytest.param(["ok", "alert", "alert", "alert"], True, id="trouble that lasts"),
        pytest.param(["alert", "alert", "unsure", "alert"], True, id="a quiet night in between"),
        pytest.param(["alert", "alert", "alert", "unsure"], False, id="nobody knows whether it is still there"),
    ],
)
def test_retrains_only_on_trouble_that_lasts_and_is_still_there(verdicts, expected):
    assert (retrain.lasting(verdicts) >= 3) is expected


@pytest.mark.parametrize(("days", "cooled"), [(6.99, False), (7.0, True)])
def test_the_cooldown_is_over_after_its_days(days, cooled):
    assert retrain.cooled_down(NOON, now=NOON + timedelta(days=days), days=7.0) is cooled


def test_without_an_earlier_training_there_is_nothing_to_cool_down_from():
    assert retrain.cooled_down(None, now=NOON, days=7.0)


def look(history, hours, verdict="alert", remedy="fine_tune"):
    """Remember a look at the hour that ends so many hours after noon; whether training is due, and why."""
    end = NOON + timedelta(hours=hours)
    window = {"start": (end - timedelta(hours=1)).isoformat(), "end": end.isoformat()}
    document = {"verdict": verdict, "remedy": remedy, "window": window}
    retrain.remember(history, document)
    return retrain.due(history, PARAMS, end, document)


def test_three_bad_hours_in_a_row_are_due(tmp_path):
    assert [look(tmp_path / "history.json", hour)[0] for hour in range(3)] == [False, False, True]


def test_looking_three_times_within_an_hour_is_not_three_windows(tmp_path):
    assert not any(look(tmp_path / "history.json", hour)[0] for hour in (0, 0.2, 0.4))


def test_the_same_look_twice_counts_once(tmp_path):
    assert not any(look(tmp_path / "history.json", hour)[0] for hour in (0, 1, 1, 1))


@pytest.mark.parametrize("remedy", ["fix_client", "rollback", "none"])
def test_an_alert_that_training_does_not_cure_starts_none_however_long_it_lasts(tmp_path, remedy):
    found = [look(tmp_path / "history.json", hour, remedy=remedy) for hour in range(5)]
    assert found[-1] == (False, f"training is not the remedy, {remedy} is")


def test_hours_of_trouble_that_training_does_not_cure_do_not_count_towards_it(tmp_path):
    history = tmp_path / "history.json"
    found = [look(history, hour, remedy="fix_client" if hour < 2 else "fine_tune")[0] for hour in range(5)]
    assert found == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("remedies", "due"),
    [
        pytest.param(["correct_prior"] * 3, True, id="each window names it"),
        pytest.param(["collect_labels", "collect_labels", "correct_prior"], False, id="only the newest does"),
        pytest.param([*["correct_prior", "collect_labels"] * 3, "correct_prior"], False, id="each second one does"),
        pytest.param(
            ["correct_prior", "fix_client", "correct_prior", "correct_prior"], False, id="once something else"
        ),
        pytest.param(["fine_tune", *["correct_prior"] * 3], True, id="the last three do"),
    ],
)
def test_a_cure_is_due_only_where_every_window_that_lasted_names_it(tmp_path, remedies, due):
    history = tmp_path / "history.json"
    found = [look(history, hour, remedy=remedy) for hour, remedy in enumerate(remedies)]
    assert found[-1][0] is due


def test_a_window_that_names_a_cure_by_itself_says_why_it_waits(tmp_path):
    history = tmp_path / "history.json"
    found = [
        look(history, hour, remedy=remedy) for hour, remedy in enumerate(["collect_labels"] * 2 + ["correct_prior"])
    ]
    assert found[-1][1] == (
        "correct_prior has been the remedy of 1 of 3 alerts in a row, in windows that do not overlap (retrain.windows)"
    )


def test_a_training_that_was_started_is_not_started_again_before_the_cooldown_is_over(tmp_path):
    history = tmp_path / "history.json"
    for hour in range(3):
        look(history, hour)
    retrain.started(history, NOON + timedelta(hours=2))
    due, reason = look(history, 3)
    assert not due
    assert reason == (
        "the last training or cure that an alert started was on 2026-03-02 14:00 UTC, the next may start on "
        "2026-03-09 14:00 (retrain.cooldown_days)"
    )
    assert [look(history, 24 * 7 + 2 + hour)[0] for hour in range(3)][-1]


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("ok", "the verdict is ok"),
        ("alert", "the alert has lasted 1 of 3 windows that do not overlap (retrain.windows)"),
    ],
)
def test_a_window_that_starts_no_training_says_why(tmp_path, verdict, reason):
    assert look(tmp_path / "history.json", 0, verdict) == (False, reason)


def test_a_history_of_before_remedies_is_read_and_its_alerts_count(tmp_path):
    history = tmp_path / "history.json"
    looks = [
        {"start": f"2026-03-02T{hour}:00:00+00:00", "end": f"2026-03-02T{hour + 1}:00:00+00:00", "verdict": "alert"}
        for hour in (10, 11)
    ]
    history.write_text(json.dumps({"format": 1, "looks": looks, "started": None}))
    assert look(history, 1)[0]


def test_a_history_of_another_format_is_refused_with_what_to_do(tmp_path):
    history = tmp_path / "history.json"
    history.write_text('{"format": 9}')
    with pytest.raises(UsageError, match=r"history\.json has format 9; this headstart reads 1 and 2\. Remove it"):
        look(history, 0)

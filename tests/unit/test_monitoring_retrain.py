"""Training starts on trouble that lasts and is still there, and not twice within the cooldown."""

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
    assert retrain.should_retrain(verdicts, needed=3) is expected


@pytest.mark.parametrize(("days", "cooled"), [(6.99, False), (7.0, True)])
def test_the_cooldown_is_over_after_its_days(days, cooled):
    assert retrain.cooled_down(NOON, now=NOON + timedelta(days=days), days=7.0) is cooled


def test_without_an_earlier_training_there_is_nothing_to_cool_down_from():
    assert retrain.cooled_down(None, now=NOON, days=7.0)


def look(history, hours, verdict="alert"):
    end = NOON + timedelta(hours=hours)
    window = {"start": (end - timedelta(hours=1)).isoformat(), "end": end.isoformat()}
    retrain.remember(history, {"verdict": verdict, "window": window})
    return end


def test_three_bad_hours_in_a_row_are_due(tmp_path):
    history = tmp_path / "history.json"
    assert [retrain.due(history, PARAMS, look(history, hour)) for hour in range(3)] == [False, False, True]


def test_looking_three_times_within_an_hour_is_not_three_windows(tmp_path):
    history = tmp_path / "history.json"
    assert not any(retrain.due(history, PARAMS, look(history, hour)) for hour in (0, 0.2, 0.4))


def test_the_same_look_twice_counts_once(tmp_path):
    history = tmp_path / "history.json"
    assert not any(retrain.due(history, PARAMS, look(history, hour)) for hour in (0, 1, 1, 1))


def test_a_training_that_was_started_is_not_started_again_before_the_cooldown_is_over(tmp_path):
    history = tmp_path / "history.json"
    for hour in range(3):
        end = look(history, hour)
    retrain.started(history, end)
    assert not retrain.due(history, PARAMS, look(history, 3))
    for hour in range(3):
        end = look(history, 24 * 7 + 2 + hour)
    assert retrain.due(history, PARAMS, end)


def test_a_history_of_another_format_is_refused_with_what_to_do(tmp_path):
    history = tmp_path / "history.json"
    history.write_text('{"format": 9}')
    with pytest.raises(UsageError, match=r"history\.json has format 9; this headstart reads 1\. Remove it"):
        retrain.due(history, PARAMS, NOON)

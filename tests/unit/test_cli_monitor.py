"""`headstart monitor` prints what the flow left, model by model, and never an earlier look's result."""

import json

import pytest

from headstart import artifacts
from headstart.cli import monitor as command
from headstart.errors import GateError, HeadstartError, OutsideError, UsageError
from headstart.monitoring import watch, windows

NOW = "2026-03-02T12:00:40+00:00"


def document(verdict="ok", end="2026-03-02T12:00:00+00:00", **changes):
    return {
        "format": 3,
        "verdict": verdict,
        "causes": [{"cause": "unknown_shift", "score": 1.0, "evidence": {}}] if verdict == "alert" else [],
        "remedy": "collect_labels" if verdict == "alert" else "none",
        "window": {
            "start": "2026-03-02T11:00:00+00:00", "end": end, "rows": 43, "distinct": 43, "labelled": 0, "refused": 0,
            "later": 81, "versions": {"1": 43}, "version": 1, "minutes": 60,
        },
        "findings": [],
        "estimates": {"accuracy": None, "shares": None, "shares_reason": "the window holds no probabilities."},
        "retraining": {"started": False, "reason": "there is nothing new to train on."},
        **changes,
    }  # fmt: skip


@pytest.fixture
def monitor(initialised, monkeypatch, capsys):
    """Run the command on a flow that leaves these documents and ends with this refusal."""

    def run(refusal=None, as_json=True, **documents):
        def flow(workspace, name, models, *options):
            assert options == ("--now", NOW)
            for model, left in documents.items():
                artifacts.write_json(workspace.monitor(model) / "latest.json", left)
            return refusal

        monkeypatch.setattr(command, "start_flow", flow)
        monkeypatch.setattr(command, "chosen", lambda params, names: names)
        status = command.monitor(list(documents), now=NOW, as_json=as_json)
        return status, capsys.readouterr()

    return run


@pytest.mark.parametrize(("refusal", "status"), [(None, 0), (GateError("digits: alert."), 1)])
def test_an_alert_ends_with_1_and_anything_else_with_0(monitor, refusal, status):
    left = document("alert" if refusal else "ok")
    found, printed = monitor(refusal, digits=left)
    assert (found, json.loads(printed.out)) == (status, {"digits": left})


def test_where_the_window_ends_and_what_is_not_in_it_is_said(monitor):
    _, printed = monitor(as_json=False, digits=document())
    assert (
        "the 60 minutes (monitor.window_minutes) before the last whole minute, or before --now; "
        "81 inputs that came since are in the next window"
    ) in printed.out


def test_what_the_inputs_look_like_is_said_before_anything_else(monitor):
    meaning = "It looks as if red and blue are swapped in 97% of the inputs."
    cause = {"cause": "preprocessing_mismatch", "score": 0.99, "evidence": {"checks": [], "meaning": meaning}}
    _, printed = monitor(GateError("alert"), as_json=False, digits=document("alert", causes=[cause]))
    assert meaning in printed.out.strip().splitlines()[1]


def test_an_alert_shows_the_classes_that_moved_most_then_and_now(monitor):
    shares = {str(name): {"reference": 0.1, "value": 0.1 + name / 100, "low": 0.05, "high": 0.25} for name in range(12)}
    estimates = {"accuracy": None, "shares": shares, "shares_reason": None}
    _, printed = monitor(GateError("alert"), as_json=False, digits=document("alert", estimates=estimates))
    lines = printed.out.splitlines()
    first = lines.index("  classes then and now, with 95% intervals; those that moved most:") + 1
    assert lines[first] == "          11: 10.0%, now 21.0% (5.0% to 25.0%)"
    assert [line.split(":")[0].strip() for line in lines[first : first + 10]] == [
        str(name) for name in range(11, 1, -1)
    ]


def test_an_alert_says_why_there_are_no_shares(monitor):
    _, printed = monitor(GateError("alert"), as_json=False, digits=document("alert"))
    assert "classes no estimate of their shares: the window holds no probabilities." in printed.out


def test_an_alert_says_whether_training_was_started_and_why_not(monitor):
    _, printed = monitor(GateError("alert"), as_json=False, digits=document("alert"))
    assert "training was not started: there is nothing new to train on." in printed.out


def test_charts_that_could_not_be_drawn_are_said(monitor):
    _, printed = monitor(as_json=False, digits=document(page_error="Evidently failed with KeyError: '7'"))
    assert "charts  could not be drawn: Evidently failed with KeyError: '7'" in printed.out


@pytest.mark.parametrize("refusal", [UsageError("apidocs has no champion."), HeadstartError("a bug.")])
def test_one_models_failure_is_shown_beside_the_others_verdicts(monitor, refusal):
    failed = watch.not_looked(refusal, windows.whole_minute(windows.moment(NOW)))
    failed["error"] = {"message": refusal.message, "action": ""}
    status, printed = monitor(refusal, digits=document(), apidocs=failed)
    found = json.loads(printed.out)
    assert status == refusal.exit_status
    assert found["digits"]["verdict"] == "ok"
    assert found["apidocs"]["error"]["message"] == refusal.message
    assert found["error"] == {"message": refusal.message, "action": ""}
    status, printed = monitor(refusal, as_json=False, digits=document(), apidocs=failed)
    assert "digits: ok (43 answers" in printed.out
    assert f"apidocs: no verdict\n  failed  {refusal.message}" in printed.out


def test_an_earlier_looks_result_is_not_shown_for_this_ones(monitor):
    earlier = document("ok", end="2026-03-02T11:00:00+00:00")
    with pytest.raises(OutsideError, match="the server is down"):
        monitor(OutsideError("the server is down."), digits=earlier)

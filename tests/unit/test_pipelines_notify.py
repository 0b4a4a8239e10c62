"""Messages to people, received by a server of ten lines that apprise's `json://` addresses name."""

import json
import logging
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from headstart import settings
from headstart.errors import OutsideError
from headstart.report import messages
from headstart.report.messages import Message
from pipelines import notify
from tests.unit.test_monitoring_notices import NOON, look

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in a plugin of apprise
SECRET = "tok3n-never-shown"
MESSAGE = Message("failure", "digits: alert", "What happened: something.", "/pages/latest.html")


@pytest.fixture
def inbox(monkeypatch):
    """What arrived; `inbox.answers` are the status codes to come, 200 once there are none."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            inbox.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(inbox.answers.pop(0) if inbox.answers else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    inbox = HTTPServer(("127.0.0.1", 0), Handler)
    inbox.received, inbox.answers = [], []
    inbox.address = f"json://user:{SECRET}@127.0.0.1:{inbox.server_port}/{SECRET}"
    thread = threading.Thread(target=inbox.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HEADSTART_ALERT_URL", inbox.address)
    monkeypatch.setattr(notify, "PAUSE_S", 0.0)
    yield inbox
    inbox.shutdown()
    thread.join()
    inbox.server_close()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return settings.Workspace(tmp_path)


def document(hour, verdict="alert", cause="unknown_shift"):
    """A look's document, as far as a message reads it."""
    causes = [{"cause": cause, "score": 0.5, "evidence": {"checks": ["confidence"]}}] if verdict == "alert" else []
    finding = {
        "check": "confidence",
        "verdict": "fail" if verdict == "alert" else "pass",
        "statistic": 1e-9,
        "bar": 1e-4,
        "reason": "Confidence is lower.",
        "action": "Look at some inputs.",
        "evidence": {},
    }
    return {
        **look(hour, verdict),
        "causes": causes,
        "findings": [finding],
        "remedy": "collect_labels",
        "estimates": {"shares": None, "accuracy": None},
        "page": "/pages/latest.html",
    }


def test_a_message_carries_title_text_and_page(inbox):
    assert notify.send(MESSAGE).state == "Delivered"
    [got] = inbox.received
    assert (got["title"], got["type"]) == ("digits: alert", "failure")
    assert got["message"] == "What happened: something.\nPage: /pages/latest.html"


def test_an_address_that_fails_once_is_tried_again_and_one_that_fails_twice_is_not(inbox):
    inbox.answers = [500]
    assert notify.send(MESSAGE).state == "Delivered"
    inbox.answers = [500, 500]
    assert notify.send(MESSAGE).state == "Not delivered"
    assert len(inbox.received) == 4


def test_of_two_addresses_only_the_one_that_failed_is_tried_again(inbox, monkeypatch):
    monkeypatch.setenv("HEADSTART_ALERT_URL", f"{inbox.address}, json://127.0.0.1:1/x")
    delivery = notify.send(MESSAGE)
    assert (delivery.state, len(inbox.received)) == ("Partly delivered", 1)
    assert "address 2 of 2" in delivery.said


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_no_secret_of_an_address_is_shown_or_logged(inbox, workspace, caplog, capsys, level):
    caplog.set_level(level)
    inbox.answers = [500, 500]
    delivery = notify.look(workspace, "digits", shown := document(0))
    assert delivery.state == "Not delivered"
    seen = capsys.readouterr()
    kept = "".join(path.read_text() for path in workspace.monitor("digits").iterdir())
    for text in (delivery.said, caplog.text, seen.out, seen.err, kept, json.dumps(shown)):
        assert SECRET not in text


def test_what_a_library_says_is_masked(inbox):
    assert notify.masked(f"no route to {inbox.address}").count("***") >= 3
    assert SECRET not in notify.masked(f"no route to {inbox.address}")


def test_an_alert_is_told_once_and_its_end_once(inbox, workspace):
    states = [notify.look(workspace, "digits", document(hour)).state for hour in range(3)]
    states += [notify.look(workspace, "digits", document(hour, "ok")).state for hour in (3, 4)]
    assert states == ["Delivered", "Nothing to tell", "Nothing to tell", "Nothing to tell", "Delivered"]
    first, last = inbox.received
    assert (first["type"], last["type"]) == ("failure", "success")
    for part in ("What happened:", "How sure: 1 of 1 statistical test alarmed", "What to do:", "headstart add digits"):
        assert part in first["message"]
    assert "2 more looks alarmed likewise" in last["message"]


def test_a_message_that_nobody_took_is_sent_by_the_next_look(inbox, workspace, capsys):
    inbox.answers = [500, 500]
    shown = document(0)
    notify.look(workspace, "digits", shown)
    assert shown["notification"]["state"] == "Not delivered"
    assert "digits: message not delivered" in capsys.readouterr().err
    assert notify.look(workspace, "digits", document(1)).state == "Delivered"


def test_an_address_that_apprise_does_not_know_is_said_without_repeating_it(inbox, monkeypatch):
    monkeypatch.setenv("HEADSTART_ALERT_URL", f"nosuch://{SECRET}")
    delivery = notify.send(MESSAGE)
    assert delivery.state == "Not delivered"
    assert "HEADSTART_ALERT_URL holds no address that apprise knows" in delivery.said
    assert SECRET not in delivery.said


def test_without_an_address_nothing_is_sent_and_nothing_is_remembered(workspace, monkeypatch):
    monkeypatch.delenv("HEADSTART_ALERT_URL", raising=False)
    assert notify.look(workspace, "digits", document(0)) == notify.OFF
    assert not workspace.monitor("digits").exists()


def test_a_look_that_fails_each_hour_is_told_once_a_day(inbox, workspace, monkeypatch):
    failed = {**document(0, "unsure"), "error": {"message": "the disk is full.", "action": "Make room."}}
    failed["window"]["start"] = None
    for hour in (0, 1, 25):
        monkeypatch.setenv("HEADSTART_NOW", (NOON + timedelta(hours=hour)).isoformat())
        notify.look(workspace, "digits", failed)
    assert [got["title"] for got in inbox.received] == ["digits: the monitor failed"] * 2
    assert "1 more look failed likewise" in inbox.received[1]["message"]


def test_a_bug_on_the_way_to_a_message_is_its_result_and_no_exception(inbox, workspace):
    delivery = notify.told(workspace, "digits", lambda known: known["nothing"])
    assert delivery.state == "Not delivered"
    assert "KeyError" in delivery.said


def released(workspace, verdict, alias, version=3, checks=("accuracy",)):
    gates = [
        {"check": check, "verdict": verdict, "reason": "Accuracy is 0.5.", "action": "Label more."} for check in checks
    ]
    accuracy = {"value": 0.9, "low": 0.85, "high": 0.94, "n": 200}
    run = {"verdict": verdict, "alias": alias, "version": version, "provisional": False, "gates": gates}
    folder = workspace.root / "artifacts/releases/digits"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({**run, "metrics": {"accuracy": accuracy}}))


APPROVAL = SimpleNamespace(release=SimpleNamespace(approval=True))  # all that is read of a model's parameters


@pytest.mark.parametrize(
    ("verdict", "alias", "title", "advice"),
    [
        ("pass", "champion", "digits: version 3 promoted", "headstart rollback digits"),
        ("pass", "challenger", "digits: approve version 3?", "headstart promote digits 3"),
        ("fail", None, "digits: version 3 rejected", "Label more."),
        ("unsure", None, "digits: not sure enough of version 3", "Label more."),
    ],
)
def test_a_training_that_ended_is_told_with_its_numbers_and_the_next_step(
    inbox, workspace, verdict, alias, title, advice
):
    released(workspace, verdict, alias)
    assert notify.trained(workspace, "digits", APPROVAL, None).state == "Delivered"
    [got] = inbox.received
    assert got["title"] == title
    assert "accuracy 90.0% (85.0% to 94.0%) on 200 test examples" in got["message"]
    assert advice in got["message"]


def test_a_training_that_fails_is_told_once_and_folded_after_that(inbox, workspace):
    error = OutsideError("the bucket does not answer.", action="Start it.")
    states = [notify.trained(workspace, "digits", APPROVAL, error).state for _ in range(3)]
    assert states == ["Delivered", "Nothing to tell", "Nothing to tell"]
    assert "the bucket does not answer." in inbox.received[0]["message"]


def test_versions_rejected_by_the_same_gates_are_folded(inbox, workspace):
    for version in (3, 4):
        released(workspace, "fail", None, version)
        notify.trained(workspace, "digits", APPROVAL, None)
    released(workspace, "fail", None, 5, checks=("accuracy", "champion"))
    notify.trained(workspace, "digits", APPROVAL, None)
    assert [got["title"] for got in inbox.received] == ["digits: version 3 rejected", "digits: version 5 rejected"]


def rollout(verdict, outcome):
    finding = {"check": "agreement", "verdict": verdict, "reason": "It errs on 4% of inputs, the champion on 1%."}
    return {"verdict": verdict, "findings": [finding], "outcome": outcome}


def test_a_rollout_is_told_when_it_is_taken_back_and_not_while_it_goes_on(inbox, workspace):
    taken_back = rollout("fail", "Version 4 was taken back; version 3 stays champion.")
    states = [notify.rolled(workspace, "digits", rollout("unsure", "The step goes on.")).state]
    states += [notify.rolled(workspace, "digits", taken_back).state for _ in range(2)]
    assert states == ["Nothing to tell", "Delivered", "Nothing to tell"]
    [got] = inbox.received
    assert (got["title"], got["type"]) == ("digits: rollout", "failure")
    assert "Version 4 was taken back" in got["message"]
    assert "It errs on 4% of inputs" in got["message"]


def test_a_candidate_whose_rollout_began_is_not_said_to_wait_for_approval():
    run = {"verdict": "pass", "alias": "challenger", "provisional": False}
    assert messages.outcome_of({**run, "rollout": {"step": 1}}, approval=True) == "rollout"
    assert messages.outcome_of({**run, "rollout": None}, approval=True) == "approval"

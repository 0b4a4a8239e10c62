"""The steps of a look, with a journal and profiles of made-up digits; registry, training and cures are stood in for."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headstart import profile, settings
from headstart.cli import staleness
from headstart.errors import GateError, HeadstartError, OutsideError, ParamsError, UsageError
from headstart.faults import signatures
from headstart.faults.signatures import Signature
from headstart.journal.writer import Journal
from headstart.params.loader import load
from pipelines import looks
from tests.unit.made_traffic import NOON, profile_of, traffic
from tests.unit.test_monitoring_watch import PARAMS, answers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """The module of the steps, for a workspace of two models, `apidocs` and `digits`, both answered by version 2."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "bundle").mkdir()
    profile.write(tmp_path / "bundle", profile_of(traffic(np.random.default_rng(8), 400)))
    registry = SimpleNamespace(
        aliases=lambda name: SimpleNamespace(champion=2),
        describe=lambda name, version: SimpleNamespace(bundle=f"bundle-{version}"),
        download=lambda name, version: tmp_path / "bundle",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(looks, "registry", registry)
    monkeypatch.setattr(looks.rollouts, "registry", SimpleNamespace(rollout=lambda name: None))
    monkeypatch.setattr(looks.tracking, "open", lambda workspace: None)
    monkeypatch.setattr(looks.evidently, "charts", lambda *sides: ("<p>charts</p>", {"metrics": [6]}))
    monkeypatch.setattr(staleness, "stale_models", lambda workspace, params, models: list(models))
    monkeypatch.setattr(looks, "acted", unexpected)
    return looks


def unexpected(workspace, name, cure):
    raise AssertionError(f"{cure or 'training'} was started")


def hours(workspace, model, windows):
    """Journal one window of made-up traffic an hour, the last before noon."""
    book = Journal(workspace / "state/journal" / model, PARAMS, clock=lambda: NOON)
    for ago, seen in enumerate(reversed(windows)):
        moved = [
            type(row)(**{name: getattr(row, name) for name in row.__slots__} | {
                "time": row.time - timedelta(hours=ago), "request_id": f"{ago}-{row.request_id}"})
            for row in answers(seen)
        ]  # fmt: skip
        book.record(moved)
    book.close()


def clean(seed=6):
    return traffic(np.random.default_rng(seed), 150)


def bad():
    return traffic(np.random.default_rng(6), 200, evidence=1.5)


def latest(workspace, model):
    return json.loads((workspace / f"state/monitor/{model}/latest.json").read_text())


def look(steps, *models, ago=0, **options):
    """The verdicts by model."""
    workspace = settings.Workspace(Path.cwd())
    return steps.watched(workspace, list(models), (NOON - timedelta(hours=ago)).isoformat(), **options)


def test_clean_windows_give_the_verdict_by_model(steps, tmp_path):
    hours(tmp_path, "digits", [clean()])
    assert look(steps, "digits", "apidocs") == {"digits": "ok", "apidocs": "unsure"}
    assert latest(tmp_path, "digits")["retraining"] == {"started": False, "reason": "the verdict is ok"}


def test_prefect_is_not_imported_before_an_alert_starts_something():
    script = (
        "import sys; from pipelines import looks; print([name for name in ('prefect', 'dvc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fault_of_clients_is_named_by_the_bundles_signatures_and_however_long_it_lasts_trains_nothing(
    steps, tmp_path
):
    signatures.write(tmp_path / "bundle", [Signature("inverted", 1, {"brightness": -1.0})])
    dark = [traffic(np.random.default_rng(seed), 150, darker=0.3) for seed in range(6)]
    hours(tmp_path, "digits", dark)
    for ago in range(5, -1, -1):
        assert look(steps, "digits", ago=ago) == {"digits": "alert"}
    document = latest(tmp_path, "digits")
    assert (document["causes"][0]["cause"], document["remedy"]) == ("preprocessing_mismatch", "fix_client")
    assert document["causes"][0]["evidence"]["fault"] == "inverted"
    assert not document["retraining"]["started"]
    assert "fix_client" in document["retraining"]["reason"]


def test_charts_are_drawn_of_an_alert_and_kept_as_numbers(steps, tmp_path):
    hours(tmp_path, "digits", [bad()])
    look(steps, "digits")
    kept = Path(latest(tmp_path, "digits")["page"])
    assert (kept.name, kept.with_name("latest.html").read_text()) == ("20260302T120000Z.html", kept.read_text())
    assert "&lt;p&gt;charts&lt;/p&gt;" in kept.read_text()
    numbers = json.loads(kept.with_suffix(".json").read_text())
    assert (numbers["headstart"]["verdict"], numbers["evidently"]) == ("alert", {"metrics": [6]})


def test_charts_of_a_window_that_did_not_alarm_are_drawn_where_they_are_asked_for(steps, tmp_path):
    hours(tmp_path, "digits", [clean()])
    look(steps, "digits")
    page = Path(latest(tmp_path, "digits")["page"])
    assert "headstart monitor digits --charts --now 2026-03-02T12:00:00+00:00" in page.read_text()
    look(steps, "digits", charts=True)
    assert "&lt;p&gt;charts&lt;/p&gt;" in page.read_text()


@pytest.mark.parametrize(
    ("error", "raised", "exit_status"),
    [
        pytest.param(KeyError("7"), HeadstartError, 3, id="a bug"),
        pytest.param(UsageError("digits has no champion."), UsageError, 2, id="a refusal"),
    ],
)
def test_one_models_failure_is_its_result_and_stops_no_other(steps, tmp_path, monkeypatch, error, raised, exit_status):
    def aliases(name):
        if name == "digits":
            raise error
        return SimpleNamespace(champion=2)

    monkeypatch.setattr(steps.registry, "aliases", aliases)
    hours(tmp_path, "apidocs", [clean()])
    with pytest.raises(raised) as refusal:
        look(steps, "digits", "apidocs")
    assert refusal.value.exit_status == exit_status
    assert latest(tmp_path, "apidocs")["verdict"] == "ok"
    document = latest(tmp_path, "digits")
    assert document["verdict"] == "unsure"
    assert document["error"]["message"] == refusal.value.message
    assert str(error).strip("'") in document["findings"][0]["reason"]
    assert "This window could not be looked at" in Path(document["page"]).read_text()


def test_answers_are_judged_where_the_champion_that_gave_them_was_taken_away(steps, tmp_path, monkeypatch):
    def download(name, version=None):
        if version is None:
            raise UsageError(f"{name} has no champion.")
        return tmp_path / "bundle"

    monkeypatch.setattr(steps.registry, "aliases", lambda name: SimpleNamespace(champion=None))
    monkeypatch.setattr(steps.registry, "download", download)
    hours(tmp_path, "digits", [bad()])
    assert look(steps, "digits") == {"digits": "alert"}
    with pytest.raises(UsageError, match=r"apidocs has no champion\."):  # nothing was asked of it
        look(steps, "apidocs")


def test_a_model_that_does_not_exist_is_named(steps):
    with pytest.raises(ParamsError, match="there is no model 'digitz'"):
        look(steps, "digits", "digitz")


def test_a_page_that_cannot_be_drawn_costs_no_verdict_and_says_so_itself(steps, tmp_path, monkeypatch):
    before = []

    def fail(reference, window):
        before.append(latest(tmp_path, "digits")["verdict"])
        raise KeyError("7")

    monkeypatch.setattr(steps.evidently, "charts", fail)
    hours(tmp_path, "digits", [clean()])
    assert look(steps, "digits", charts=True) == {"digits": "ok"}
    document = latest(tmp_path, "digits")
    assert before == ["ok"]
    assert document["page_error"] == "Evidently failed with KeyError: '7'"
    assert "could not be drawn: Evidently failed" in Path(document["page"]).read_text()


def test_a_failure_after_the_verdict_keeps_it(steps, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("the disk refuses")

    monkeypatch.setattr(steps.deletion, "compact", fail)
    hours(tmp_path, "digits", [clean()])
    with pytest.raises(HeadstartError, match="OSError: the disk refuses"):
        look(steps, "digits")
    document = latest(tmp_path, "digits")
    assert document["verdict"] == "ok"
    assert "OSError: the disk refuses" in document["error"]["message"]
    assert document["retraining"]["reason"] == "the verdict is ok"


def lasting(steps, tmp_path):
    """Three alerting windows in a row; the training that the last look led to, and when one was started."""
    hours(tmp_path, "digits", [bad(), bad(), bad()])
    for ago in (2, 1, 0):
        assert look(steps, "digits", ago=ago) == {"digits": "alert"}
    history = json.loads((tmp_path / "state/monitor/digits/history.json").read_text())
    return latest(tmp_path, "digits")["retraining"], history["started"]


def ending(steps, monkeypatch, outcome=None, *, name="Rejected", message="digits: fail."):
    """Let what an alert starts end so; what was started: the model, and the cure or None for a training."""
    asked = []
    ended = SimpleNamespace(name=name, message=message, result=lambda raise_on_failure: outcome or {})

    def acted(workspace, model, cure):
        asked.append((model, cure))
        return ended

    monkeypatch.setattr(steps, "acted", acted)
    return asked


def test_with_nothing_new_nothing_is_trained_and_the_cooldown_is_not_spent(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(staleness, "stale_models", lambda workspace, params, models: [])
    retraining, started = lasting(steps, tmp_path)
    assert not retraining["started"]
    assert retraining["reason"].endswith("but there is nothing new to train on.")
    assert started is None
    page = Path(latest(tmp_path, "digits")["page"])
    assert "but there is nothing new to train on." in page.read_text()
    assert page.with_name("latest.html").read_text() == page.read_text()


def test_a_window_in_which_nothing_was_answered_has_the_newest_page(steps, tmp_path):
    look(steps, "digits")
    page = Path(latest(tmp_path, "digits")["page"])
    assert page.name == "latest.html"
    assert "Nothing was answered in this window" in page.read_text()


def test_an_alert_that_lasts_starts_training_where_something_is_new(steps, tmp_path, monkeypatch):
    asked = ending(steps, monkeypatch)
    retraining, started = lasting(steps, tmp_path)
    assert asked == [("digits", None)]
    assert retraining["started"]
    assert retraining["reason"].endswith("Training ended: digits: fail.")
    assert started == NOON.isoformat()


def test_training_that_no_gate_let_through_spends_the_cooldown(steps, tmp_path, monkeypatch):
    ending(steps, monkeypatch, GateError("no."))
    retraining, started = lasting(steps, tmp_path)
    assert retraining["reason"].endswith("Training ended: no.")
    assert started is not None


@pytest.mark.parametrize(
    ("error", "spent"), [(OutsideError("the hub is down."), False), (UsageError("the source is odd."), True)]
)
def test_training_that_fails_spends_the_cooldown_unless_it_may_pass(steps, tmp_path, monkeypatch, error, spent):
    ending(steps, monkeypatch, error)
    with pytest.raises(type(error), match=error.message):
        lasting(steps, tmp_path)
    history = json.loads((tmp_path / "state/monitor/digits/history.json").read_text())
    assert (history["started"] is not None) is spent
    assert f"Training failed: {error.message}" in latest(tmp_path, "digits")["retraining"]["reason"]


def test_our_parameters_are_those_of_the_made_up_monitor():
    from tests.unit.made_traffic import monitor

    assert load(ROOT / "params.yaml").models["digits"].monitor == monitor()


@pytest.fixture
def label_shift(steps, monkeypatch):
    """Alerts whose remedy is a corrected prior."""
    judged = steps.watch.watch

    def named(*arguments, **options):
        seen = judged(*arguments, **options)
        seen.document["remedy"] = "correct_prior"
        return seen

    monkeypatch.setattr(steps.watch, "watch", named)


@pytest.mark.usefixtures("label_shift")
def test_a_shift_of_the_classes_shares_that_lasts_is_cured_though_nothing_is_new(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(staleness, "stale_models", lambda workspace, params, models: [])
    asked = ending(steps, monkeypatch, name="Completed", message="digits: pass.")
    retraining, started = lasting(steps, tmp_path)
    assert asked == [("digits", "correct_prior")]
    assert (retraining["started"], started) == (True, NOON.isoformat())
    assert retraining["reason"].endswith("its remedy is correct_prior. The cure ended: digits: pass.")


@pytest.mark.usefixtures("label_shift")
def test_a_cure_that_did_not_help_is_not_tried_again_within_the_cooldown(steps, tmp_path, monkeypatch):
    asked = ending(steps, monkeypatch)
    lasting(steps, tmp_path)
    look(steps, "digits")
    assert asked == [("digits", "correct_prior")]
    assert "retrain.cooldown_days" in latest(tmp_path, "digits")["retraining"]["reason"]


@pytest.mark.usefixtures("label_shift")
def test_a_cure_whose_effect_is_not_surely_good_is_left_to_a_person_and_spends_no_cooldown(
    steps, tmp_path, monkeypatch
):
    ending(steps, monkeypatch, name="Not sure", message="the window has 200 inputs.")
    retraining, started = lasting(steps, tmp_path)
    assert (retraining["started"], started) == (False, None)
    assert retraining["reason"].endswith(
        "but it is left to a person (headstart remedy digits correct_prior): the window has 200 inputs."
    )


@pytest.mark.usefixtures("label_shift")
def test_a_cure_that_failed_for_a_reason_that_may_pass_spends_no_cooldown(steps, tmp_path, monkeypatch):
    ending(steps, monkeypatch, OutsideError("the registry is down."))
    with pytest.raises(OutsideError, match="the registry is down"):
        lasting(steps, tmp_path)
    assert json.loads((tmp_path / "state/monitor/digits/history.json").read_text())["started"] is None
    assert "The cure failed: the registry is down." in latest(tmp_path, "digits")["retraining"]["reason"]


def test_a_message_is_sent_by_the_look_itself_and_what_became_of_it_stands_in_the_document(
    steps, tmp_path, monkeypatch
):
    sent = []

    def send(message):
        sent.append(message.title)
        return steps.notify.Delivery(steps.notify.UNDELIVERED, "Slack (address 1 of 1): tried twice")

    monkeypatch.setenv("HEADSTART_ALERT_URL", "json://nobody")
    monkeypatch.setattr(steps.notify, "send", send)
    hours(tmp_path, "digits", [bad()])
    assert look(steps, "digits") == {"digits": "alert"}
    [title] = sent
    assert title.startswith("digits: alert, ")
    assert latest(tmp_path, "digits")["notification"]["state"] == "Not delivered"
    assert latest(tmp_path, "digits")["retraining"]["started"] is False


@pytest.mark.parametrize(
    ("since", "windows", "trained"),
    [
        pytest.param(NOON - timedelta(days=91), [clean()], True, id="older than the limit"),
        pytest.param(NOON - timedelta(days=89), [clean()], False, id="younger than the limit"),
        pytest.param(NOON - timedelta(days=91), [bad()], False, id="an alert decides for itself"),
    ],
)
def test_a_champion_older_than_the_limit_is_trained_anew_where_something_is_new(
    steps, tmp_path, monkeypatch, since, windows, trained
):
    asked = ending(steps, monkeypatch)
    monkeypatch.setattr(
        steps.registry, "describe", lambda *_: SimpleNamespace(bundle="bundle-2", since=since.isoformat())
    )
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("after_days: null ", "after_days: 90.0 "))
    hours(tmp_path, "digits", windows)
    look(steps, "digits")
    assert asked == ([("digits", None)] if trained else [])
    reason = latest(tmp_path, "digits")["retraining"]["reason"]
    assert ("the champion is 91.0 days old, more than 90 (retrain.after_days)" in reason) is trained


def test_the_age_of_a_champion_starts_one_training_a_cooldown(steps, tmp_path, monkeypatch):
    asked = ending(steps, monkeypatch)
    monkeypatch.setattr(
        steps.registry, "describe", lambda *_: SimpleNamespace(bundle="bundle-2", since="2025-01-01T00:00:00+00:00")
    )
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("after_days: null ", "after_days: 90.0 "))
    hours(tmp_path, "digits", [clean(6), clean(7)])
    look(steps, "digits", ago=1)
    look(steps, "digits")
    assert asked == [("digits", None)]

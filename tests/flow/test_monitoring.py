"""The flow `monitoring`, with a journal and profiles of made-up digits; the registry and training are stood in for."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headstart import profile, settings
from headstart.errors import GateError, HeadstartError, OutsideError, ParamsError, UsageError
from headstart.faults import signatures
from headstart.faults.signatures import Signature
from headstart.journal.writer import Journal
from headstart.params.loader import load
from tests.unit.made_traffic import NOON, profile_of, traffic
from tests.unit.test_monitoring_watch import PARAMS, answers

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def flow(prefect_api, tmp_path, monkeypatch):
    """The module of the flow in a workspace of two models, `apidocs` and `digits`, both answered by version 2."""
    from pipelines import monitoring, world

    workspace = settings.Workspace(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "bundle").mkdir()
    profile.write(tmp_path / "bundle", profile_of(traffic(np.random.default_rng(8), 400)))
    registry = SimpleNamespace(
        aliases=lambda name: SimpleNamespace(champion=2),
        describe=lambda name, version: SimpleNamespace(bundle=f"bundle-{version}"),
        download=lambda name, version: tmp_path / "bundle",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "workspace", lambda: workspace)
    monkeypatch.setattr(monitoring, "registry", registry)
    monkeypatch.setattr(monitoring.tracking, "open", lambda workspace: None)
    monkeypatch.setattr(monitoring.evidently, "charts", lambda *sides: ("<p>charts</p>", {"metrics": [6]}))
    monkeypatch.setattr(monitoring.fresh, "stale_models", lambda workspace, params, models: list(models))
    monkeypatch.setattr(monitoring, "training", unexpected)
    return monitoring


def unexpected(models, return_state):
    raise AssertionError("training was started")


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


def look(flow, *models, ago=0):
    return flow.monitoring(list(models), (NOON - timedelta(hours=ago)).isoformat(), return_state=True)


def test_clean_windows_complete_with_the_verdict_by_model(flow, tmp_path):
    hours(tmp_path, "digits", [clean()])
    state = look(flow, "digits", "apidocs")
    assert (state.name, state.result()) == ("Completed", {"digits": "ok", "apidocs": "unsure"})
    assert latest(tmp_path, "digits")["retraining"] == {"started": False, "reason": "the verdict is ok"}


def test_a_fault_of_clients_is_named_by_the_bundles_signatures_and_however_long_it_lasts_trains_nothing(flow, tmp_path):
    signatures.write(tmp_path / "bundle", [Signature("inverted", 1, {"brightness": -1.0})])
    dark = [traffic(np.random.default_rng(seed), 150, darker=0.3) for seed in range(6)]
    hours(tmp_path, "digits", dark)
    for ago in range(5, -1, -1):
        assert look(flow, "digits", ago=ago).name == "Alert"
    document = latest(tmp_path, "digits")
    assert (document["causes"][0]["cause"], document["remedy"]) == ("preprocessing_mismatch", "fix_client")
    assert document["causes"][0]["evidence"]["fault"] == "inverted"
    assert not document["retraining"]["started"]
    assert "fix_client" in document["retraining"]["reason"]


def test_an_alert_is_a_result_and_an_event_that_people_can_be_told_of(flow, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(flow, "emit_event", lambda event, **about: told.append((event, about)))
    hours(tmp_path, "digits", [bad()])
    hours(tmp_path, "apidocs", [clean()])
    state = look(flow, "digits", "apidocs")
    assert (state.name, state.is_completed()) == ("Alert", True)
    [(event, about)] = told
    assert event == "headstart.alert"
    assert about["resource"] == {"prefect.resource.id": "headstart.model.digits"}
    assert about["payload"]["verdict"] == "alert"
    kept = Path(about["payload"]["page"])
    assert (kept.name, kept.with_name("latest.html").read_text()) == ("20260302T120000Z.html", kept.read_text())
    numbers = json.loads(kept.with_suffix(".json").read_text())
    assert (numbers["headstart"]["verdict"], numbers["evidently"]) == ("alert", {"metrics": [6]})


@pytest.mark.parametrize(
    ("error", "raised", "exit_status"),
    [
        pytest.param(KeyError("7"), HeadstartError, 3, id="a bug"),
        pytest.param(UsageError("digits has no champion."), UsageError, 2, id="a refusal"),
    ],
)
def test_one_models_failure_is_its_result_and_stops_no_other(flow, tmp_path, monkeypatch, error, raised, exit_status):
    def aliases(name):
        if name == "digits":
            raise error
        return SimpleNamespace(champion=2)

    monkeypatch.setattr(flow.registry, "aliases", aliases)
    hours(tmp_path, "apidocs", [clean()])
    state = look(flow, "digits", "apidocs")
    assert state.is_failed()
    with pytest.raises(raised) as refusal:
        state.result()
    assert refusal.value.exit_status == exit_status
    assert latest(tmp_path, "apidocs")["verdict"] == "ok"
    document = latest(tmp_path, "digits")
    assert document["verdict"] == "unsure"
    assert document["error"]["message"] == refusal.value.message
    assert str(error).strip("'") in document["findings"][0]["reason"]
    assert "This window could not be looked at" in Path(document["page"]).read_text()


def test_answers_are_judged_where_the_champion_that_gave_them_was_taken_away(flow, tmp_path, monkeypatch):
    def download(name, version=None):
        if version is None:
            raise UsageError(f"{name} has no champion.")
        return tmp_path / "bundle"

    monkeypatch.setattr(flow.registry, "aliases", lambda name: SimpleNamespace(champion=None))
    monkeypatch.setattr(flow.registry, "download", download)
    hours(tmp_path, "digits", [bad()])
    assert look(flow, "digits").result() == {"digits": "alert"}
    with pytest.raises(UsageError, match=r"apidocs has no champion\."):  # nothing was asked of it
        look(flow, "apidocs").result()


def test_a_model_that_does_not_exist_is_named(flow):
    with pytest.raises(ParamsError, match="there is no model 'digitz'"):
        look(flow, "digits", "digitz").result()


def test_a_page_that_cannot_be_drawn_costs_no_verdict_and_says_so_itself(flow, tmp_path, monkeypatch):
    before = []

    def fail(reference, window):
        before.append(latest(tmp_path, "digits")["verdict"])
        raise KeyError("7")

    monkeypatch.setattr(flow.evidently, "charts", fail)
    hours(tmp_path, "digits", [clean()])
    assert look(flow, "digits").result() == {"digits": "ok"}
    document = latest(tmp_path, "digits")
    assert before == ["ok"]
    assert document["page_error"] == "Evidently failed with KeyError: '7'"
    assert "could not be drawn: Evidently failed" in Path(document["page"]).read_text()


def test_a_failure_after_the_verdict_keeps_it(flow, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("the disk refuses")

    monkeypatch.setattr(flow.deletion, "compact", fail)
    hours(tmp_path, "digits", [clean()])
    assert look(flow, "digits").is_failed()
    document = latest(tmp_path, "digits")
    assert document["verdict"] == "ok"
    assert "OSError: the disk refuses" in document["error"]["message"]
    assert document["retraining"]["reason"] == "the verdict is ok"


def lasting(flow, tmp_path):
    """Three alerting windows in a row; the state of the last look, and the training it led to."""
    hours(tmp_path, "digits", [bad(), bad(), bad()])
    state = [look(flow, "digits", ago=ago) for ago in (2, 1, 0)][-1]
    history = json.loads((tmp_path / "state/monitor/digits/history.json").read_text())
    return state, latest(tmp_path, "digits")["retraining"], history["started"]


def test_with_nothing_new_nothing_is_trained_and_the_cooldown_is_not_spent(flow, tmp_path, monkeypatch):
    monkeypatch.setattr(flow.fresh, "stale_models", lambda workspace, params, models: [])
    state, retraining, started = lasting(flow, tmp_path)
    assert state.name == "Alert"
    assert not retraining["started"]
    assert retraining["reason"].endswith("but there is nothing new to train on.")
    assert started is None
    page = Path(latest(tmp_path, "digits")["page"])
    assert "but there is nothing new to train on." in page.read_text()
    assert page.with_name("latest.html").read_text() == page.read_text()


def test_a_window_in_which_nothing_was_answered_has_the_newest_page(flow, tmp_path):
    look(flow, "digits")
    page = Path(latest(tmp_path, "digits")["page"])
    assert page.name == "latest.html"
    assert "Nothing was answered in this window" in page.read_text()


def test_an_alert_that_lasts_starts_training_where_something_is_new(flow, tmp_path, monkeypatch):
    asked = []

    def training(models, return_state):
        asked.append(models)
        return SimpleNamespace(name="Rejected", message="digits: fail.", result=lambda raise_on_failure: {})

    monkeypatch.setattr(flow, "training", training)
    state, retraining, started = lasting(flow, tmp_path)
    assert asked == [["digits"]]
    assert retraining["started"]
    assert retraining["reason"].endswith("Training ended: digits: fail.")
    assert started == NOON.isoformat()
    assert state.name == "Alert"


@pytest.mark.parametrize(
    ("error", "spent"),
    [(OutsideError("the hub is down."), False), (UsageError("the source is odd."), True), (GateError("no."), True)],
)
def test_training_that_fails_spends_the_cooldown_unless_it_may_pass(flow, tmp_path, monkeypatch, error, spent):
    monkeypatch.setattr(
        flow,
        "training",
        lambda models, return_state: SimpleNamespace(
            name="Failed", message=None, result=lambda raise_on_failure: error
        ),
    )
    state, retraining, started = lasting(flow, tmp_path)
    assert (started is not None) is spent
    assert error.message in retraining["reason"]
    assert state.is_failed() is not isinstance(error, GateError)


def test_our_parameters_are_those_of_the_made_up_monitor():
    from tests.unit.made_traffic import monitor

    assert load(ROOT / "params.yaml").models["digits"].monitor == monitor()


@pytest.fixture
def label_shift(flow, monkeypatch):
    """Alerts whose remedy is a corrected prior; what remedies were carried out, and how that ends."""
    judged, asked = flow.watch.watch, []

    def named(*arguments, **options):
        seen = judged(*arguments, **options)
        seen.document["remedy"] = "correct_prior"
        return seen

    ended = SimpleNamespace(name="Completed", message="digits: pass.", result=lambda raise_on_failure: {})
    monkeypatch.setattr(flow.watch, "watch", named)

    def remedy(name, wanted, unattended, return_state):
        assert unattended
        asked.append((name, wanted))
        return ended

    monkeypatch.setattr(flow, "remedy", remedy)
    return SimpleNamespace(asked=asked, ended=ended)


def test_a_shift_of_the_classes_shares_that_lasts_is_cured_though_nothing_is_new(
    flow, tmp_path, label_shift, monkeypatch
):
    monkeypatch.setattr(flow.fresh, "stale_models", lambda workspace, params, models: [])
    state, retraining, started = lasting(flow, tmp_path)
    assert label_shift.asked == [("digits", "correct_prior")]
    assert (state.name, retraining["started"], started) == ("Alert", True, NOON.isoformat())
    assert retraining["reason"].endswith("its remedy is correct_prior. The cure ended: digits: pass.")


def test_a_cure_that_did_not_help_is_not_tried_again_within_the_cooldown(flow, tmp_path, label_shift):
    lasting(flow, tmp_path)
    look(flow, "digits")
    assert label_shift.asked == [("digits", "correct_prior")]
    assert "retrain.cooldown_days" in latest(tmp_path, "digits")["retraining"]["reason"]


def test_a_cure_whose_effect_is_not_surely_good_is_left_to_a_person_and_spends_no_cooldown(flow, tmp_path, label_shift):
    label_shift.ended.name, label_shift.ended.message = "Not sure", "the window has 200 inputs."
    state, retraining, started = lasting(flow, tmp_path)
    assert (state.name, retraining["started"], started) == ("Alert", False, None)
    assert retraining["reason"].endswith(
        "but it is left to a person (headstart remedy digits correct_prior): the window has 200 inputs."
    )


def test_a_cure_that_failed_for_a_reason_that_may_pass_spends_no_cooldown(flow, tmp_path, label_shift):
    label_shift.ended.result = lambda raise_on_failure: OutsideError("the registry is down.")
    state, retraining, started = lasting(flow, tmp_path)
    assert (state.is_failed(), started) == (True, None)
    assert retraining["reason"].endswith("The cure failed: the registry is down.")

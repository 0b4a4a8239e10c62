"""The flow `remedy`: a cure is written, its candidate judged; what the gates refuse is taken back."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.states import Completed

from headstart import artifacts, settings
from headstart.data import cures
from headstart.errors import BundleError, DataError, OutsideError, UsageError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NEW = {"0": 0.9, "1": 0.1}
GAIN = {"value": 0.03, "low": 0.01, "high": 0.05}
BEFORE, NEWER = {"0": 0.4, "1": 0.6}, {"0": 0.8, "1": 0.2}
EFFECT = {"inputs": 500, "accuracy": {"difference": GAIN}, "labelled": None, "changed": 0.1}


class Killed(BaseException):
    """Nothing runs after it, as after SIGKILL."""


@pytest.fixture
def flow(prefect_api, tmp_path, monkeypatch):
    """The module of the flow; `training` is stood in for by `trains`, and the look by one that proposes `NEW`."""
    from pipelines import remedies, world

    workspace = settings.Workspace(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "workspace", lambda: workspace)
    monkeypatch.setattr(remedies.tracking, "open", lambda workspace, writing=False: None)
    recorded = []
    entry = lambda name, event, **details: recorded.append((event, details.get("remedy"), details.get("reason")))  # noqa: E731
    monkeypatch.setattr(remedies, "ledger", SimpleNamespace(append=entry, recorded=recorded))
    monkeypatch.setattr(remedies.references, "recorded", lambda *arguments, **options: None)
    monkeypatch.setattr(remedies.staleness, "stale_models", lambda workspace, params, models: models)
    monkeypatch.setattr(world, "cures", lambda name: None)  # records with DVC
    monkeypatch.setattr(remedies.remedies, "CURES", {"correct_prior": proposes(NEW)})
    return remedies


def proposes(shares, effect=EFFECT):
    """A remedy that sets the prior to these shares."""
    write = lambda folder: cures.write_prior(folder, shares, source={"version": 1})  # noqa: E731
    return lambda seen: SimpleNamespace(effect=effect, write=write)


def trains(verdict, *, raises=None, name="Completed"):
    """A training that ends with this verdict, or raises; `seen` holds the shares that it found."""
    seen = []

    def training(models, return_state):
        seen.append(shares())
        if isinstance(raises, Killed):
            raise raises
        if raises is not None:
            return SimpleNamespace(name="Failed", message=None, result=lambda raise_on_failure: raises)
        made = {"version": 4, "alias": "champion" if verdict == "pass" else None, "verdict": verdict}
        artifacts.write_json(artifacts.release(models[0]) / "run.json", {**made, "metrics": {}})
        state = Completed(name=name, message=f"digits: {verdict}.", data={"digits": verdict})
        return SimpleNamespace(name=name, message=state.message, result=lambda raise_on_failure: {"digits": verdict})

    training.seen = seen
    return training


def shares():
    return json.loads((artifacts.cures("digits") / cures.PRIOR).read_text())["shares"]


def done(tmp_path):
    return json.loads((tmp_path / "state/monitor/digits/remedy.json").read_text())


@pytest.mark.parametrize(("verdict", "state"), [("pass", "Completed"), ("unsure", "Unsure")])
def test_the_training_finds_the_cure_and_what_is_not_refused_stays(flow, tmp_path, monkeypatch, verdict, state):
    training = trains(verdict)
    monkeypatch.setattr(flow, "training", training)
    ended = flow.remedy("digits", "correct_prior", return_state=True)
    assert (ended.name, ended.result()) == (state, {"digits": verdict})
    assert training.seen == [NEW] and shares() == NEW
    assert flow.ledger.recorded == [("remedy_applied", "correct_prior", None)]
    alias = "champion" if verdict == "pass" else None
    assert done(tmp_path) == {
        "format": 1, "remedy": "correct_prior", "effect": EFFECT, "kept": True,
        "challenger": {"version": 4, "alias": alias, "verdict": verdict},
    }  # fmt: skip


def test_a_cure_whose_candidate_is_refused_gives_way_to_the_one_before(flow, tmp_path, monkeypatch):
    cures.write_prior(cures.ensure("digits"), BEFORE, source={})
    monkeypatch.setattr(flow, "training", trains("fail"))
    ended = flow.remedy("digits", "correct_prior", return_state=True)
    assert ended.name == "Rejected"
    assert ended.message == "digits: fail. The cure was taken back."
    assert shares() == BEFORE and not done(tmp_path)["kept"]
    assert flow.ledger.recorded == [
        ("remedy_applied", "correct_prior", None),
        ("remedy_withdrawn", "correct_prior", "the gates refused its candidate"),
    ]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        pytest.param(OutsideError("the remote is down."), True, id="may pass: the candidate may be champion already"),
        pytest.param(BundleError("the two answer different modalities."), False, id="made with the cure, and no use"),
        pytest.param(KeyError("temperature"), False, id="a bug"),
    ],
)
def test_a_failure_is_raised_and_the_cure_stays_where_it_may_pass(flow, tmp_path, monkeypatch, error, kept):
    """Yesterday's verdict, which still lies there, is not this training's."""
    artifacts.write_json(
        artifacts.release("digits") / "run.json", {"version": 3, "alias": "champion", "verdict": "pass"}
    )
    monkeypatch.setattr(flow, "training", trains("", raises=error))
    with pytest.raises(type(error), match=str(error)[:10]):
        flow.remedy("digits", "correct_prior", return_state=True).result()
    assert (shares() == NEW) is kept
    assert (done(tmp_path)["challenger"], done(tmp_path)["kept"]) == (None, kept)


@pytest.mark.parametrize("end", [OutsideError("the remote is down."), Killed()])
@pytest.mark.parametrize(("verdict", "after"), [("fail", BEFORE), ("pass", NEWER)])
def test_a_cure_that_nobody_judged_is_no_state_to_go_back_to(flow, monkeypatch, end, verdict, after):
    cures.write_prior(cures.ensure("digits"), BEFORE, source={})
    monkeypatch.setattr(flow, "training", trains("", raises=end))
    if isinstance(end, OutsideError):
        with pytest.raises(OutsideError):
            flow.remedy("digits", "correct_prior", return_state=True).result()
    else:
        with pytest.raises(Killed):
            flow.remedy("digits", "correct_prior")
    assert shares() == NEW
    monkeypatch.setattr(flow.remedies, "CURES", {"correct_prior": proposes(NEWER)})
    monkeypatch.setattr(flow, "training", trains(verdict))
    flow.remedy("digits", "correct_prior", return_state=True)
    assert shares() == after
    monkeypatch.setattr(flow, "training", trains("fail"))  # what was judged now is what the next one goes back to
    flow.remedy("digits", "correct_prior", return_state=True)
    assert shares() == after


@pytest.mark.parametrize(("verdict", "after"), [("pass", NEW), ("fail", BEFORE)])
def test_a_cure_that_a_plain_run_judged_since_counts_as_that_run_said(flow, monkeypatch, verdict, after):
    cures.write_prior(cures.ensure("digits"), BEFORE, source={})
    monkeypatch.setattr(flow, "training", trains("", raises=OutsideError("the remote is down.")))
    with pytest.raises(OutsideError):
        flow.remedy("digits", "correct_prior", return_state=True).result()
    trains(verdict)(["digits"], True)  # headstart run digits
    monkeypatch.setattr(flow.staleness, "stale_models", lambda workspace, params, models: [])
    monkeypatch.setattr(flow, "training", trains("fail"))
    flow.remedy("digits", "correct_prior", return_state=True)
    assert shares() == after


@pytest.mark.parametrize("refused", [False, True])
def test_unattended_nothing_is_changed_where_the_effect_is_not_surely_good(flow, tmp_path, monkeypatch, refused):
    def unmade(seen):
        raise DataError("60 answers came.")

    doubtful = {**EFFECT, "accuracy": {"difference": {**GAIN, "low": -0.01}}}
    monkeypatch.setattr(flow.remedies, "CURES", {"correct_prior": unmade if refused else proposes(NEW, doubtful)})
    monkeypatch.setattr(flow, "training", trains("pass"))
    cures.write_prior(cures.ensure("digits"), BEFORE, source={})
    ended = flow.remedy("digits", "correct_prior", unattended=True, return_state=True)
    said = (
        "60 answers came." if refused else "accuracy would change by +0.030 (-0.010 to +0.050), which is not surely a"
    )
    assert ended.name == "Not sure" and said in ended.message
    assert shares() == BEFORE and flow.training.seen == []
    assert not (tmp_path / "state/monitor/digits/remedy.json").exists()
    if not refused:  # a person may
        assert flow.remedy("digits", "correct_prior", return_state=True).name == "Completed"


def test_unattended_a_cure_that_surely_helps_is_carried_out(flow, monkeypatch):
    monkeypatch.setattr(flow, "training", trains("pass"))
    assert flow.remedy("digits", "correct_prior", unattended=True, return_state=True).name == "Completed"
    assert shares() == NEW


def test_none_takes_every_cure_back(flow, monkeypatch):
    cures.write_prior(cures.ensure("digits"), NEW, source={})
    training = trains("fail")
    monkeypatch.setattr(flow, "training", training)
    assert flow.remedy("digits", "none", return_state=True).name == "Rejected"
    assert training.seen == [None] and shares() is None  # a person said so; the gates cannot bring it back


def test_what_headstart_does_not_carry_out_is_refused_and_nothing_trained(flow, monkeypatch):
    monkeypatch.setattr(flow, "training", trains("pass"))
    with pytest.raises(UsageError, match="fix_client is not a remedy that headstart carries out"):
        flow.remedy("digits", "fix_client", return_state=True).result()

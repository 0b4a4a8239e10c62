"""The flow `remedy`: a cure is written, its candidate judged; what the gates refuse is taken back."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.states import Completed

from headstart import artifacts, settings
from headstart.data import cures
from headstart.errors import BundleError, HeadstartError, OutsideError, UsageError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NEW = {"0": 0.9, "1": 0.1}


@pytest.fixture
def flow(prefect_api, tmp_path, monkeypatch):
    """The module of the flow; `training` is stood in for by `trains`, and the look by one that proposes `NEW`."""
    from pipelines import remedies, world

    workspace = settings.Workspace(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "workspace", lambda: workspace)
    monkeypatch.setattr(remedies.tracking, "open", lambda workspace: None)
    monkeypatch.setattr(remedies.references, "recorded", lambda *arguments: None)
    monkeypatch.setattr(world, "cures", lambda name: None)  # records with DVC
    proposal = SimpleNamespace(
        effect={"changed": 0.1}, write=lambda folder: cures.write_prior(folder, NEW, source={"version": 1})
    )
    monkeypatch.setattr(remedies.remedies, "CURES", {"correct_prior": lambda seen: proposal})
    return remedies


def trains(verdict, *, raises=None, name="Completed"):
    """A training that ends with this verdict, or raises; `seen` holds the shares that it found."""
    seen = []

    def training(models, return_state):
        seen.append(shares())
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
    alias = "champion" if verdict == "pass" else None
    assert done(tmp_path) == {
        "format": 1, "remedy": "correct_prior", "effect": {"changed": 0.1}, "kept": True,
        "challenger": {"version": 4, "alias": alias, "verdict": verdict},
    }  # fmt: skip


def test_a_cure_whose_candidate_is_refused_gives_way_to_the_one_before(flow, tmp_path, monkeypatch):
    before = {"0": 0.4, "1": 0.6}
    cures.write_prior(cures.ensure("digits"), before, source={})
    monkeypatch.setattr(flow, "training", trains("fail"))
    ended = flow.remedy("digits", "correct_prior", return_state=True)
    assert ended.name == "Rejected"
    assert ended.message == "digits: fail. The cure was taken back."
    assert shares() == before and not done(tmp_path)["kept"]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        pytest.param(OutsideError("the remote is down."), True, id="may pass: the candidate may be champion already"),
        pytest.param(BundleError("the two answer different modalities."), False, id="made with the cure, and no use"),
    ],
)
def test_a_failure_is_raised_and_the_cure_stays_where_it_may_pass(flow, tmp_path, monkeypatch, error, kept):
    monkeypatch.setattr(flow, "training", trains("", raises=error))
    with pytest.raises(HeadstartError, match=error.message[:10]):
        flow.remedy("digits", "correct_prior", return_state=True).result()
    assert (shares() == NEW) is kept
    assert done(tmp_path)["challenger"] is None


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

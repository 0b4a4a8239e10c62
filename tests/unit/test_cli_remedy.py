"""`headstart remedy`: a proposal changes nothing; what is carried out is the flow's, its verdict the exit status."""

import json
from types import SimpleNamespace

import pytest

from headstart import artifacts
from headstart.cli import remedy as command
from headstart.cli.workspace import enter
from headstart.data import cures
from headstart.errors import GateError, OutsideError, UsageError
from headstart.faults.table import REMEDIES
from headstart.monitoring import references, remedies

WINDOW = {"start": "2026-03-02T11:00:00+00:00", "end": "2026-03-02T12:00:00+00:00", "rows": 400, "minutes": 60}
ACCURACY = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 50}
EFFECT = {
    "shares": {"a": {"reference": 0.5, "value": 0.9, "low": 0.85, "high": 0.94}},
    "accuracy": {"now": ACCURACY, "corrected": {**ACCURACY, "value": 0.93}, "difference": {**ACCURACY, "value": 0.03}},
    "changed": 0.04,
    "labelled": None,
}


@pytest.fixture
def remedy(initialised, monkeypatch, capsys):
    """Run the command after a look that named `named`; `flow` stands in for the workspace's own."""
    monkeypatch.setattr(command, "chosen", lambda params, names: names)
    monkeypatch.setattr(command.standing, "follow", lambda workspace, name: None)
    params = SimpleNamespace(models={"m": SimpleNamespace(monitor=None)})

    def entered():
        return enter()[0], params

    monkeypatch.setattr(command, "enter", entered)

    def run(wanted=None, *, named="correct_prior", flow=None, as_json=True, meaning=None):
        workspace, _ = entered()
        evidence = {"checks": [], **({"meaning": meaning} if meaning else {})}
        latest = {"remedy": named, "causes": [{"cause": "c", "score": 1.0, "evidence": evidence}], "window": WINDOW}
        artifacts.write_json(workspace.monitor("m") / "latest.json", latest)
        monkeypatch.setattr(command, "start_flow", flow or unexpected)
        status = command.remedy("m", wanted, as_json=as_json)
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if as_json else printed.out, printed.err

    return run


def unexpected(*arguments):
    raise AssertionError("a flow was started")


def left(verdict, *, kept=True, refusal=None):
    """A flow that leaves this behind."""

    def flow(workspace, name, models, *options):
        assert (name, models, options) == ("remedy", ["m"], ("--remedy", "correct_prior"))
        challenger = {"version": 3, "alias": None, "verdict": verdict}
        done = {"effect": EFFECT, "kept": kept, "challenger": challenger}
        artifacts.write_json(workspace.monitor("m") / "remedy.json", done)
        return refusal

    return flow


def test_the_remedy_that_the_last_look_named_is_proposed_and_nothing_is_changed(remedy, monkeypatch):
    from headstart import tracking

    monkeypatch.setattr(tracking, "open", lambda workspace: None)
    monkeypatch.setattr(references, "recorded", lambda *arguments: None)
    monkeypatch.setattr(
        remedies, "CURES", {"correct_prior": lambda seen: SimpleNamespace(effect=EFFECT, write=unexpected)}
    )
    status, document, _ = remedy()
    assert (status, document["remedy"], document["applied"], document["challenger"]) == (
        0,
        "correct_prior",
        False,
        None,
    )
    assert document["effect"] == EFFECT
    assert document["window"] == {key: WINDOW[key] for key in ("start", "end", "rows")}
    _, told, _ = remedy(as_json=False)
    assert "share     a: 50.0%, now 90.0% (85.0% to 94.0%)" in told
    assert "nothing was changed; to carry it out:" in told and "remedy m correct_prior" in told


@pytest.mark.parametrize("named", sorted(set(REMEDIES) - set(remedies.CURES)))
def test_what_people_have_to_do_is_said_in_a_sentence(remedy, named):
    status, document, _ = remedy(named=named, meaning="It looks as if texts were cut.")
    assert (status, document["effect"], document["next"]) == (0, None, None)
    assert document["told"].endswith(".") and "{" not in document["told"]
    assert (
        "It looks as if texts were cut."
        in remedy(named=named, as_json=False, meaning="It looks as if texts were cut.")[1]
    )


def test_a_remedy_that_is_carried_out_answers_with_the_challenger(remedy):
    status, document, _ = remedy("correct_prior", flow=left("pass"))
    assert (status, document["applied"], document["effect"]) == (0, True, EFFECT)
    assert document["challenger"] == {"version": 3, "alias": None, "verdict": "pass"}


def test_where_a_gate_says_no_the_command_ends_with_1_and_says_that_the_cure_was_taken_back(remedy):
    flow = left("fail", kept=False, refusal=GateError("m: fail."))
    status, document, _ = remedy("correct_prior", flow=flow)
    assert (status, document["applied"], document["challenger"]["verdict"]) == (1, False, "fail")
    assert "The cure was taken back." in remedy("correct_prior", flow=flow, as_json=False)[1]


def test_a_failure_is_no_verdict(remedy):
    with pytest.raises(OutsideError, match="the disk"):
        remedy("correct_prior", flow=lambda *arguments: OutsideError("the disk is full."))


def test_with_no_cure_in_force_none_changes_nothing(remedy):
    cures.ensure("m")
    status, document, err = remedy("none")
    assert (status, document["applied"]) == (0, False)
    assert "m has no cure in force" in err


def test_a_remedy_that_does_not_exist_is_refused_with_the_nearest(remedy):
    with pytest.raises(UsageError, match="there is no remedy 'correct-prior'") as refused:
        remedy("correct-prior")
    assert refused.value.action == "Did you mean correct_prior?"


def test_before_the_first_look_there_is_nothing_to_propose(initialised, monkeypatch):
    monkeypatch.setattr(command, "chosen", lambda params, names: names)
    with pytest.raises(UsageError, match=r"the monitor has not looked at m yet\. Look: headstart monitor m\."):
        command.remedy("m")

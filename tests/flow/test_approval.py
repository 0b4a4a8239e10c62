"""A release that needs approval waits on its page in Prefect, and is resumed there or ended by `headstart promote`."""

from types import SimpleNamespace

import httpx
import pytest

from headstart.errors import GateError

pytestmark = pytest.mark.slow


@pytest.fixture
def flow(prefect_api, monkeypatch, tmp_path):
    """The module of the flow on a registry of its own making: `promoted` are the versions that were."""
    from headstart import settings
    from pipelines import approval, world

    promoted = []
    monkeypatch.setattr(world, "workspace", lambda: settings.Workspace(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(approval.tracking, "open", lambda workspace, writing=False: None)
    monkeypatch.setattr(approval.registry, "standing", lambda model: promoted[-1] if promoted else None)
    monkeypatch.setattr(approval.registry, "promote", lambda model, version, **named: promoted.append(version) or named)
    monkeypatch.setattr(approval.registry, "describe", lambda model, version: SimpleNamespace(verdict="pass"))
    return SimpleNamespace(module=approval, promoted=promoted)


def resumed(flow, monkeypatch, **answer):
    """The flow as it goes on once its page was filled in."""
    given = flow.module.Approval(**answer)
    monkeypatch.setattr(flow.module, "suspend_flow_run", lambda **named: given)
    return flow.module.approval("pets", 4, 3, return_state=True)


def test_a_person_who_approves_promotes(flow, monkeypatch):
    ended = resumed(flow, monkeypatch, approve=True, name="ada")
    assert (ended.name, flow.promoted) == ("Approved", [4])


def test_a_person_who_declines_promotes_nothing(flow, monkeypatch):
    ended = resumed(flow, monkeypatch, approve=False, name="ada", reason="not before the holidays")
    assert (ended.name, ended.message, flow.promoted) == ("Declined", "by ada: not before the holidays", [])


def test_a_reason_on_the_page_overrides_no_gate(flow, monkeypatch):
    monkeypatch.setattr(flow.module.registry, "describe", lambda model, version: SimpleNamespace(verdict="fail"))
    given = {}
    monkeypatch.setattr(flow.module.registry, "promote", lambda model, version, **named: given.update(named))
    resumed(flow, monkeypatch, approve=True, name="ada", reason="looks right")
    assert given["reason"] is None


def test_the_name_typed_on_the_page_is_kept_as_typed_and_the_account_is_the_one_that_ran_it(flow, monkeypatch):
    monkeypatch.setenv("HEADSTART_ACCOUNT", "worker@host")
    given = {}
    monkeypatch.setattr(flow.module.registry, "promote", lambda model, version, **named: given.update(named))
    resumed(flow, monkeypatch, approve=True, name="ada")
    assert (given["who"].account, given["approved_by"]) == ("worker@host", "ada")


@pytest.mark.parametrize("name", ["", "  "])
def test_the_page_refuses_an_empty_name(flow, name):
    with pytest.raises(ValueError, match="name"):
        flow.module.Approval(approve=True, name=name)


def test_an_approval_promotes_over_no_other_champion_than_the_one_it_was_compared_with(flow, monkeypatch):
    def promote(model, version, *, expected, **named):
        assert expected == 3
        raise GateError("version 5 became champion of pets meanwhile; version 4 is not.")

    monkeypatch.setattr(flow.module.registry, "promote", promote)
    ended = resumed(flow, monkeypatch, approve=True, name="ada")
    assert ended.name == "Refused"
    assert ended.message == (
        "version 4 was compared with version 3: version 5 became champion of pets meanwhile; version 4 is not."
    )


def test_a_version_that_was_promoted_meanwhile_asks_nobody(flow, monkeypatch):
    flow.promoted.append(4)
    monkeypatch.setattr(flow.module, "suspend_flow_run", None)
    assert flow.module.approval("pets", 4, 3, return_state=True).name == "Approved"


def test_without_served_schedules_nobody_is_asked(flow):
    assert flow.module.ask("pets", 4, 3) == ""


@pytest.fixture
def started(flow, monkeypatch):
    """`started` lists the runs that were started, in a Prefect server that has their flow."""
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    runs = []

    def start(name, *, parameters, idempotency_key, flow_run_name, **named):
        with get_client(sync_client=True) as client:
            run = client.create_flow_run(flow.module.approval, parameters=parameters, name=flow_run_name)
            client.set_flow_run_state(run.id, Scheduled(), force=True)
        runs.append(run.id)
        return run

    monkeypatch.setattr(flow.module, "run_deployment", start)
    yield runs
    with get_client(sync_client=True) as client:
        for run in runs:
            client.delete_flow_run(run)


def state(run):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).state.name


def test_a_version_is_asked_about_once_while_its_run_waits_and_again_after_it_ended(flow, started):
    assert flow.module.ask("pets", 4, 3) == flow.module.ask("pets", 4, 3) != ""
    [first] = started
    flow.module.end("pets", 4, "ada")
    assert state(first) == "Approved"
    flow.module.ask("pets", 4, 3)
    assert len(started) == 2


def test_a_new_challenger_ends_the_runs_of_those_before_it(flow, started):
    flow.module.ask("pets", 4, 3)
    flow.module.ask("cats", 4, 3)
    flow.module.ask("pets", 5, 3)
    assert [state(run) for run in started] == ["Superseded", "Scheduled", "Scheduled"]


def test_a_prefect_that_does_not_answer_is_told_and_fails_nothing(flow, monkeypatch):
    def unreachable(*arguments, **named):
        raise httpx.ReadTimeout("no answer")

    monkeypatch.setattr(flow.module, "run_deployment", unreachable)
    assert flow.module.ask("pets", 4, 3) == "; its page in Prefect could not be made (ReadTimeout: no answer)"

"""A release that needs approval waits on its page in Prefect, and is resumed there or ended by `headstart promote`."""

from types import SimpleNamespace

import pytest

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
    return flow.module.approval("pets", 4, return_state=True)


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
    assert (given["reason"], given["who"].account) == (None, "ada")


def test_a_version_that_was_promoted_meanwhile_asks_nobody(flow, monkeypatch):
    flow.promoted.append(4)
    monkeypatch.setattr(flow.module, "suspend_flow_run", None)
    assert flow.module.approval("pets", 4, return_state=True).name == "Approved"


def test_without_served_schedules_nobody_is_asked(flow):
    assert flow.module.ask("pets", 4) is False

"""The flow `monitoring`: the steps of `looks` as tasks, and what only a Prefect server keeps or passes on."""

from pathlib import Path

import pytest

from headstart import settings
from headstart.errors import HeadstartError
from tests.flow.test_looks import NOON, bad, clean, hours, steps

pytestmark = pytest.mark.slow
__all__ = ["steps"]  # a fixture


@pytest.fixture
def flow(prefect_api, steps, tmp_path, monkeypatch):
    """The module of the flow, in the workspace of the steps."""
    from pipelines import monitoring

    monkeypatch.setattr(monitoring.world, "workspace", lambda: settings.Workspace(tmp_path))
    return monitoring


def test_an_alert_is_a_result_and_an_event_that_people_can_be_told_of(flow, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(flow, "emit_event", lambda event, **about: told.append((event, about)))
    hours(tmp_path, "digits", [bad()])
    hours(tmp_path, "apidocs", [clean()])
    state = flow.monitoring(["digits", "apidocs"], NOON.isoformat(), return_state=True)
    assert (state.name, state.is_completed()) == ("Alert", True)
    assert state.result() == {"digits": "alert", "apidocs": "ok"}
    [(event, about)] = told
    assert event == "headstart.alert"
    assert about["resource"] == {"prefect.resource.id": "headstart.model.digits"}
    assert about["payload"]["verdict"] == "alert"
    assert Path(about["payload"]["page"]).is_file()


def test_a_failure_fails_the_flow_after_the_other_models(flow, tmp_path, monkeypatch):
    def aliases(name):
        raise KeyError("7")

    monkeypatch.setattr(flow.looks.registry, "aliases", aliases)
    state = flow.monitoring(["digits"], NOON.isoformat(), return_state=True)
    assert state.is_failed()
    with pytest.raises(HeadstartError, match="KeyError: '7'"):
        state.result()

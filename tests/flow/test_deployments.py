"""Flows on a work pool, as `infra/compose.yaml` registers them for a worker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prefect.server.events.schemas.automations import EventTrigger

from headstart.cli.init import init
from pipelines import deployments, states
from tests.conftest import asked

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_registering_twice_leaves_one_deployment_a_flow_on_its_cron_one_run_at_a_time(
    prefect_api: str, tmp_path: Path
) -> None:
    init(tmp_path / "ws", as_json=True)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.deployments", "--pool", "somewhere"],
            cwd=tmp_path / "ws",
            env={**os.environ, "PREFECT_API_URL": prefect_api},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    question = {"work_pools": {"name": {"any_": ["somewhere"]}}}
    found = httpx.post(f"{prefect_api}/deployments/filter", json=question, timeout=30).raise_for_status().json()
    for one in found:  # other tests share this server, and would find flows that nobody serves
        httpx.delete(f"{prefect_api}/deployments/{one['id']}", timeout=30).raise_for_status()
    crons = {one["name"]: [each["schedule"]["cron"] for each in one["schedules"]] for one in found}
    assert crons == {"training": ["0 3 * * 1"], "monitoring": ["5 * * * *"], "approval": []}
    assert {one["entrypoint"] for one in found} == {
        "pipelines/training.py:training",
        "pipelines/monitoring.py:monitoring",
        "pipelines/approval.py:approval",
    }
    for one in found:  # one approval does not keep another from being asked for
        limited = one["global_concurrency_limit"] is not None
        assert limited is (one["name"] != "approval")
        if limited:
            assert one["global_concurrency_limit"]["limit"] == 1
            assert one["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    named = {"automations": {"name": {"any_": [deployments.DEAD_RUNS]}}}
    asked_for = httpx.post(f"{prefect_api}/automations/filter", json=named, timeout=30).raise_for_status().json()
    assert len(asked_for) == 1


@pytest.mark.parametrize(
    "state", [*states.BY_VERDICT.values(), states.NOTHING_NEW, states.ALERT, states.NOT_SURE, "Promoted", "Suspended"]
)
def test_no_run_that_ended_or_waits_under_a_name_of_ours_counts_as_dead(state):
    # Prefect's recipe waits for Completed, Failed, Cancelled and Crashed alone, and events bear the state's name
    trigger = EventTrigger.model_validate(deployments.dead_runs().trigger.model_dump())
    assert trigger.expects(f"prefect.flow-run.{state}")


def test_a_run_that_is_silent_is_ended_and_one_that_ended_or_is_not_ours_is_left_alone(
    prefect_api: str, tmp_path: Path
):
    found = json.loads(asked(SILENT, prefect_api, ROOT).splitlines()[-1])
    assert found == {"silent": "CRASHED", "ended": "COMPLETED", "foreign": "RUNNING"}


SILENT = """
import json, time
from datetime import timedelta
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.states import Completed, Running
from pipelines.deployments import dead_runs

core = dead_runs()
core.name, core.trigger.within = "silent for ten seconds", timedelta(seconds=10)  # the least that Prefect allows
with get_client(sync_client=True) as client:
    made = client.create_automation(core)
    time.sleep(3)  # the server's triggers hear of it
    runs = {}
    for name, called in (("silent", "training"), ("ended", "monitoring"), ("foreign", "not_ours")):
        run = client.create_flow_run(flow(lambda: None, name=called), name=name)
        client.set_flow_run_state(run.id, Running(), force=True)
        related = {"prefect.resource.id": f"prefect.flow.{run.flow_id}", "prefect.resource.role": "flow",
                   "prefect.resource.name": called}
        emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"},
                   related=[related])
        runs[name] = run.id
    time.sleep(2)
    client.set_flow_run_state(runs["ended"], Completed(name="Nothing new"), force=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and client.read_flow_run(runs["silent"]).state.type.value == "RUNNING":
        time.sleep(1)
    time.sleep(3)  # what would end the others is as late as that
    client.delete_automation(made)  # other tests' runs share this server
    print(json.dumps({name: client.read_flow_run(run).state.type.value for name, run in runs.items()}))
"""

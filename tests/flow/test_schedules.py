"""The README's two lines: a server that stays, schedules that wait for it, and runs that start by themselves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from headstart.cli.init import init
from pipelines.deployments import DEAD_RUNS
from tests.conftest import HEADSTART

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STARTS_S = 180  # on a machine that is busy with other tests


@dataclass(frozen=True)
class Served:
    """A workspace whose flows run every minute, and the server's address."""

    workspace: Path
    api: str
    shell: subprocess.Popen[bytes]

    def ask(self, what: str, **question: Any) -> Any:
        return httpx.post(f"{self.api}/{what}/filter", json=question, timeout=30).raise_for_status().json()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Both lines of the README as a person pastes them: the second starts long before the server answers."""
    workspace = tmp_path_factory.mktemp("scheduled") / "ws"
    init(workspace, as_json=True)
    params = (workspace / "params.yaml").read_text()
    params = re.sub(r'(?m)^  (training|monitoring): ".*?"', r'  \1: "* * * * *"', params)
    (workspace / "params.yaml").write_text(params)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    quicker = {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with (workspace.parent / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-c", pasted(port)],
            cwd=workspace,
            env={**ours, **quicker},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield Served(workspace, api, shell)
    if shell.poll() is None:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def pasted(port: int) -> str:
    """The README's lines, with this Python and a free port."""
    [lines] = re.findall(r"## On a schedule\n\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert lines.count(".venv/bin/python -m pipelines.") == 2 and lines.count(":4200/api") == 1
    return lines.replace(".venv/bin/python", sys.executable).replace(":4200/", f":{port}/")


def until(found: Callable[[], Any]) -> Any:
    """What `found` answers as soon as it is something."""
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail("it did not come to that in time")


def logs(served: Served) -> str:
    return (served.workspace.parent / "log").read_text()


def test_a_run_that_nobody_started_begins_on_its_cron_and_completes(served):
    # with SQLAlchemy 2.1 the scheduler of Prefect 3.8 failed in each round, and no scheduled run ever existed
    finished = until(
        lambda: served.ask("flow_runs", flow_runs={"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}})
    )
    assert all(run["auto_scheduled"] for run in finished)
    assert {run["state"]["name"] for run in finished} <= {"Completed", "Nothing new"}, logs(served)


def test_scheduled_flows_run_one_at_a_time_and_dead_runs_are_ended(served):
    found = until(lambda: len(all_of_them := served.ask("deployments")) == 3 and all_of_them)
    limits = {one["name"]: (one["global_concurrency_limit"] or {}).get("limit") for one in found}
    assert limits == {"training": 1, "monitoring": 1, "approval": None}
    assert len(until(lambda: served.ask("automations", automations={"name": {"any_": [DEAD_RUNS]}}))) == 1


def test_doctor_names_the_next_run_of_each_flow(served):
    until(lambda: is_ready(served, "training") and is_ready(served, "monitoring"))
    checks = until(lambda: examined(served))
    assert all("next run" in checks[f"schedule {flow}"]["found"] for flow in ("training", "monitoring"))


def is_ready(served: Served, flow: str) -> bool:
    """Whether a deployment was polled for runs, and has one to come."""
    [found] = served.ask("deployments", deployments={"name": {"any_": [flow]}}) or [{"status": "", "id": ""}]
    scheduled = {"deployment_id": {"any_": [found["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    return found["status"] == "READY" and bool(served.ask("flow_runs", flow_runs=scheduled))


def examined(served: Served) -> dict[str, Any] | None:
    """The checks of `doctor`, once nothing is to be mended."""
    done = subprocess.run(
        [str(HEADSTART), "doctor", "--json"],
        cwd=served.workspace,
        env={**os.environ, "PREFECT_API_URL": served.api},
        capture_output=True,
        text=True,
        check=False,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    named = [checks.get(f"schedule {flow}", {}).get("found", "") for flow in ("training", "monitoring")]
    return checks if done.returncode == 0 and all("next run" in found for found in named) else None


def test_the_server_sends_nothing_home_and_keeps_its_database_in_the_workspace(served):
    until(lambda: httpx.get(f"{served.api}/health").status_code == 200)
    settings = httpx.get(f"{served.api}/admin/settings").raise_for_status().json()
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["concurrency"]["lease_storage"].endswith("filesystem")
    assert settings["home"] == str(served.workspace / "state/prefect")
    assert (served.workspace / "state/prefect/prefect.db").is_file()
    assert "Traceback" not in logs(served)


def test_told_to_end_the_schedules_do_within_seconds_though_the_server_ended_before_them(served):
    # Prefect's own serve asks the server to pause its schedules, again and again
    until(lambda: len(served.ask("deployments")) == 3)  # it may be the first test that this server is started for
    assert b"pipelines.schedules" in Path(f"/proc/{served.shell.pid}/cmdline").read_bytes()  # the shell became it
    os.killpg(served.shell.pid, signal.SIGTERM)
    assert served.shell.wait(timeout=25) is not None
    assert "never awaited" not in logs(served)

"""Flows on a work pool, as `infra/compose.yaml` registers them for a worker."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from headstart.cli.init import init

pytestmark = pytest.mark.slow


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
    crons = {one["name"]: [each["schedule"]["cron"] for each in one["schedules"]] for one in found}
    assert crons == {"training": ["0 3 * * 1"], "monitoring": ["5 * * * *"]}
    assert {one["entrypoint"] for one in found} == {
        "pipelines/training.py:training",
        "pipelines/monitoring.py:monitoring",
    }
    assert {one["global_concurrency_limit"]["limit"] for one in found} == {1}
    assert {one["concurrency_options"]["collision_strategy"] for one in found} == {"CANCEL_NEW"}

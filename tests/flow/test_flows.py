"""The Prefect flows against a real (temporary) server: stages visible one by one, cached ones named so."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import RUNS, asked

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_every_stage_is_seen_on_the_server_with_tables_and_links(finished):
    # reading flow runs back is also what breaks first when fastapi is too new for Prefect (see pyproject.toml)
    seen = json.loads((finished / "runs.json").read_text())
    tasks = {name for name, state in seen["tasks"] if state == "Completed"}
    stages = ("prepare", "plan", "train", "export", "evaluate", "seal")
    assert {f"{stage}@{model}" for stage in stages for model in ("topics", "bars")} <= tasks
    assert {"backbone@tinybert", "backbone@glyphs", "fetch tinybert", "ingest topics"} <= tasks
    assert {"metrics-topics", "gates-bars", "report-topics"} <= set(seen["artifacts"])


def test_a_flow_started_by_hand_shows_fresh_stages_as_cached(finished, prefect_api):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "training", "--model", "bars"],
        cwd=finished,
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(asked(RUNS, prefect_api, ROOT))
    assert ["train@bars", "Cached"] in seen["tasks"]


def test_the_schedules_are_served_with_their_cron(finished, prefect_api):
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.schedules"],
        cwd=finished,
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    script = (
        "import json\nfrom prefect.client.orchestration import get_client\n"
        "with get_client(sync_client=True) as client:\n    found = client.read_deployments()\n"
        "print(json.dumps({d.name: [s.schedule.cron for s in d.schedules] for d in found}))"
    )
    try:
        deadline = time.monotonic() + 90
        found: dict[str, list[str]] = {}
        while len(found) < 2 and time.monotonic() < deadline:
            found = json.loads(asked(script, prefect_api, ROOT))
            time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert {name: crons for name, crons in found.items() if crons} == {
        "training": ["0 3 * * 1"],
        "monitoring": ["5 * * * *"],
    }


def test_a_schedule_without_a_server_says_what_to_start(finished):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.schedules"],
        cwd=finished,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "python -m pipelines.server" in done.stderr


def test_a_verdict_is_a_named_result_and_with_nothing_new_a_schedule_succeeds(copied, headstart, prefect_api):
    document = yaml.safe_load((copied / "params.yaml").read_text())
    document["models"]["topics"]["gates"] = {"accuracy": 0.97}  # 58 test examples can't tell even where all are right
    del document["models"]["bars"]
    (copied / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    run = headstart(copied, "run", "--json", PREFECT_API_URL=prefect_api)
    assert (run.status, run.document["topics"]["verdict"]) == (1, "unsure"), run.err
    assert "Traceback" not in run.err
    scheduled = subprocess.run(
        [sys.executable, "-m", "pipelines", "training"],
        cwd=copied,
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (scheduled.returncode, "Nothing is new" in scheduled.stderr) == (0, True), scheduled.stderr
    assert "The last verdicts stand: topics: unsure" in scheduled.stderr
    assert {"Unsure", "Nothing new"} <= set(json.loads(asked(RUNS, prefect_api, ROOT))["flows"])
    again = headstart(copied, "run")
    assert (again.status, "nothing is new" in again.err) == (1, True)

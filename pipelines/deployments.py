"""Register the flows with a Prefect server, for workers to run on their cron schedules; a worker runs them:

python -m pipelines.deployments && prefect worker start --pool headstart

`pipelines.schedules` needs neither a work pool nor a worker, and serves the flows for as long as it runs itself.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from headstart import settings
from headstart.errors import HeadstartError, OutsideError
from headstart.params.loader import load
from pipelines.server import wait_until_ready

POOL = "headstart"


def main() -> None:
    """Create the work pool where there is none, and put the flows on it; repeating it brings the schedules up to date.

    Raises:
        OutsideError: if no Prefect server is named, or it does not answer.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.deployments", description=__doc__)
    parser.add_argument("--pool", default=POOL, help="the work pool that workers ask for runs")
    pool = parser.parse_args().pool
    settings.disable_telemetry()
    if not os.environ.get("PREFECT_API_URL"):
        raise OutsideError(
            "PREFECT_API_URL is not set, and deployments need a server that stays.",
            action="Set it to the server's address, like http://HOST:4200/api.",
        )
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    settings.use_embedded_prefect(workspace)
    wait_until_ready()
    schedules = load(workspace.params).schedules
    for name, cron in (("training", schedules.training), ("monitoring", schedules.monitoring)):
        register(workspace.root, name, cron, pool)
        print(f"{name} runs on {cron!r} (cron, UTC) in work pool {pool}", flush=True)


def register(root: Path, name: str, cron: str, pool: str) -> None:
    """Put a flow on the pool: one run at a time, and a run that is due while another goes on is left out."""
    from prefect import Flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow: Any = Flow.from_source(source=str(root), entrypoint=f"pipelines/{name}.py:{name}")
    flow.deploy(
        name=name,
        work_pool_name=pool,
        cron=cron,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        print_next_steps=False,
        ignore_warnings=True,  # that a process pool is for beginners
    )


if __name__ == "__main__":
    try:
        main()
    except HeadstartError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(refusal.exit_status)

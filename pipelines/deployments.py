"""Register the flows with a Prefect server, for workers to run on their cron schedules; a worker runs them:

python -m pipelines.deployments && prefect worker start --pool headstart

`pipelines.schedules` needs neither a work pool nor a worker, and serves the flows for as long as it runs itself.
"""

import argparse
import contextlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError
from headstart.params.loader import load
from pipelines.server import join

POOL = "headstart"
FLOWS = ("training", "monitoring", "release", "remedy")
DEAD_RUNS = "headstart: end the runs of dead workers"
HEARTBEATS = 3  # that a run may miss before it counts as dead
HEARTBEAT_S = 180  # Prefect's default, where its setting is empty


def main() -> None:
    """Create the work pool where there is none, and put the flows on it; repeating it brings the schedules up to date.

    Raises:
        OutsideError: if no Prefect server is named, or it does not answer.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.deployments", description=__doc__)
    parser.add_argument("--pool", default=POOL, help="the work pool that workers ask for runs")
    pool = parser.parse_args().pool
    workspace = join("deployments need", "Set it to the server's address, like http://HOST:4200/api.")
    schedules = load(workspace.params).schedules
    for name, cron in (("training", schedules.training), ("monitoring", schedules.monitoring)):
        register(workspace.root, name, cron, pool)
        print(f"{name} runs on {cron!r} (cron, UTC) in work pool {pool}", flush=True)
    register(workspace.root, "approval", None, pool)
    print(f"approval runs in work pool {pool} when a release asks for one", flush=True)
    end_dead_runs()


def one_at_a_time() -> Any:
    """The limit of a deployment: a run that is due while another goes on is left out.

    Its slot is a lease of five minutes that the run renews: a dead worker's run does not hold it longer.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    return ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def dead_runs() -> Any:
    """The automation by which a run of ours that stopped sending heartbeats is shown as crashed.

    Prefect's recipe waits for the events of the usual last states, and an event bears the state's name. Our runs end
    under names of their own (`Rejected`, `Nothing new`), so any event of the run counts as a sign of life here.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.settings import get_current_settings

    beat = get_current_settings().flows.heartbeat_frequency or HEARTBEAT_S
    within = timedelta(seconds=HEARTBEATS * beat)
    return AutomationCore(
        name=DEAD_RUNS,
        description=f"A run that is silent for {within.total_seconds():.0f} seconds has lost its process.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="its process sent no sign of life any more")],
    )


def end_dead_runs() -> None:
    """Create the automation, or bring it up to date."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(DEAD_RUNS)
        if known:
            client.update_automation(known[0].id, dead_runs())
        else:
            client.create_automation(dead_runs())


def register(root: Path, name: str, cron: str | None, pool: str) -> None:
    """Put a flow on the pool.

    With a cron schedule it has one run at a time, and a run that is due while another goes on is left out. Without one
    (`approval`, which a release starts) every run counts.
    """
    from prefect import Flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow: Any = Flow.from_source(source=str(root), entrypoint=f"pipelines/{name}.py:{name}")
    flow.deploy(
        name=name,
        work_pool_name=pool,
        cron=cron,
        concurrency_limit=one_at_a_time() if cron else None,
        print_next_steps=False,
        ignore_warnings=True,  # that a process pool is for beginners
    )


if __name__ == "__main__":
    try:
        main()
    except HeadstartError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(refusal.exit_status)

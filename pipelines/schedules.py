"""Serve the flows on their cron schedules, against the Prefect server that `PREFECT_API_URL` names.

python -m pipelines.server &
PREFECT_API_URL=http://127.0.0.1:4200/api python -m pipelines.schedules
"""

import asyncio
import http.client
import os
import sys
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from headstart import settings
from headstart.errors import HeadstartError
from headstart.params.loader import load
from pipelines.deployments import end_dead_runs, one_at_a_time
from pipelines.server import join

PAUSE_S = 5.0  # that a server is waited for when the schedules end


def main() -> None:
    """Serve `training` and `monitoring` until interrupted; both can be started by hand from Prefect's pages too.

    And `approval`, which a release starts where `release.approval` asks for one.

    Raises:
        OutsideError: if no Prefect server is named (a schedule needs one that stays), or it does not answer.
    """
    workspace = join(
        "a schedule needs",
        "Start one (python -m pipelines.server), set PREFECT_API_URL=http://127.0.0.1:4200/api, try again.",
    )
    schedules = load(workspace.params).schedules
    from prefect.exceptions import TerminationSignal
    from prefect.runner import Runner

    from pipelines.approval import approval
    from pipelines.monitoring import monitoring
    from pipelines.training import training

    class Schedules(Runner):
        """Ends at SIGTERM as Prefect's own does, without the coroutine that it never awaits."""

        def handle_sigterm(self, *arguments: Any, **named: Any) -> None:
            sys.exit(0)

    runner = Schedules(pause_on_shutdown=False)  # it would ask a server that has ended again and again
    limit = one_at_a_time()
    deployments = [
        *(
            runner.add_deployment(flow.to_deployment(name=flow.name, cron=cron, concurrency_limit=limit))
            for flow, cron in ((training, schedules.training), (monitoring, schedules.monitoring))
        ),
        runner.add_deployment(approval.to_deployment(name="approval")),
    ]
    end_dead_runs()
    print(f"training runs on {schedules.training!r}, monitoring on {schedules.monitoring!r} (cron, UTC)")
    print("polling for runs until interrupted", flush=True)
    try:
        with suppress(KeyboardInterrupt, TerminationSignal):
            asyncio.run(runner.start())
    finally:
        pause(deployments)


def pause(deployments: Iterable[UUID]) -> None:
    """Let the server plan no more runs, which nobody would start; a server that has ended plans none."""
    for deployment in deployments:
        url = f"{os.environ['PREFECT_API_URL'].rstrip('/')}/deployments/{deployment}/pause_deployment"
        try:
            asked = urllib.request.Request(url, method="POST", headers=settings.prefect_headers())
            urllib.request.urlopen(asked, timeout=PAUSE_S).close()
        except (OSError, http.client.HTTPException) as error:
            print(f"the schedules were not paused: the server does not answer ({error})", file=sys.stderr)
            return


if __name__ == "__main__":
    try:
        main()
    except HeadstartError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(refusal.exit_status)

"""Serve the flows on their cron schedules, against the Prefect server that `PREFECT_API_URL` names.

python -m pipelines.server &
PREFECT_API_URL=http://127.0.0.1:4200/api python -m pipelines.schedules
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from headstart import settings
from headstart.errors import HeadstartError, OutsideError
from headstart.params.loader import load
from pipelines.server import answers, wait_until_ready


def main() -> None:
    """Serve `training` and `monitoring` until interrupted; both can be started by hand from Prefect's pages too.

    Raises:
        OutsideError: if no Prefect server is named (a schedule needs one that stays), or it does not answer.
    """
    settings.hush()
    if not os.environ.get("PREFECT_API_URL"):
        raise OutsideError(
            "PREFECT_API_URL is not set, and a schedule needs a server that stays.",
            action="Start one (python -m pipelines.server), set PREFECT_API_URL=http://127.0.0.1:4200/api, try again.",
        )
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    settings.use_embedded_prefect(workspace)
    wait_until_ready()
    schedules = load(workspace.params).schedules
    from prefect.exceptions import TerminationSignal
    from prefect.runner import Runner

    from pipelines.monitoring import monitoring
    from pipelines.training import training

    class Schedules(Runner):
        """Pauses its schedules when it ends, as `prefect.serve` does, unless there is no server left to ask that of.

        Prefect's own asks again and again: after a server that has ended it never ends.
        """

        def handle_sigterm(self, *arguments: Any, **named: Any) -> None:
            sys.exit(0)  # what Prefect's comes to, without the coroutine that it never awaits

        async def __aexit__(self, *error: Any) -> None:
            self.pause_on_shutdown = await asyncio.to_thread(answers)
            await super().__aexit__(*error)

    runner = Schedules()
    runner.add_deployment(training.to_deployment(name="training", cron=schedules.training))
    runner.add_deployment(monitoring.to_deployment(name="monitoring", cron=schedules.monitoring))
    print(
        f"the flows run on their schedules: training {schedules.training!r}, monitoring {schedules.monitoring!r} (UTC)"
    )
    print("polling for runs until interrupted", flush=True)
    try:
        asyncio.run(runner.start())
    except (KeyboardInterrupt, TerminationSignal):
        pass


if __name__ == "__main__":
    try:
        main()
    except HeadstartError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(refusal.exit_status)

"""Run one flow as a program: `python -m pipelines training|monitoring [--model NAME]... [--until STAGE]`.

Exit status: 0 done, 1 a gate or monitor said no, 2 wrong input, 3 something outside failed.
"""

import argparse
import os
import sys
from pathlib import Path

from headstart import settings
from headstart.errors import HeadstartError
from pipelines.server import prefect_server, wait_until_ready


def main() -> int:
    """Start a server if there is none, run the flow named, and answer with the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("flow", choices=["training", "release", "monitoring"])
    parser.add_argument("--model", action="append", default=[], help="a model's name; all models when left out")
    parser.add_argument("--until", help="training: end after this stage")
    arguments = parser.parse_args()
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    settings.hush()
    with prefect_server(workspace):
        if arguments.flow == "training":
            from pipelines.training import training as flow

            options = {"models": arguments.model, "until": arguments.until}
        elif arguments.flow == "release":
            from pipelines.release import release_all as flow

            options = {"models": arguments.model}
        else:
            from pipelines.monitoring import monitoring as flow

            options = {"models": arguments.model}
        wait_until_ready()
        try:
            flow(**options)
        except HeadstartError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run one flow as a program: `python -m pipelines training|monitoring|remedy [--model NAME]... [--until STAGE]`.

`monitoring` without `PREFECT_API_URL` takes the flow's steps without Prefect (`looks`).

Exit status: 0 done or nothing new, 1 a gate or monitor said no, 2 wrong input, 3 something outside failed.
"""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from headstart import settings
from headstart.errors import GateError, HeadstartError
from headstart.settings import Workspace
from headstart.stages import describe
from pipelines.server import prefect_server, wait_until_ready
from pipelines.states import ALERT, NO


def main() -> int:
    """Run the flow named, and answer with the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("flow", choices=["training", "monitoring", "remedy"])
    parser.add_argument("--model", action="append", default=[], help="a model's name; all models when left out")
    parser.add_argument("--until", help="training: end after this stage")
    parser.add_argument("--now", help="monitoring: the window's end, ISO 8601 with an offset")
    parser.add_argument("--charts", action="store_true", help="monitoring: draw charts though nothing alarmed")
    parser.add_argument("--remedy", help="remedy: which; the model's name is given by --model")
    parser.add_argument("--data", help="remedy: a folder of images, for recalibrate_batchnorm")
    parser.add_argument("--refusal", type=Path, help="a file for the reason, where the flow is refused")
    parser.add_argument("--as-job", action="store_true", help="a gate's or monitor's no is a result: exit with 0")
    arguments = parser.parse_args()
    status = started(arguments)
    return 0 if arguments.as_job and status == GateError.exit_status else status


def started(arguments: argparse.Namespace) -> int:
    """Run the flow in its workspace, and answer with the exit status."""
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    settings.disable_telemetry()
    try:
        if arguments.flow == "monitoring" and not os.environ.get("PREFECT_API_URL"):
            name, message = look(arguments, workspace)
        else:
            name, message = run(arguments, workspace)
    except HeadstartError as error:
        if not arguments.refusal:  # else whoever asked for the reason says it
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return refuse(error, arguments.refusal)
    except Exception:  # noqa: BLE001 - a bug: shown as one, and never mistaken for a gate's no
        traceback.print_exc()
        return 3
    print(f"{arguments.flow}: {message}", file=sys.stderr)
    return refuse(GateError(message), arguments.refusal) if name in NO else 0


def look(arguments: argparse.Namespace, workspace: Workspace) -> tuple[str, str]:
    """Look at live traffic without Prefect; the name of the state in which the flow would end, and its message."""
    from pipelines import looks

    verdicts = looks.watched(workspace, arguments.model, arguments.now, charts=arguments.charts)
    return ALERT if "alert" in verdicts.values() else "Completed", looks.said(verdicts)


def run(arguments: argparse.Namespace, workspace: Workspace) -> tuple[str, str]:
    """Run the flow, with a server of its own if there is none; the name of the state in which it ends, and its message.

    Raises:
        Exception: what the flow raised.
    """
    flow: Any
    with prefect_server(workspace):
        if arguments.flow == "training":
            from pipelines.training import training as flow

            options = {"models": arguments.model, "until": arguments.until}
        elif arguments.flow == "remedy":
            from pipelines.remedies import remedy as flow

            [name] = arguments.model
            options = {"name": name, "wanted": arguments.remedy, "data": arguments.data}
        else:
            from pipelines.monitoring import monitoring as flow

            options = {"models": arguments.model, "now": arguments.now, "charts": arguments.charts}
        wait_until_ready()
        state = flow(**options, return_state=True)
        state.result()  # raises what the flow raised
    return state.name, str(state.message or state.name)


def refuse(error: HeadstartError, reason: Path | None) -> int:
    """The exit status of a refusal, its reason left where it was asked for."""
    if reason:
        reason.write_text(json.dumps(describe(error)), encoding="utf-8")
    return error.exit_status


if __name__ == "__main__":
    sys.exit(main())

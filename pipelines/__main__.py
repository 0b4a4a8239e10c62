"""Run one flow as a program: `python -m pipelines training|monitoring|remedy [--model NAME]... [--until STAGE]`.

Exit status: 0 done or nothing new, 1 a gate or monitor said no, 2 wrong input, 3 something outside failed.
"""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from headstart import settings
from headstart.errors import GateError, HeadstartError
from headstart.stages import describe
from pipelines.server import prefect_server, wait_until_ready

NO = frozenset({"Alert", "Rejected", "Unsure"})  # states of a flow that completed with another verdict than pass


def main() -> int:
    """Start a server if there is none, run the flow named, and answer with the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("flow", choices=["training", "monitoring", "remedy"])
    parser.add_argument("--model", action="append", default=[], help="a model's name; all models when left out")
    parser.add_argument("--until", help="training: end after this stage")
    parser.add_argument("--now", help="monitoring: the window's end, ISO 8601 with an offset")
    parser.add_argument("--remedy", help="remedy: which; the model's name is given by --model")
    parser.add_argument("--data", help="remedy: a folder of images, for recalibrate_batchnorm")
    parser.add_argument("--refusal", type=Path, help="a file for the reason, where the flow is refused")
    arguments = parser.parse_args()
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    settings.hush()
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

            options = {"models": arguments.model, "now": arguments.now}
        try:
            wait_until_ready()
            state = flow(**options, return_state=True)
            state.result()  # raises what the flow raised
        except HeadstartError as error:
            if not arguments.refusal:  # else whoever asked for the reason says it
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return refuse(error, arguments.refusal)
        except Exception:  # noqa: BLE001 - a bug: shown as one, and never mistaken for a gate's no
            traceback.print_exc()
            return 3
    print(f"{arguments.flow}: {state.message or state.name}", file=sys.stderr)
    return refuse(GateError(str(state.message)), arguments.refusal) if state.name in NO else 0


def refuse(error: HeadstartError, reason: Path | None) -> int:
    """The exit status of a refusal, its reason left where it was asked for."""
    if reason:
        reason.write_text(json.dumps(describe(error)), encoding="utf-8")
    return error.exit_status


if __name__ == "__main__":
    sys.exit(main())

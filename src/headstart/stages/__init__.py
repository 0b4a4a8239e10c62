"""One shell a DVC stage: read, call the library, write. `main` is what all of them share."""

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml

from headstart import artifacts, errors, settings
from headstart.children import die_with_parent
from headstart.errors import HeadstartError

Seconds = Mapping[str, float]
FLOW = "HEADSTART_FLOW"  # of the environment: the process that starts stages


def main(run: Callable[..., Seconds | None]) -> None:
    """Run one stage for the owner named on the command line, with the parameters that `resolve` wrote for it.

    Whatever is refused on purpose is printed and kept in `artifacts/errors/`, so that the flow that started
    the stage can pass it on; the exit status is the refusal's own. Seconds and memory go to `artifacts/timing/`.
    """
    die_with_parent(int(os.environ[FLOW]) if FLOW in os.environ else None)  # a flow that is killed cannot end it
    settings.disable_telemetry()
    stage, owner = Path(sys.argv[0]).stem, sys.argv[1]
    error_file = errors_of(owner, stage)
    error_file.unlink(missing_ok=True)
    started = time.perf_counter()
    try:
        seconds = run(owner, _params(run, owner, stage)) or {}
    except HeadstartError as refused:
        error = worded(refused)
        artifacts.write_json(error_file, describe(error))
        print(f"{stage}@{owner}: {type(error).__name__}: {error}", file=sys.stderr)
        _end(error.exit_status)
    artifacts.write_json(
        artifacts.timing(owner, stage),
        {
            "format": artifacts.FORMAT,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "parts": {name: round(value, 3) for name, value in seconds.items()},
        },
    )
    _end(0)


def worded(error: HeadstartError) -> HeadstartError:
    """A refusal by findings or for a strategy's obstacle with its sentences: what computes has none."""
    if isinstance(error, errors.StrategyError):
        from headstart.report import plan

        message, action = plan.impossible(error.strategy, error.reason)
        return errors.ParamsError(message, action=action)
    if not isinstance(error, errors.GateError) or not error.findings:
        return error
    from headstart.report import finding_words

    reasons, action = finding_words.refusal(error.findings)
    findings = finding_words.all_told(error.findings)
    message, action = f"{error.message} {reasons}".strip(), f"{action} {error.action}".strip()
    return errors.GateError(message, action=action, findings=findings)


def errors_of(owner: str, stage: str) -> Path:
    """Where a stage that refused left its reason."""
    return Path("artifacts/errors") / owner / f"{stage}.json"


def describe(error: HeadstartError) -> dict[str, Any]:
    """A refusal as plain JSON values."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "action": error.action,
        "exit_status": error.exit_status,
        "findings": getattr(error, "findings", []),
    }


def revive(document: Mapping[str, Any]) -> HeadstartError:
    """The refusal that `describe` described."""
    if document["kind"] == "GateError":
        return errors.GateError(document["message"], action=document["action"], findings=document["findings"])
    kind: type[HeadstartError] = getattr(errors, document["kind"], HeadstartError)
    return kind(document["message"], action=document["action"])


def emptied(folder: Path) -> Path:
    """`folder`, existing and empty: a stage writes all of its output anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _end(status: int) -> NoReturn:
    """End this process at once: all files are closed, and unloading torch takes half a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _params(run: Callable[..., Any], owner: str, stage: str) -> Any:
    values = yaml.safe_load(artifacts.stage_params(owner, stage).read_text(encoding="utf-8"))
    del values["format"]
    return get_type_hints(run)["params"].model_validate(values)

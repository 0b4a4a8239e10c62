"""`doctor`: what is installed, reachable and consistent, and what is not."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from headstart import artifacts, settings
from headstart.cli.output import Json, emit
from headstart.errors import HeadstartError, OutsideError, ParamsError
from headstart.params.loader import load
from headstart.settings import Workspace

FLOWS = ("training", "monitoring")  # what `pipelines.schedules` serves
WHY = {  # pins that look arbitrary: what happens without them
    "sqlalchemy": "With a newer one Prefect's scheduler fails each time, and no scheduled run ever starts. ",
    "fastapi": "With a newer one Prefect's server refuses its own client's questions. ",
}
PATIENCE_S = 5.0


def doctor(as_json: Json = False) -> int:
    """Check the installation, the workspace and the services it uses; say what to mend."""
    workspace = settings.find_workspace()
    os.chdir(workspace.root)
    parameters, models = _params(workspace)
    checks = [
        _check("python", True, platform.python_version()),
        parameters,
        *_packages(workspace),
        _disk(workspace),
        _writable(workspace),
        _guarded("registry", partial(_registry, workspace, models)),
        *_prefect(),
        *(_guarded(f"model {name}", partial(_model, name)) for name in models),
        *(_guarded(f"champion {name}", partial(_champion, workspace, name)) for name in models),
    ]
    from headstart import tracking

    document = {
        "ok": all(check["ok"] for check in checks),
        "checks": checks,
        "tracking_uri": tracking.shown(workspace.tracking_uri),
        "paths": {
            "workspace": str(workspace.root),
            "state": str(workspace.state),
            "dvc_remote": str(workspace.dvc_remote),
            "prefect_home": os.environ.get("PREFECT_HOME", str(workspace.prefect_home)),
            "journals": {name: str(workspace.journal(name)) for name in models},
        },
    }
    emit(document, as_json, _lines)
    return 0 if document["ok"] else 1


def _check(name: str, ok: bool, found: str, action: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "action": "" if ok else action}


def _guarded(name: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a check finds; one that fails itself is a finding, and the others go on."""
    try:
        return ask()
    except HeadstartError as error:
        return _check(name, False, error.message, error.action)
    except Exception as error:  # noqa: BLE001 - shown as what this check found
        return _check(name, False, f"{type(error).__name__}: {error}", "The check itself failed: a bug in headstart.")


def _params(workspace: Workspace) -> tuple[dict[str, Any], list[str]]:
    """Whether params.yaml can be used, and the models in it; none where it cannot: the other checks go on."""
    try:
        models = list(load(workspace.params).models)
    except ParamsError as error:
        return _check("params.yaml", False, error.message.rstrip(), error.action), []
    return _check("params.yaml", True, f"models: {', '.join(models) or 'none yet'}"), models


def _packages(workspace: Workspace) -> list[dict[str, Any]]:
    """Every dependency that headstart's own metadata names, against what is installed."""
    from packaging.requirements import Requirement

    own = (workspace.root / "requirements.lock").is_file() and (workspace.root / "Makefile").is_file()
    result = []
    for line in requires("headstart") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
            ok = requirement.specifier.contains(found, prereleases=True)
        except PackageNotFoundError:
            found, ok = "not installed", False
        wanted = f"{requirement.name}{requirement.specifier}"
        how = "make setup" if own else f"{sys.executable} -m pip install '{wanted}'"
        why = WHY.get(requirement.name.lower(), "")
        result.append(_check(requirement.name, ok, found, f"{why}Install {wanted}: {how}"))
    return result


def _disk(workspace: Workspace) -> dict[str, Any]:
    free_gb = shutil.disk_usage(workspace.root).free / 1e9
    return _check("disk", free_gb > 2.0, f"{free_gb:.0f} GB free", "Make room: a text model needs about 1 GB.")


def _writable(workspace: Workspace) -> dict[str, Any]:
    """A workspace may be read-only on purpose, where it is only served."""
    if settings.is_writable(workspace.root) and settings.is_writable(workspace.state):
        return _check("workspace", True, "can be written")
    return _check("workspace", True, "is read-only: `status`, `predict`, `score`, and `serve` with HEADSTART_JOURNAL")


def _registry(workspace: Workspace, models: Sequence[str]) -> dict[str, Any]:
    from headstart import registry, tracking

    tracking.open(workspace)
    found = {name: registry.aliases(name).champion for name in models}
    champions = {name: version for name, version in found.items() if version}
    return _check("registry", True, f"champions: {champions or 'none yet'}")


def _prefect() -> Iterator[dict[str, Any]]:
    """Whether the server answers that `PREFECT_API_URL` names, and whether each flow's next run is scheduled there."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        yield _check("prefect", True, "its own temporary server, when a flow starts")
        return
    if "@" in url.partition("://")[2].partition("/")[0]:
        yield _check("prefect", False, settings.PREFECT_WITH_PASSWORD, settings.PREFECT_PASSWORD)
        return
    import httpx

    start = "Start it (python -m pipelines.server), or correct or unset PREFECT_API_URL, which ends in /api."
    try:
        answer = httpx.get(f"{url}/health", timeout=PATIENCE_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield _check("prefect", False, f"{url}: {error}", start)
        return
    yield _check("prefect", answer.status_code == 200, f"{url}: {answer.status_code}", start)
    if answer.status_code == 200:
        for flow in FLOWS:
            yield _guarded(f"schedule {flow}", partial(_schedule, url, flow))


def _schedule(url: str, flow: str) -> dict[str, Any]:
    """Whether a schedule that is on can fire: a program asks the server for runs, and the server has one to come.

    A flow that is not served, or whose program was ended (which pauses it), may be meant so: it is said.
    """
    serve = f"PREFECT_API_URL={url} {sys.executable} -m pipelines.schedules"
    name, found = f"schedule {flow}", _asked(f"{url}/deployments/filter", {"deployments": {"name": {"any_": [flow]}}})
    if not found or found[0]["paused"]:
        state = "is paused" if found else "is not served"
        return _check(name, True, f"{state}: nothing starts by itself; this serves it while it runs: {serve}")
    deployment = found[0]
    question = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment["id"]]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": datetime.now(UTC).isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    runs = _asked(f"{url}/flow_runs/filter", question)
    if not runs:
        broken = "The server's log says why; `sqlalchemy` and `fastapi` above must be ok where it is installed."
        return _check(name, False, "is served, and the server has scheduled no run", broken)
    told = f"next run {runs[0]['expected_start_time']}"
    if deployment["status"] != "READY":
        return _check(name, False, f"{told}, and no program asks for it", f"Keep running: {serve}")
    return _check(name, True, told)


def _asked(url: str, question: dict[str, Any]) -> Any:
    import httpx

    answer = httpx.post(url, json=question, headers=settings.prefect_headers(), timeout=PATIENCE_S)
    if answer.status_code == 401:
        raise OutsideError(f"{url} does not accept this user and password.", action=settings.PREFECT_PASSWORD)
    if answer.status_code != 200:
        raise OutsideError(f"{url} answered {answer.status_code}: {answer.text[:200]}", action="See the server's log.")
    return answer.json()


def _model(name: str) -> dict[str, Any]:
    folder = artifacts.stage_output(name, "bundle")
    if not folder.is_dir():
        return _check(f"model {name}", True, "not trained yet")
    from headstart.bundle import Bundle

    try:
        Bundle.open(folder).verify()
    except HeadstartError as error:
        return _check(f"model {name}", False, error.message, f"Build it anew: headstart run {name}.")
    return _check(f"model {name}", True, "bundle complete, every file as its manifest says")


def _champion(workspace: Workspace, name: str) -> dict[str, Any]:
    """What a server would serve."""
    from headstart import tracking
    from headstart.evaluation.gates import replay
    from headstart.serving import inspection

    tracking.open(workspace)
    findings = inspection.inspect(name, difference_allowed=replay.DIFFERENCE)
    wrong = [finding for finding in findings if finding.verdict != "pass"]
    told = " ".join(finding.reason for finding in wrong or findings) or "none yet"
    return _check(f"champion {name}", not wrong, told, " ".join(finding.action for finding in wrong))


def _lines(document: dict[str, Any]) -> Any:
    for check in document["checks"]:
        yield f"{'ok  ' if check['ok'] else 'MEND'}  {check['name']:20} {check['found']}  {check['action']}".rstrip()
    yield f"tracking  {document['tracking_uri']}"
    for name, path in document["paths"].items():
        yield f"{name:14} {path}"

"""`doctor`: what is installed, reachable and consistent, and what is not."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from headstart import artifacts, settings
from headstart.cli.output import Json, emit
from headstart.errors import HeadstartError, ParamsError
from headstart.params.loader import load
from headstart.settings import Workspace


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
        _registry(workspace, models),
        _prefect(),
        *(_model(name) for name in models),
        *(check for name in models if (check := _served(workspace, name))),
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
        result.append(_check(requirement.name, ok, found, f"Install {wanted}: {how}"))
    return result


def _disk(workspace: Workspace) -> dict[str, Any]:
    free_gb = shutil.disk_usage(workspace.root).free / 1e9
    return _check("disk", free_gb > 2.0, f"{free_gb:.0f} GB free", "Make room: a text model needs about 1 GB.")


def _registry(workspace: Workspace, models: Sequence[str]) -> dict[str, Any]:
    from headstart import registry, tracking

    try:
        tracking.open(workspace)
        versions = {name: registry.status(name)["champion"] for name in models}
    except HeadstartError as error:
        return _check("registry", False, error.message, error.action)
    champions = {name: champion["version"] for name, champion in versions.items() if champion}
    return _check("registry", True, f"champions: {champions or 'none yet'}")


def _prefect() -> dict[str, Any]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return _check("prefect", True, "its own temporary server, when a flow starts")
    import httpx

    try:
        answer = httpx.get(f"{url}/health", timeout=5)
        return _check("prefect", answer.status_code == 200, f"{url}: {answer.status_code}", "Start that server.")
    except httpx.HTTPError as error:
        return _check("prefect", False, f"{url}: {error}", "Start that server, or unset PREFECT_API_URL.")


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


def _served(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """What a server would serve; None where there is nothing yet."""
    from headstart import tracking
    from headstart.serving import inspection

    try:
        tracking.open(workspace)
    except HeadstartError:  # the check `registry` says why
        return None
    allowed = load(workspace.params).models[name].gates.replay_difference
    findings = inspection.inspect(name, difference_allowed=allowed)
    if not findings:
        return None
    wrong = [finding for finding in findings if finding.verdict != "pass"]
    action = " ".join(finding.action for finding in wrong)
    return _check(f"served {name}", not wrong, " ".join(finding.reason for finding in wrong or findings), action)


def _lines(document: dict[str, Any]) -> Any:
    for check in document["checks"]:
        yield f"{'ok  ' if check['ok'] else 'MEND'}  {check['name']:20} {check['found']}  {check['action']}".rstrip()
    yield f"tracking  {document['tracking_uri']}"
    for name, path in document["paths"].items():
        yield f"{name:14} {path}"

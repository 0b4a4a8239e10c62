"""`status`, `promote`, `rollback`: what stands in the registry, and moving its one alias."""

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts, settings
from headstart.cli import standing
from headstart.cli.output import Json, emit, metric, override, program, say
from headstart.cli.workspace import chosen, enter
from headstart.errors import HeadstartError
from headstart.settings import Workspace

Name = Annotated[str, typer.Argument(help="The model.")]


def status(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    as_json: Json = False,
) -> int:
    """Show each model's champion, challenger and previous champion, and the newest version with its verdict."""
    workspace, params = enter()
    from headstart import registry, tracking

    tracking.open(workspace)
    document: dict[str, dict[str, Any]] = {}
    worst = 0
    for name in chosen(params, names or []):
        try:
            document[name] = {
                **registry.status(name),
                "on_one_test_set": _on_one_test_set(name),
                "rollout": rollout.brief() if (rollout := registry.rollout(name)) else None,
            }
        except HeadstartError as error:  # the others are shown all the same
            document[name] = {"error": {"message": error.message, "action": error.action}}
            worst = max(worst, error.exit_status)
    emit(document, as_json, lambda document: [*_status_lines(document), *_pages(workspace)])
    return worst


def promote(
    name: Name,
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", help="By default the challenger.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, where the gates did not pass; recorded.")] = None,
    as_json: Json = False,
) -> int:
    """Make a version champion: one alias moves, servers follow within seconds."""
    workspace, params = enter()
    chosen(params, [name])
    from headstart import registry, tracking

    tracking.open(workspace, writing=True)
    started = time.perf_counter()
    who, approval = registry.Actor.here("command promote"), params.models[name].release.approval
    move = registry.promote(name, version, reason=reason, approval=approval, who=who)
    _emit_move(workspace, name, move.before, move.after, started, as_json)
    if approval and settings.prefect_server():
        _end_approval(workspace, name, move.after, str(who))
    return 0


def rollback(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Why; recorded.")] = None,
    as_json: Json = False,
) -> int:
    """Make the champion's predecessor champion again, in one step."""
    workspace, params = enter()
    chosen(params, [name])
    from headstart import registry, tracking

    tracking.open(workspace, writing=True)
    started = time.perf_counter()
    move = registry.rollback(name, reason=reason, who=registry.Actor.here("command rollback"))
    _emit_move(workspace, name, move.before, move.after, started, as_json)
    return 0


def _emit_move(workspace: Workspace, name: str, before: int | None, after: int, started: float, as_json: bool) -> None:
    document = {"from": before, "to": after, "seconds": round(time.perf_counter() - started, 3)}
    standing.follow(workspace, name)
    sentence = f"{name}: champion was {before or 'nobody'}, is version {after} ({document['seconds']} s)"
    emit(document, as_json, lambda _: [sentence])


def _end_approval(workspace: Workspace, name: str, version: int, who: str) -> None:
    """End the Prefect run that waits for this approval; the promotion stands whether or not that can be done."""
    command = [sys.executable, "-m", "pipelines.approval", name, str(version), who]
    done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it left no word"])[-1]
        say(f"the run of the flow approval that waits for this could not be ended: {reason}")


def _on_one_test_set(name: str) -> dict[str, Any] | None:
    """The accuracy of the last two versions that were compared, by version, on the test examples both can answer."""
    path = artifacts.release(name) / "judgement.json"
    if not path.is_file():
        return None
    judgement = artifacts.read_json(path)
    [accuracy] = [
        finding["evidence"].get("accuracy") for finding in judgement["findings"] if finding["check"] == "champion"
    ] or [None]
    if not accuracy or judgement["champion"] in (None, judgement["version"]):
        return None
    return {str(judgement["champion"]): accuracy["champion"], str(judgement["version"]): accuracy["candidate"]}


def _status_lines(document: dict[str, Any]) -> Any:
    for name, aliases in document.items():
        yield name
        if "error" in aliases:
            yield f"  error      {aliases['error']['message']} {aliases['error']['action']}".rstrip()
            continue
        for alias in ("champion", "challenger", "previous"):
            yield from _version_lines(alias, aliases[alias], aliases["missing"].get(alias))
        if rollout := aliases["rollout"]:
            yield f"             rollout: {rollout['step']}, step {rollout['number']} of {rollout['steps']}"
        shown = {entry["version"] for alias in ("champion", "challenger", "previous") if (entry := aliases[alias])}
        if (newest := aliases["newest"]) and newest["version"] not in shown:
            yield from _version_lines("newest", newest)
        yield from _test_set_lines(aliases)
        if aliases["champion"] is None and newest:
            why = "" if newest["verdict"] == "pass" else " --reason WHY"
            yield f"  nothing is live; to make one champion: {program()} promote {name} {newest['version']}{why}"


def _pages(workspace: Workspace) -> Any:
    """How to look at all versions and runs in MLflow's own pages."""
    uri = workspace.tracking_uri
    if uri.startswith(("http://", "https://")):
        yield f"\nMLflow's pages: {uri}"
        return
    program = Path(sys.executable).with_name("mlflow")
    yield "\nMLflow's pages, at http://127.0.0.1:5000:"
    yield f"  MLFLOW_DISABLE_TELEMETRY=true {program} ui --workers 1 --backend-store-uri {shlex.quote(uri)}"


def _version_lines(alias: str, entry: dict[str, Any] | None, deleted: int | None = None) -> Any:
    if entry is None:
        yield f"  {alias:10} {f'version {deleted}, which was deleted in MLflow' if deleted else 'none'}"
        return
    metrics = ", ".join(metric(key, value) for key, value in entry["metrics"].items() if key == "accuracy")
    yield f"  {alias:10} version {entry['version']} since {entry['since']}  {metrics}".rstrip() + override(entry)
    if entry["verdict"] != "pass" and not entry["overridden"]:
        provisional = "provisional: " if alias == "champion" and entry["provisional"] else ""
        yield f"             {provisional}its gates said {entry['verdict']}:"
        for reason in entry["reasons"].splitlines():
            yield f"               {reason}"


def _test_set_lines(aliases: dict[str, Any]) -> Any:
    """Accuracies of versions that were made from other data are of other test sets: said, with what can be compared."""
    shown = {
        entry["version"]: entry["data_revision"]
        for alias in ("champion", "challenger", "previous", "newest")
        if (entry := aliases[alias]) and entry["metrics"]
    }
    if len(set(shown.values())) < 2:
        return
    told = ", ".join(f"version {number} {shown[number][:8] or 'unknown'}" for number in sorted(shown))
    yield f"  These accuracies are not of one test set (data revisions: {told})."
    if one := aliases["on_one_test_set"]:
        values = ", ".join(f"version {number} {metric('accuracy', value)}" for number, value in one.items())
        yield f"  On one test set, that of version {max(map(int, one))}: {values}"

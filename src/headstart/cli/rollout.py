"""`rollout`: where a challenger is on its way to be champion, and taking it back by hand."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from headstart import settings
from headstart.cli.output import Json, emit
from headstart.cli.workspace import chosen, enter
from headstart.errors import UsageError


def rollout(
    name: Annotated[str, typer.Argument(help="The model.")],
    abort: Annotated[bool, typer.Option("--abort", help="Take the challenger back; the champion stays.")] = False,
    as_json: Json = False,
) -> int:
    """Show how a model's rollout stands; exit 1 where the running step failed.

    Steps stand in params.yaml (rollout.steps). The next one begins when `headstart monitor`, by hand or on its
    schedule, finds that the running one has passed; `headstart promote` ends a rollout at once.
    """
    workspace, params = enter()
    chosen(params, [name])
    from headstart import registry, tracking
    from headstart.rollout import verdict

    tracking.open(workspace, writing=abort)
    current = registry.rollout(name)
    if current is None:
        if abort:
            raise UsageError(f"no rollout of {name} is on its way.", action=f"See `headstart status {name}`.")
        last = registry.last_rollout(name)
        ended = {"version": last.version, "champion": last.champion, "reason": last.failed} if last else None
        emit({"step": None, "last_failed": ended}, as_json, lambda document: _none(name, document))
        return 0
    if abort:
        who = registry.Actor.here("command rollout")
        registry.take_back(name, current, "It was taken back by hand.", settings.now(), who=who)
        emit({"version": current.version, "champion": current.champion_now}, as_json, lambda _: [
            f"{name}: version {current.version} was taken back; version {current.champion_now} stays champion"
        ])  # fmt: skip
        return 0
    found = verdict(workspace.journal(name), current, settings.now())
    emit(found, as_json, lambda document: _lines(name, document))
    return 1 if found["verdict"] == "fail" else 0


def _none(name: str, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}: no rollout is on its way"
    if last := document["last_failed"]:
        yield f"  version {last['version']} was taken back: {last['reason']}"


def _lines(name: str, document: Mapping[str, Any]) -> Iterator[str]:
    step = f"{document['step']}, step {document['number']} of {document['steps']}, since {document['since']}"
    yield f"{name}: {document['verdict']} (version {document['version']} against {document['champion']}; {step})"
    for finding in document["findings"]:
        yield f"  {finding['verdict']:6}  {finding['check']}: {finding['reason']}"
        if finding["verdict"] != "pass" and finding["action"]:
            yield f"          {finding['action']}"

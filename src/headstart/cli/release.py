"""`status`, `promote`, `rollback`: what stands in the registry, and moving its one alias."""

import time
from typing import Annotated, Any

import typer

from headstart.cli.output import Json, emit, metric
from headstart.cli.workspace import chosen, enter

Name = Annotated[str, typer.Argument(help="The model.")]


def status(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    as_json: Json = False,
) -> int:
    """Show each model's champion, challenger and previous champion."""
    workspace, params = enter()
    from headstart import registry, tracking

    tracking.open(workspace)
    emit({name: registry.status(name) for name in chosen(params, names or [])}, as_json, _status_lines)
    return 0


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
    move = registry.promote(name, version, reason=reason)
    _emit_move(name, move.before, move.after, started, as_json)
    return 0


def rollback(name: Name, as_json: Json = False) -> int:
    """Make the champion's predecessor champion again, in one step."""
    workspace, params = enter()
    chosen(params, [name])
    from headstart import registry, tracking

    tracking.open(workspace, writing=True)
    started = time.perf_counter()
    move = registry.rollback(name)
    _emit_move(name, move.before, move.after, started, as_json)
    return 0


def _emit_move(name: str, before: int | None, after: int, started: float, as_json: bool) -> None:
    document = {"from": before, "to": after, "seconds": round(time.perf_counter() - started, 3)}
    sentence = f"{name}: champion was {before or 'nobody'}, is version {after} ({document['seconds']} s)"
    emit(document, as_json, lambda _: [sentence])


def _status_lines(document: dict[str, Any]) -> Any:
    for name, aliases in document.items():
        yield name
        for alias in ("champion", "challenger", "previous"):
            entry = aliases[alias]
            if entry is None:
                yield f"  {alias:10} none"
                continue
            metrics = ", ".join(metric(key, value) for key, value in entry["metrics"].items() if key == "accuracy")
            yield f"  {alias:10} version {entry['version']} since {entry['since']}  {metrics}"

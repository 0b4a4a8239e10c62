"""`monitor`: one window of a champion's answers against what reference data looked like."""

from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit
from headstart.cli.workspace import chosen, enter, start_flow
from headstart.errors import GateError


def monitor(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    now: Annotated[
        str | None, typer.Option(help="The window's end, ISO 8601 with an offset; now when left out.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare the last window of answers with the reference; exit 1 on an alert.

    Thresholds follow from `monitor.false_alarms_a_year`; a window with too few answers is unsure. An alert that
    lasts starts training, as `retrain` in params.yaml says.
    """
    workspace, params = enter()
    models = chosen(params, names or [])
    options = ("--now", now) if now else ()
    refusal = start_flow(workspace, "monitoring", models, *options)
    if refusal and not isinstance(refusal, GateError):
        raise refusal
    document = {name: artifacts.read_json(workspace.monitor(name) / "latest.json") for name in models}
    emit(document, as_json, _lines)
    return 1 if any(result["verdict"] == "alert" for result in document.values()) else 0


def _lines(document: dict[str, Any]) -> Any:
    for name, result in document.items():
        window = result["window"]
        yield f"\n{name}: {result['verdict']} ({window['rows']} answers, {window['start']} to {window['end']})"
        for finding in result["findings"]:
            yield f"  {finding['verdict']:6} {finding['check']}: {finding['reason']}"
        if result["causes"]:
            yield f"  cause   {', '.join(cause['cause'] for cause in result['causes'])}; remedy: {result['remedy']}"
        if result.get("page"):
            yield f"  page    {result['page']}"

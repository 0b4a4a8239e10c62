"""`monitor`: one window of each model's answers against what its versions were judged on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit, say
from headstart.cli.workspace import chosen, enter, start_flow
from headstart.errors import GateError


def monitor(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    now: Annotated[
        str | None, typer.Option(help="The window's end, ISO 8601 with an offset; now when left out.")
    ] = None,
    charts: Annotated[bool, typer.Option("--charts", help="Draw charts of a window that did not alarm, too.")] = False,
    as_json: Json = False,
) -> int:
    """Compare the last window of answers with the reference; exit 1 on an alert.

    Thresholds follow from `monitor.false_alarms_a_year`; a small window that does not alarm is unsure. The window
    ends on a whole minute and is `monitor.window_minutes` long. An alert that lasts starts training, or has
    the prior corrected, where that is the remedy, as `retrain` in params.yaml says.
    """
    workspace, params = enter()
    models = chosen(params, names or [])
    from headstart.monitoring import windows

    asked = windows.moment(now)
    refusal = start_flow(workspace, "monitoring", models, "--now", asked.isoformat(), *(["--charts"] if charts else []))
    end = windows.whole_minute(asked).isoformat()
    found = {name: _latest(workspace.monitor(name) / "latest.json", end) for name in models}
    document: dict[str, Any] = {name: result for name, result in found.items() if result is not None}
    if refusal and not isinstance(refusal, GateError):
        if not document:
            raise refusal
        if as_json:
            document["error"] = {"message": refusal.message, "action": refusal.action}
        emit(document, as_json, _lines)
        say(f"headstart: {refusal}")
        return refusal.exit_status
    emit(document, as_json, _lines)
    return 1 if refusal else 0


def _latest(path: Path, end: str) -> dict[str, Any] | None:
    """How the look at the window that ends at `end` ended; None where it left no word."""
    if not path.is_file():
        return None
    result: dict[str, Any] = artifacts.read_json(path)
    return result if result["window"]["end"] == end else None


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for name, result in document.items():
        window = result["window"]
        if window["start"] is None:
            yield f"\n{name}: no verdict"
            yield f"  failed  {result['error']['message']} {result['error']['action']}".rstrip()
            continue
        yield f"\n{name}: {result['verdict']} ({_count(window)}, {window['start']} to {window['end']})"
        for cause in result["causes"]:
            if cause["evidence"].get("meaning"):
                yield f"  {cause['evidence']['meaning']}"
        yield f"  window  {_where(window)}"
        for finding in result["findings"]:
            yield f"  {finding['verdict']:6}  {finding['check']}: {finding['reason']}"
            if finding["verdict"] == "fail" and finding["action"]:
                yield f"          {finding['action']}"
        if result["causes"]:
            yield f"  cause   {', '.join(cause['cause'] for cause in result['causes'])}; remedy: {result['remedy']}"
        if result["verdict"] == "alert":
            yield from _class_mix(result["estimates"])
        if result["verdict"] == "alert" or result["retraining"]["started"]:
            started = "was started" if result["retraining"]["started"] else "was not started"
            yield f"  train   training {started}: {result['retraining']['reason'].rstrip('.')}."
        if rollout := result.get("rollout"):
            where = f"step {rollout['number']} of {rollout['steps']} ({rollout['step']})"
            yield f"  rollout version {rollout['version']}, {where}: {rollout['verdict']}. {rollout['outcome']}"
        if result.get("page_error"):
            yield f"  charts  could not be drawn: {result['page_error']}"
        if told := result.get("notification"):
            yield f"  told    {told['state'].lower()}: {told['said']}"
        if result.get("page"):
            yield f"  page    {result['page']}"
        if result.get("error"):
            yield f"  failed  {result['error']['message']} {result['error']['action']}".rstrip()


def _class_mix(estimates: Mapping[str, Any]) -> Iterator[str]:
    """The classes whose shares moved most, then and now."""
    if estimates["shares"] is None:
        yield f"  classes no estimate of their shares: {estimates['shares_reason']}"
        return
    from headstart.monitoring import label_shift

    yield f"  classes then and now, with {label_shift.LEVEL:.0%} intervals; those that moved most:"
    for name, share in label_shift.moved(estimates["shares"]):
        interval = f"({share['low']:.1%} to {share['high']:.1%})"
        yield f"          {name}: {share['reference']:.1%}, now {share['value']:.1%} {interval}"


def _count(window: Mapping[str, Any]) -> str:
    distinct = f", {window['distinct']} distinct inputs" if window["distinct"] != window["rows"] else ""
    return f"{window['rows']} answers{distinct}"


def _where(window: Mapping[str, Any]) -> str:
    later = f"; {window['later']} inputs that came since are in the next window" if window["later"] else ""
    from headstart.monitoring import windows

    return (
        f"the {windows.minutes(window['minutes'])} (monitor.window_minutes) before the last whole minute, "
        f"or before --now{later}"
    )

"""`history`: who did what to a model and why, from the ledger."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from headstart.cli.output import Json, emit
from headstart.cli.workspace import chosen, enter
from headstart.errors import UsageError
from headstart.settings import Workspace


def history(
    name: Annotated[str, typer.Argument(help="The model.")],
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Which version was champion then, and why.")] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Which version answered this request, and why it was allowed to.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show what was judged, registered, promoted and rolled back: when, by whom and why; newest first.

    Each entry names the hash of the one before. An entry that was altered or removed is named, with exit status 1.
    """
    workspace, params = enter()
    chosen(params, [name])
    if at is not None and request is not None:
        raise UsageError("--at and --request are two questions.", action="Ask one at a time.")
    moment = _moment(at) if at is not None else None
    from headstart import registry, tracking
    from headstart.registry import history as answers
    from headstart.registry import ledger

    tracking.open(workspace)
    found = ledger.read(name)
    document: dict[str, Any] = {
        "model": name,
        "kept_since": found.entries[0].time if found.entries else None,
        "whole": not found.problems,
        "problems": list(found.problems),
    }
    if moment is not None:
        champion = answers.champion_at(found.entries, moment)
        emit(document | {"at": moment.isoformat(), "champion": champion}, as_json, _at_lines)
    elif request is not None:
        rows = _answers(workspace, name, request)
        for row in rows:
            row |= answers.allowed(found.entries, row["version"], row["time"], role=row["role"])
            row["time"] = row["time"].isoformat()
        emit(document | {"request": request, "answers": rows}, as_json, _request_lines)
    else:
        newest = found.entries[-1] if found.entries else None
        document |= {
            "head": {"sequence": newest.sequence, "hash": newest.hash} if newest else None,
            "unfinished": registry.unfinished(name),
            "entries": [entry.document() for entry in reversed(found.entries)],
        }
        emit(document, as_json, _lines)
    return 1 if found.problems else 0


def _moment(at: str) -> datetime:
    """A moment as a person writes it.

    Raises:
        UsageError: if it is not ISO 8601 with an offset.
    """
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("it has no offset")
    except ValueError as error:
        raise UsageError(
            f"--at {at!r} is not a moment: {error}.", action="Write it like 2026-03-01T12:00:00+00:00."
        ) from None
    return moment


def _answers(workspace: Workspace, name: str, request: str) -> list[dict[str, Any]]:
    """Who answered a request: a row for each version and role.

    Raises:
        UsageError: if the journal has no such request.
    """
    from headstart.journal import reader
    from headstart.journal.schema import ANSWERED

    table = reader.request(workspace.journal(name), request)
    if not table.num_rows:
        raise UsageError(
            f"the journal of {name} has no request {request!r}.",
            action="The id is the field `id` of an answer. A server elsewhere may keep its journal there "
            "(HEADSTART_JOURNAL); requests whose deletion was asked for are gone.",
        )
    found: dict[tuple[int, str], dict[str, Any]] = {}
    columns = ["version", "role", "time", "index", "label", "status", "bundle", "contract"]
    for row in table.select(columns).to_pylist():
        one = found.setdefault((row["version"], row["role"]), {
            **{key: row[key] for key in ("version", "role", "time", "bundle", "contract")}, "labels": {},
        })  # fmt: skip
        one["labels"][str(row["index"])] = row["label"] if row["status"] == ANSWERED else None
    return list(found.values())


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    name = document["model"]
    if not document["entries"]:
        yield f"{name}: nothing is recorded yet; the ledger begins with the next run, promotion or rollback"
    if unfinished := document["unfinished"]:
        yield f"unfinished  {unfinished}"
    rows = [
        [
            _short(entry["time"]),
            str(entry["sequence"]),
            entry["event"].replace("_", " "),
            _about(entry),
            _who(entry["who"]),
            _why(entry),
        ]
        for entry in document["entries"]
    ]
    if rows:
        rows.insert(0, ["time (UTC)", "no.", "event", "version", "who", "why"])
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]])
        yield "".join(each if each.isprintable() else " " for each in line).rstrip()
    yield from _problems(document)


def _at_lines(document: Mapping[str, Any]) -> Iterator[str]:
    name, at, champion = document["model"], document["at"], document["champion"]
    kept = document["kept_since"]
    if champion is None:
        early = kept is None or datetime.fromisoformat(at) < datetime.fromisoformat(kept)
        if early:
            told = f"the ledger begins on {kept}" if kept else "nothing is recorded yet"
            yield f"{name}: who was champion at {at} is not known: {told}"
        else:
            yield f"{name} had no champion at {at}"
    else:
        until = f"to {champion['until']}" if champion["until"] else "until now"
        yield f"{name}: version {champion['version']} was champion at {at}, from {champion['since']} {until}"
        yield from _allowed(champion)
    yield from _problems(document)


def _request_lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{document['model']}: request {document['request']}"
    for answer in document["answers"]:
        labels = [label for label in answer["labels"].values() if label is not None]
        told = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
        yield f"  version {answer['version']} as {answer['role']} at {answer['time']}: {told or 'refused'}"
        yield from _allowed(answer)
    yield from _problems(document)


def _allowed(answer: Mapping[str, Any]) -> Iterator[str]:
    """Why a version was allowed to answer."""
    if (by := answer["allowed_by"]) is None:
        yield "    allowed   by nothing that is recorded"
    else:
        what = {"opened": "it was champion when the ledger began"}.get(by["event"], by["event"].replace("_", " "))
        reason = f": {by['reason']}" if by["reason"] else ""
        who = "" if by["event"] == "opened" else f" by {by['who']}"
        yield f"    allowed   {what}{who} on {by['time']} (entry {by['sequence']}){reason}"
    gates = answer["gates"]
    if gates is None:
        yield "    gates     no judgement of it is recorded"
    else:
        not_passed = [check["check"] for check in gates["checks"] if check["verdict"] != "pass"]
        which = f": {', '.join(not_passed)}" if not_passed else ""
        where = f" (entry {gates['sequence']})" if gates["sequence"] else ""
        yield f"    gates     {gates['verdict']}, {_checks(gates)}{which}{where}"
    if answer["overridden"]:
        yield f"    override  {answer['overridden']}"
    if answer["provisional"]:
        yield "    provisional: it beats the baseline, on a test set too small to be sure"
    if answer["approval"]:
        yield f"    approval  {answer['approval']}"


def _checks(judged: Mapping[str, Any]) -> str:
    number = len(judged["checks"])
    return f"{number} check{'' if number == 1 else 's'}"


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    if document["problems"]:
        yield "\nThe ledger is not as it was written:"
        yield from (f"  {problem}" for problem in document["problems"])


def _short(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S}"


def _about(entry: Mapping[str, Any]) -> str:
    """`4`, or `3 → 4` where the champion changed."""
    if "before" in entry and entry["event"] != "opened":
        return f"{entry['before'] or 'none'} → {entry['champion'] or 'none'}"
    return str(entry["version"]) if entry["version"] is not None else ""


def _who(who: Mapping[str, str]) -> str:
    return f"{who['account']} ({who['via']})" if who["via"] else who["account"]


def _why(entry: Mapping[str, Any]) -> str:
    said = [entry["reason"]] if entry["reason"] else []
    if entry["event"] == "judged":
        bad = [check["check"] for check in entry["checks"] if check["verdict"] != "pass"]
        which = f", not {', '.join(bad)}" if bad else ""
        said.insert(0, f"{entry['verdict']}: {_checks(entry)}{which}")
    if entry["event"] == "opened" and entry["champion"]:
        said.append(f"the ledger begins; champion since {entry.get('since') or 'a time that is not known'}")
    if entry["event"] == "promoted":
        said += [word for word in ("provisional", "approval") if entry.get(word)]
    for key in ("remedy", "step", "outcome"):
        if entry.get(key) is not None:
            said.append(str(entry[key]))
    if entry.get("finished"):
        said.append("finished by the next command, after it was killed")
    return "; ".join(said)

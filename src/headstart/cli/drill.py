"""`drill`: faults are planted on purpose, and headstart is scored on what it notices."""

import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit, say
from headstart.cli.workspace import chosen, enter
from headstart.errors import UsageError

FORMAT = 1
FOLDER = Path("drills")  # below artifacts: not a stage's output
SEED = 0


def drill(
    name: Annotated[str, typer.Argument(help="The model; its champion is drilled.")],
    stage: Annotated[
        Literal["before", "after"] | None, typer.Option(help="Before deployment, or after it; both when left out.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault; several are allowed; all when left out.")] = None,
    as_json: Json = False,
) -> int:
    """Plant faults and see whether they are blocked before deployment, or detected, named and cured after it.

    Nothing of the workspace is changed: files are damaged in copies, requests go to a server of the drill's own. A
    page and its numbers are written to artifacts/drills/NAME. Exit status 1 where a fault was neither blocked nor
    detected, or sound traffic alarmed.
    """
    workspace, params = enter()
    chosen(params, [name])
    from headstart.faults.table import FAULTS

    if unknown := sorted(set(fault or ()) - set(FAULTS)):
        close = get_close_matches(unknown[0], FAULTS, n=1)
        raise UsageError(
            f"there is no fault {unknown[0]!r}.",
            action=f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(FAULTS)}.",
        )
    from headstart import tracking
    from headstart.drill import score
    from headstart.report import drill as page

    tracking.open(workspace)
    started = time.monotonic()
    document = score.run(name, params.models[name], stage=stage, only=fault, say=say, seed=SEED)
    document = {"format": FORMAT, **document, "seconds": round(time.monotonic() - started, 1)}
    folder = Path("artifacts") / FOLDER / name
    artifacts.write_json(folder / "drill.json", document)
    artifacts.write_text(folder / "drill.html", page.render(document))
    document["page"] = str((folder / "drill.html").resolve())
    emit({name: document}, as_json, _lines)
    return 0 if score.passed(document) else 1


def _lines(documents: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, document in documents.items():
        yield f"\n{name}, version {document['version']}: {document['summary']}"
        for row in document["before"]:
            yield f"  before  {_blocked(row):12} {row['fault'] or 'no fault':22} {row['reason']}"
        for row in document["after"]:
            yield f"  after   {_noticed(row):12} {row['fault']:22} {_named(row)}"
        if document["clean"]:
            clean = document["clean"]
            windows = f"{clean['windows']} windows of {clean['answers']} sound inputs"
            yield f"  clean   {clean['alarms']} of {windows} alarmed"
        yield f"  page    {document['page']}"


def _blocked(row: Mapping[str, Any]) -> str:
    if not row["planted"]:
        return "not planted"
    return "blocked" if row["blocked"] else "passed"


def _noticed(row: Mapping[str, Any]) -> str:
    if not row["answers"]:
        return "not planted"
    return f"after {row['detected_after']}" if row["detected_after"] else "not detected"


def _named(row: Mapping[str, Any]) -> str:
    if not row["answers"]:
        return str(row["note"])
    accuracy = row["accuracy"]
    said = f"accuracy {accuracy['clean']:.3f} -> {accuracy['broken']:.3f}"
    said += f" -> {accuracy['cured']:.3f} by {row['remedy']}" if accuracy["cured"] is not None else ""
    if row["cause"] is None:
        return said
    right = "right" if row["cause"] == row["expected"] else f"planted {row['expected']}"
    return f"{row['cause']} ({right}); {said}"

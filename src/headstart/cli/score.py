"""`score`: a file of rows in, the same rows with answers out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import settings
from headstart.cli.output import Json, emit
from headstart.cli.workspace import chosen, enter


def score(
    name: Annotated[str, typer.Argument(help="The model.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A .parquet, .csv or .jsonl(.gz) file.")],
    output: Annotated[Path, typer.Option(help="The .parquet, .csv or .jsonl file to write.")],
    version: Annotated[int | None, typer.Option(help="Of the model; the champion when left out.")] = None,
    column: Annotated[str | None, typer.Option(help="The column with the inputs, where it has another name.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to carry along, once each; all if left out.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also one probability a class.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    as_json: Json = False,
) -> int:
    """Answer every row of a file: one row out for each row in, in order, in batches of flat memory.

    A row that cannot be answered says why in the column `error`. Killed and started again, it goes on where it was;
    called again when all is done, it says so.
    """
    source, output = (path.parent.resolve() / path.name for path in (source, output))  # from where the person stands
    workspace, params = enter()
    chosen(params, [name])
    from headstart import registry, tracking
    from headstart.scoring import job

    tracking.open(workspace)
    number = version if version is not None else registry.resolve(name)
    done = job.score(
        registry.download(name, number),
        source,
        output,
        model=name,
        version=number,
        records=workspace.state / "scored" if settings.is_writable(workspace.state) else output.parent / ".scored",
        column=column or params.models[name].data.columns.input,
        keep=keep,
        probabilities=probabilities,
        overwrite=overwrite,
    )
    document = {
        "rows": done.rows,
        "model": name,
        "version": number,
        "output": str(output),
        "seconds": round(done.seconds, 3),
        "rows_per_second": round(done.rows_per_second, 1),
        "resumed_from": done.resumed_from,
        "already": done.already,
    }
    emit(document, as_json, _lines)
    return 0


def _lines(document: dict[str, Any]) -> Any:
    rows = document["rows"]
    if document["already"]:
        yield f"{rows['out']:,} rows by {document['model']} version {document['version']} stood in {document['output']}"
        yield "  nothing was left to do; --overwrite does it again"
        return
    begun = "" if document["resumed_from"] is None else f", gone on after row {document['resumed_from']:,}"
    yield f"{rows['out']:,} rows by {document['model']} version {document['version']} in {document['output']}"
    yield f"  {document['seconds']:.1f} s, {document['rows_per_second']:,.1f} rows a second{begun}"
    if rows["errors"]:
        yield f"  {rows['errors']:,} could not be answered: the column `error` says why"

"""`serve`: champions over HTTP."""

from typing import Annotated

import typer

from headstart.cli.output import Json


def serve(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    as_json: Json = False,
) -> int:
    """Serve champions from the registry; a promotion or rollback is followed within seconds."""
    return 0

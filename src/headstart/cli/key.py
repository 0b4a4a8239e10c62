"""`key`: an API key for the server, and the line that lets it in."""

from typing import Annotated

import typer

from headstart.cli.output import Json, emit, say


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; it stands in refusals and in the server's log.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="predict, feedback or administration; may be given several times.", show_default="predict"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make an API key: its line for the file that HEADSTART_API_KEYS names, and, this once, the key itself.

    The line goes to standard output and the key to standard error: `headstart key shop --scope predict >> keys.txt`
    adds the one to the file and shows the other. A running server reads a changed file within a second.
    """
    from headstart.serving import access

    scopes = scope or ["predict"]
    made, line = access.made(name, scopes)
    if not as_json:
        say(f"the key of {name}, shown only now: {made}")
        say(f"its caller sends the header  Authorization: Bearer {made}")
    document = {"name": name, "scopes": scopes, "key": made, "line": line}
    emit(document, as_json, lambda each: [each["line"]])
    return 0

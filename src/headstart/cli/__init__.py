"""The command `headstart`: one module a family of commands, everything heavy imported when it is used."""

import errno
import os
import sys
import traceback
from pathlib import Path

import typer
from typer.exceptions import TyperException

from headstart import settings
from headstart.cli.app import app
from headstart.cli.output import as_text, typed
from headstart.errors import HeadstartError

DISK = {  # why a file could not be written or read, and what to do about it
    errno.EROFS: settings.WRITABLE,
    errno.EACCES: "Change its permissions, or work as another user.",
    errno.EPERM: "Change its permissions, or work as another user.",
    errno.ENOSPC: "Make room and run the same command again; it goes on where it was.",
    errno.EDQUOT: "Make room and run the same command again; it goes on where it was.",
}


def main() -> None:
    """Run the command line and end with its exit status.

    0 done, 1 a gate or a monitor said no, 2 the input or the configuration is wrong, 3 something outside failed.
    With `--json`, standard output holds one document and nothing else, also when something is refused.
    """
    settings.disable_telemetry()
    try:
        status = app(standalone_mode=False)
    except HeadstartError as error:
        _refuse(error.message, error.action)
        status = error.exit_status
    except TyperException as error:  # a word of the command line that no command has
        context = getattr(error, "ctx", None)
        sentence = error.format_message() if hasattr(error, "format_message") else str(error)
        _refuse(sentence, f"See `{context.command_path if context else 'headstart'} --help`.")
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        _refuse("interrupted.", "Run the same command again; it goes on where it was.")
        status = 3
    except Exception as error:  # noqa: BLE001 - a bug, or a library's complaint that nobody foresaw: never mistaken for a gate's no
        if isinstance(error, OSError) and error.errno in DISK:
            _refuse(_disk(error), DISK[error.errno])
        else:
            traceback.print_exc()
            _refuse(f"{type(error).__name__}: {error}", "This is a bug in headstart; the traceback above says where.")
        status = 3
    sys.exit(status if isinstance(status, int) else 0)


def _disk(error: OSError) -> str:
    """Which folder cannot be written, or which file cannot be read."""
    if error.filename is None:
        return f"{error.strerror}."
    path = Path(os.fsdecode(error.filename))
    if path.exists() and not os.access(path, os.R_OK):
        return f"{path} cannot be read: {error.strerror}."
    return f"{path.absolute().parent} cannot be written: {error.strerror} ({path.name})."


def _refuse(message: str, action: str) -> None:
    print(typed(f"headstart: {message} {action}".rstrip()), file=sys.stderr)
    if "--json" in sys.argv:
        print(as_text({"error": {"message": message, "action": action}}))

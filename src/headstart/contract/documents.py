"""JSON documents that travel with a model: read, or refused with what is wrong with the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.errors import BundleError

REBUILD = "Download it again, or build the model again: headstart run."


def read(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file.

    Raises:
        BundleError: if the file is absent, not JSON, or not an object.
    """
    try:
        document = artifacts.read_json(path)
    except FileNotFoundError:
        raise BundleError(f"{path} does not exist.", action=REBUILD) from None
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}.", action=REBUILD) from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} holds a {type(document).__name__}; expected an object.", action=REBUILD)
    return document


def check_format(document: Mapping[str, Any], known: int | Sequence[int], name: str) -> None:
    """Refuse a document of a format that this version does not read.

    Raises:
        BundleError: naming both formats.
    """
    readable = [known] if isinstance(known, int) else list(known)
    if document.get("format") not in readable:
        raise BundleError(
            f"{name} has format {document.get('format')!r}; this headstart reads "
            f"{' and '.join(', '.join(map(str, readable)).rsplit(', ', 1))}.",
            action="Install the version of headstart that wrote it, or build the model again.",
        )

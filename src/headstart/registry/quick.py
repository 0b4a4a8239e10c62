"""What an embedded registry says, in a millisecond: importing MLflow alone takes two seconds."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from headstart import settings

HOLDING = """
SELECT version FROM model_versions JOIN model_version_tags USING (name, version)
WHERE name = ? AND key = 'bundle' AND value = ? AND current_stage <> 'Deleted_Internal'
ORDER BY version DESC
"""
LIVE = """
SELECT version, key, value FROM registered_model_aliases JOIN model_versions USING (name, version)
LEFT JOIN model_version_tags USING (name, version)
WHERE name = ? AND alias = 'champion' AND current_stage <> 'Deleted_Internal'
"""


class UnknownError(Exception):
    """Only MLflow can tell: the registry is a server, or its tables are not as they were."""


def find(tracking_uri: str, model: str, bundle: str) -> int | None:
    """The version that holds the bundle with this manifest hash, or None.

    Raises:
        UnknownError: if MLflow has to be asked.
    """
    found = _ask(tracking_uri, HOLDING, (model, bundle))
    return int(found[0][0]) if found else None


def live(tracking_uri: str, model: str) -> dict[str, Any] | None:
    """As `registry.live`.

    Raises:
        UnknownError: if MLflow has to be asked.
    """
    found = _ask(tracking_uri, LIVE, (model,))
    if not found:
        return None
    tags = {key: value for _, key, value in found}
    return {
        "version": int(found[0][0]),
        "verdict": tags.get("verdict", "unsure"),
        "overridden": tags.get("overridden", ""),
        "provisional": tags.get("promoted") == "provisional",
    }


def _ask(tracking_uri: str, question: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
    path = settings.sqlite_file(tracking_uri)
    if path is None:
        raise UnknownError
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(question, values).fetchall()
    except sqlite3.Error as error:
        raise UnknownError from error

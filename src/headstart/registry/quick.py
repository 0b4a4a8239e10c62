"""Which version an embedded registry holds of a bundle, in a millisecond: importing MLflow alone takes two seconds."""

import sqlite3
from contextlib import closing

from headstart import settings

QUESTION = """
SELECT version FROM model_versions JOIN model_version_tags USING (name, version)
WHERE name = ? AND key = 'bundle' AND value = ? AND current_stage <> 'Deleted_Internal'
ORDER BY version DESC
"""


class UnknownError(Exception):
    """Only MLflow can tell: the registry is a server, or its tables are not as they were."""


def find(tracking_uri: str, model: str, bundle: str) -> int | None:
    """The version that holds the bundle with this manifest hash, or None.

    Raises:
        UnknownError: if MLflow has to be asked.
    """
    path = settings.sqlite_file(tracking_uri)
    if path is None:
        raise UnknownError
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(QUESTION, (model, bundle)).fetchone()
    except sqlite3.Error as error:
        raise UnknownError from error
    return int(found[0]) if found else None

"""Whether an embedded registry still holds a version, in a millisecond: importing MLflow alone takes two seconds."""

import sqlite3
from contextlib import closing
from pathlib import Path

PREFIX = "sqlite:///"
QUESTION = "SELECT 1 FROM model_versions WHERE name = ? AND version = ? AND current_stage <> 'Deleted_Internal'"


def holds(tracking_uri: str, model: str, version: int) -> bool | None:
    """Whether it does; None where only MLflow can tell: a server, or tables that are not as they were."""
    if not tracking_uri.startswith(PREFIX):
        return None
    path = Path(tracking_uri.removeprefix(PREFIX))
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(QUESTION, (model, version)).fetchone() is not None
    except sqlite3.Error:
        return None

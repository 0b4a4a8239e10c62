"""What changed between two recorded revisions of a model's data."""

import tempfile
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.data import revisions
from headstart.params.prepare import Prepare
from headstart.stages import graph

FORMAT = 1


def earlier(name: str) -> str | None:
    """The last recorded revision of a model's data that is not today's; None where there is none."""
    folder = artifacts.raw(name)
    current = graph.revision(folder)
    return next((known for known in reversed(graph.revisions(folder)) if known != current), None)


def between(name: str, params: Prepare, old: str, new: str) -> dict[str, Any]:
    """What `data.revisions.compare` says of two revisions, with their names and times under `old` and `new`.

    Raises:
        UsageError: if neither DVC's cache nor its remote has all files of a revision.
        OutsideError: if the remote cannot be used.
    """
    when = {entry.revision: entry.when for entry in revisions.history(artifacts.raw(name))}
    artifacts.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=artifacts.CACHE) as temporary:
        places = [Path(temporary) / side for side in ("old", "new")]
        for place, revision in zip(places, (old, new), strict=True):
            place.mkdir()
            graph.checkout(revision, place)
        compared = revisions.compare(places[0], places[1], params)
    about = {
        side: {"revision": revision, "when": when.get(revision)} for side, revision in (("old", old), ("new", new))
    }
    return {**about, **compared}


def unseen(name: str, params: Prepare) -> dict[str, Any] | None:
    """What today's revision changed, once for each pair of revisions; None where it was seen, or is the first.

    What was seen stands in `artifacts/releases/<model>/data-change.json`.
    """
    old, new = earlier(name), graph.revision(artifacts.raw(name))
    path = artifacts.release(name) / "data-change.json"
    if old is None or (path.is_file() and artifacts.read_json(path) == _seen(old, new)):
        return None
    return between(name, params, old, new)


def see(name: str, change: dict[str, Any]) -> None:
    """Remember that a change was shown."""
    seen = _seen(change["old"]["revision"], change["new"]["revision"])
    artifacts.write_json(artifacts.release(name) / "data-change.json", seen)


def _seen(old: str, new: str) -> dict[str, Any]:
    return {"format": FORMAT, "old": old, "new": new}

"""Cures and their record in DVC: recorded here, brought back in a fresh clone, replaced where git brought other ones.

`state/cures/<model>` holds the revision that this workspace recorded or checked out last. With it a pointer that
`git pull` changed can be told from cures that were changed here.
"""

import shutil
import tempfile
from pathlib import Path

from headstart import artifacts
from headstart.data.cures import written
from headstart.errors import UsageError
from headstart.stages import graph


def restore(model: str) -> None:
    """Let a model's cures be those that DVC's pointer names, unless they were changed here since the last record.

    Raises:
        UsageError: if both changed, the pointer and the cures; or if DVC's cache and its remote lack the files.
    """
    folder = artifacts.cures(model)
    if not _pointer(folder).is_file():
        return
    graph.restore(folder)
    recorded, here, last = graph.revision(folder), graph.digest(folder), _last(model)
    if here != recorded:
        if last == recorded:  # changed here
            return
        if here != last and (last is not None or written(model)):
            raise UsageError(
                f"the cures in {folder} are not the ones that {_pointer(folder)} records, and both have changed since "
                "cures were recorded here.",
                action=f"Keep those in the folder (dvc add {folder}), or take the recorded ones (dvc checkout --force "
                f"{_pointer(folder)}).",
            )
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            new = Path(place) / folder.name
            new.mkdir()
            graph.checkout(recorded, new)
            shutil.rmtree(folder)
            new.rename(folder)
    artifacts.write_text(_note(model), recorded)


def record(model: str) -> None:
    """Record the cures in force with DVC, or that there are none any more.

    Raises:
        UsageError: as `restore`, which comes first.
    """
    folder = artifacts.cures(model)
    restore(model)
    if written(model) or _pointer(folder).is_file():
        artifacts.write_text(_note(model), graph.record(folder))


def _last(model: str) -> str | None:
    return _note(model).read_text(encoding="utf-8") if _note(model).is_file() else None


def _pointer(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.dvc")


def _note(model: str) -> Path:
    return Path("state/cures") / model

"""What a run that was killed in the middle of a write can leave behind, and DVC cannot read; mended before a run.

Each of these is called by who holds the workspace's lock (`stages.lock`), in the workspace.
"""

import fcntl
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from headstart import artifacts
from headstart.errors import UsageError

LOCK, COPY = Path("dvc.lock"), Path("state/dvc.lock")
BUSY, GUARD = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/rwlock.lock")
NO_HASH = "0" * 32  # of a file that DVC knows by something else
MERGE = re.compile(rb"^<<<<<<< ", re.M)
POINTERS = ("data/raw/*.dvc", "data/backbones/*.dvc", "data/cures/*.dvc")


def recover() -> None:
    """Mend what a killed run left; says each thing in one line, and nothing where all is well.

    Raises:
        UsageError: if git left one of these files with both sides of a merge in it: which one counts is the user's.
    """
    _clear_busy()
    _restore_lock()
    for pattern in POINTERS:
        for pointer in sorted(Path().glob(pattern)):
            if not _names_outputs(_read(pointer)):
                _say(f"{pointer} was cut short: it is written again")
                pointer.unlink()


def remember() -> None:
    """Keep a copy of `dvc.lock`, which DVC writes in place: after a stage, when it is whole."""
    if LOCK.is_file():
        with artifacts.replaced(COPY) as temporary:
            shutil.copyfile(LOCK, temporary)


def _restore_lock() -> None:
    if not LOCK.is_file() or _names_stages(_read(LOCK)):
        return
    if _names_stages(_read(COPY)):
        shutil.copyfile(COPY, LOCK)
        _say("dvc.lock was cut short: restored from state/dvc.lock, as the last whole stage left it")
    else:
        LOCK.rename(LOCK.with_suffix(".lock.broken"))
        _say("dvc.lock cannot be read and is now dvc.lock.broken: stages run again (git has an older one)")


def _clear_busy() -> None:
    """Drop from DVC's list of files in use what nobody uses: that of dead processes, or the list where it is cut."""
    if not BUSY.is_file():
        return
    with _guarded() as alone:
        if not alone:  # a `dvc` at work writes it right now
            return
        try:
            busy = json.loads(BUSY.read_text(encoding="utf-8"))
            kept = {
                "write": {path: user for path, user in busy.get("write", {}).items() if _at_work(user)},
                "read": {
                    path: [user for user in users if _at_work(user)] for path, users in busy.get("read", {}).items()
                },
            }
        except (ValueError, AttributeError, TypeError, KeyError):
            _say(f"{BUSY}, which a killed run left, cannot be read: it is removed")
            BUSY.unlink()
            return
        kept["read"] = {path: users for path, users in kept["read"].items() if users}
        if kept != {"write": busy.get("write", {}), "read": busy.get("read", {})}:
            artifacts.write_text(BUSY, json.dumps(kept))


@contextmanager
def _guarded() -> Iterator[bool]:
    """Whether no other process edits DVC's list; if so, none can until the block ends (as `zc.lockfile` locks)."""
    with GUARD.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _at_work(user: dict[str, Any]) -> bool:
    """Whether a process lives that was there when the list was last written: numbers of processes come again."""
    try:
        return bool(psutil.Process(int(user["pid"])).create_time() <= BUSY.stat().st_mtime + 1)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _read(path: Path) -> Any:
    text = path.read_bytes() if path.is_file() else b""
    if MERGE.search(text):
        raise UsageError(
            f"{path} holds both sides of a merge that git could not decide.",
            action=f"Take one (git checkout --ours {path}, or --theirs) and run again: what is stale is made anew.",
        )
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return None


def _names_stages(document: Any) -> bool:
    """Whether every stage names its command, and every file of it its path and hash."""
    stages = document.get("stages") if isinstance(document, dict) else None
    return isinstance(stages, dict) and all(
        isinstance(stage, dict) and "cmd" in stage and all(_whole(stage.get(kind, [])) for kind in ("deps", "outs"))
        for stage in stages.values()
    )


def _names_outputs(document: Any) -> bool:
    return isinstance(document, dict) and bool(document.get("outs")) and _whole(document["outs"])


def _whole(files: Any) -> bool:
    return isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("path"), str) and _is_hash(file.get("md5", NO_HASH))
        for file in files
    )


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value.removesuffix(".dir")) == 32


def _say(line: str) -> None:
    print(line, file=sys.stderr)

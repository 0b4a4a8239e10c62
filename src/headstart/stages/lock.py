"""One DVC run a workspace at a time: the second names the holder and waits; a dead holder's orphans end first."""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from headstart import artifacts

RUN = "HEADSTART_RUN"


@contextmanager
def exclusive(state: Path, purpose: str) -> Iterator[None]:
    """Hold the workspace's lock while stages run.

    The lock dies with its process; the stages that a killed holder left running carry its run's id in their
    environment and are ended before anything is started.
    """
    state.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(state / "run.lock"), state / "run.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting: {_holder(holder)} is at work in this workspace", file=sys.stderr)
        lock.acquire()
    try:
        _end_orphans(holder)
        run = uuid.uuid4().hex
        os.environ[RUN] = run
        started = datetime.now(UTC).isoformat(timespec="seconds")
        artifacts.write_json(holder, {"pid": os.getpid(), "run": run, "purpose": purpose, "started": started})
        yield
        holder.unlink(missing_ok=True)
    finally:
        os.environ.pop(RUN, None)
        lock.release()


@contextmanager
def free(state: Path) -> Iterator[bool]:
    """Whether no run is at work; if so, none can start until the block ends."""
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _holder(path: Path) -> str:
    document = _noted(path)
    if not document:
        return "another run"
    return f"{document['purpose']} (process {document['pid']}, since {document['started']})"


def _noted(path: Path) -> dict[str, Any]:
    """What a holder noted about itself; nothing where it did not come to that, or the file is cut short."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    whole = isinstance(document, dict) and {"pid", "run", "purpose", "started"} <= document.keys()
    return document if whole else {}


def _end_orphans(path: Path) -> None:
    """End every process that the last, killed holder started and that outlived it."""
    run = _noted(path).get("run")
    if run is None:
        return
    orphans = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN) == run:
                orphans.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    for process in orphans:
        print(f"ending process {process.pid}, left behind by a run that was killed", file=sys.stderr)
        process.kill()
    psutil.wait_procs(orphans, timeout=10)

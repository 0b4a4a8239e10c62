"""One run a workspace at a time; a killed one leaves neither a lock nor orphans."""

import os
import signal
import subprocess
import sys
import time

import psutil

from headstart.stages.lock import exclusive

HOLD = """
import subprocess, sys, time
from pathlib import Path
from headstart.stages.lock import exclusive
with exclusive(Path(sys.argv[1]), "first"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(float(sys.argv[2]))
    child.kill()
"""


def holder(state, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_the_second_run_names_the_holder_and_waits(tmp_path, capsys):
    process, _ = holder(tmp_path, 0.6)
    with exclusive(tmp_path, "second"):
        assert process.wait(timeout=5) == 0
    process.stdout.close()
    assert f"waiting: first (process {process.pid}" in capsys.readouterr().err


def test_the_orphans_of_a_killed_run_are_ended(tmp_path, capsys):
    process, orphan = holder(tmp_path, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert psutil.pid_exists(orphan)
    with exclusive(tmp_path, "second"):
        deadline = time.monotonic() + 5
        while alive(orphan) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(orphan)
    assert f"ending process {orphan}" in capsys.readouterr().err


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

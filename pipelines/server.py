"""A Prefect server for one program's life, unless `PREFECT_API_URL` names a real one.

It is started as a child before Prefect is imported, so that both load at the same time.
"""

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from headstart.children import die_with_parent
from headstart.errors import OutsideError
from headstart.settings import Workspace, use_embedded_prefect

STARTUP_S = 120.0


@contextmanager
def prefect_server(workspace: Workspace) -> Iterator[None]:
    """Set `PREFECT_API_URL` to a server that answers, before the first import of prefect."""
    use_embedded_prefect(workspace)
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    workspace.prefect_home.mkdir(parents=True, exist_ok=True)
    log = (workspace.prefect_home / "server.log").open("wb")
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    child = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"],
        env={**os.environ, "PREFECT_SERVER_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    atexit.register(_stop, child)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        yield
    finally:
        del os.environ["PREFECT_API_URL"]
        _stop(child)
        atexit.unregister(_stop)
        log.close()


def wait_until_ready() -> None:
    """Return when the server behind `PREFECT_API_URL` answers.

    Raises:
        OutsideError: if it does not within two minutes.
    """
    url = os.environ["PREFECT_API_URL"] + "/health"
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise OutsideError(
        f"no Prefect server answered at {url} within {STARTUP_S:.0f} seconds.",
        action="See state/prefect/server.log, or check PREFECT_API_URL.",
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

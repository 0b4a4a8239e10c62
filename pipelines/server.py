"""A Prefect server for one program's life, unless `PREFECT_API_URL` names a real one; or one that stays, for schedules:

python -m pipelines.server --port 4200

The former is started as a child before Prefect is imported, so that both load at the same time.
"""

import atexit
import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from headstart import settings
from headstart.children import die_with_parent
from headstart.errors import OutsideError
from headstart.settings import Workspace, use_embedded_prefect

STARTUP_S = 120.0
LEASES = "prefect.server.concurrency.lease_storage.filesystem"  # in memory, a restart forgets whose slots are taken
SILENT_S = 10.0  # of waiting, before a line says for what


def main() -> None:
    """Become a Prefect server that stays: its database in the workspace, telemetry off, until it is interrupted.

    Options are those of `prefect server start`.
    """
    workspace = settings.find_workspace(Path(__file__).parent)
    settings.disable_telemetry()
    Path(os.environ.setdefault("PREFECT_HOME", str(workspace.prefect_home))).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", LEASES)
    os.environ["PREFECT_CLI_PROMPT"] = "false"  # in the background it would wait for an answer nobody gives
    os.execv(sys.executable, [sys.executable, "-m", "prefect", "server", "start", *sys.argv[1:]])


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


def join(why: str, action: str) -> Workspace:
    """Work in this workspace with the server that `PREFECT_API_URL` names, once it answers.

    Args:
        why: what needs a server that stays.
        action: what to do where the variable is not set.

    Raises:
        OutsideError: if no server is named, or it does not answer.
    """
    settings.disable_telemetry()
    if not os.environ.get("PREFECT_API_URL"):
        raise OutsideError(f"PREFECT_API_URL is not set, and {why} a server that stays.", action=action)
    workspace = settings.find_workspace(Path(__file__).parent)
    os.chdir(workspace.root)
    use_embedded_prefect(workspace)
    wait_until_ready()
    return workspace


def wait_until_ready() -> None:
    """Return when the server behind `PREFECT_API_URL` answers.

    Raises:
        OutsideError: if it does not within two minutes, the address cannot be one, or the password is wrong.
    """
    url = os.environ["PREFECT_API_URL"].rstrip("/") + "/health"
    if urlsplit(url).scheme not in ("http", "https"):
        raise OutsideError(f"PREFECT_API_URL is no address: {url}.", action="Write it like http://127.0.0.1:4200/api.")
    if "@" in urlsplit(url).netloc:
        raise OutsideError(settings.PREFECT_WITH_PASSWORD, action=settings.PREFECT_PASSWORD)
    started, said, reason = time.monotonic(), False, ""
    while time.monotonic() < started + STARTUP_S:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    break
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error))
        if not said and time.monotonic() > started + SILENT_S:
            print(f"waiting for the Prefect server at {url}", file=sys.stderr, flush=True)
            said = True
        time.sleep(0.1)
    else:
        raise OutsideError(
            f"no Prefect server answered at {url} within {STARTUP_S:.0f} seconds: {reason}.",
            action="Start it (python -m pipelines.server), or correct PREFECT_API_URL, which ends in /api.",
        )
    _require_welcome(url.removesuffix("/health"))


def _require_welcome(api: str) -> None:
    """Refuse a wrong password here, in a sentence: its health a server tells anybody.

    Raises:
        OutsideError: if the server asks for another user or password.
    """
    try:
        urllib.request.urlopen(
            urllib.request.Request(f"{api}/admin/version", headers=settings.prefect_headers()), timeout=5
        ).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 401:
            raise OutsideError(
                f"the Prefect server at {api} does not accept this user and password.",
                action=settings.PREFECT_PASSWORD,
            ) from None
    except (OSError, http.client.HTTPException):
        pass  # the flow itself will say what else is wrong


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


if __name__ == "__main__":
    main()

"""A real server process: it listens once warm, ends gracefully, and survives being killed."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from headstart.errors import OutsideError
from headstart.journal import reader
from headstart.journal.writer import Journal
from headstart.serving.server import serve
from tests.fakes import TEXT, Clock
from tests.unit.test_serving_app import EVER, JOURNAL, SERVE, loaded

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, sys
sys.path.insert(0, sys.argv[1])
from datetime import UTC, datetime
from pathlib import Path
from headstart.journal.writer import Journal
from headstart.serving.server import serve
from tests.fakes import TEXT
from tests.unit.test_serving_app import JOURNAL, SERVE, loaded
logging.basicConfig(level="INFO")
seconds = float(sys.argv[3])
def load(name):
    model = loaded(name, TEXT, 3)
    model.predictor.seconds = seconds
    return model
params = JOURNAL.model_copy(update={"flush_s": float(sys.argv[4])})
journal = Journal(Path(sys.argv[2]), params, clock=lambda: datetime.now(UTC))
serve(["texts"], host="127.0.0.1", port=0, load=load, champion=lambda name: 3, params={"texts": SERVE},
      journals={"texts": journal}, listening=lambda url, names: print(url, flush=True))
print("ended", flush=True)
"""


@contextmanager
def running(folder: Path, *, seconds: float = 0.0, flush_s: float = 0.2) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", PROGRAM, str(ROOT), str(folder), str(seconds), str(flush_s)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.communicate()


def rows(folder: Path) -> list[str]:
    return list(reader.read(folder, **EVER)["request_id"].to_pylist())


@pytest.mark.slow
def test_a_terminated_server_answers_what_was_asked_and_writes_its_whole_journal(tmp_path: Path) -> None:
    async def ask_then_terminate(url: str, child: "subprocess.Popen[str]") -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            asked = [asyncio.create_task(client.post("/predict/texts", json={"inputs": ["a"] * 4})) for _ in range(8)]
            await asyncio.sleep(0.5)
            child.send_signal(signal.SIGTERM)
            return list(await asyncio.gather(*asked))

    with running(tmp_path, seconds=0.2, flush_s=60.0) as (child, url):
        assert httpx.get(f"{url}/health").status_code == 200
        answers = asyncio.run(ask_then_terminate(url, child))
        assert {answer.status_code for answer in answers} == {200}
        out, _ = child.communicate(timeout=20)
        assert (child.returncode, out) == (0, "ended\n")
    assert sorted(set(rows(tmp_path))) == sorted(answer.json()["id"] for answer in answers)
    assert len(rows(tmp_path)) == 32
    assert not list(tmp_path.glob("answers/*.arrow"))


@pytest.mark.slow
def test_a_killed_server_loses_at_most_its_last_flush_and_the_next_start_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flush_s = 0.2
    asked: list[tuple[str, datetime]] = []
    with running(tmp_path, flush_s=flush_s) as (child, url), httpx.Client(base_url=url) as client:
        while len(asked) < 300 or not rows(tmp_path):  # a busy machine may flush late for the first time
            id_ = client.post("/predict/texts", json={"inputs": ["a"]}).json()["id"]
            asked.append((id_, datetime.now(UTC)))
        killed = datetime.now(UTC)
        child.kill()
    journal = Journal(tmp_path, JOURNAL, clock=Clock())
    journal.start()
    journal.close()
    kept = set(rows(tmp_path))
    slack = 0.5  # writing takes a moment where the machine is busy
    assert all((killed - when).total_seconds() < flush_s + slack for id_, when in asked if id_ not in kept)
    assert kept
    assert f"{len(kept)} rows were recovered" in caplog.text


def spoken(url: str, *pieces: bytes) -> bytes:
    """Say these bytes to the server; what it says before it hangs up, or for a second."""
    host, _, port = url.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.settimeout(1)
            while more := connection.recv(65_536):
                answer += more
        except (TimeoutError, ConnectionError):
            pass
    return answer


def peak_megabytes(child: "subprocess.Popen[str]") -> float:
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


@pytest.mark.slow
def test_whatever_is_said_over_a_real_socket_the_server_stands_and_its_memory_is_bounded(tmp_path: Path) -> None:
    post = b"POST /predict/texts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with running(tmp_path) as (child, url):
        refusal = spoken(url, b"\x00\xff garbage\r\n\r\n")
        assert refusal.startswith(b"HTTP/1.1 400 Bad Request")
        assert set(json.loads(refusal.partition(b"\r\n\r\n")[2])) == {"error"}
        spoken(url, post + b"Content-Length: 50\r\n\r\n{")
        spoken(url, post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        before = peak_megabytes(child)
        for flood in (
            [b"GET /v2 HTTP/1.1\r\nX: ", *[b"a" * 100_000] * 1000],
            [b"GET /v2 HTTP/1.1\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 100_000],
            [b"GET /" + b"a" * 100_000_000],
            [post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", *[b"X: " + b"a" * 99_997] * 1000],
            [post + b"Transfer-Encoding: chunked\r\n\r\n", *[b"186A0\r\n" + b" " * 100_000 + b"\r\n"] * 1000],
        ):
            spoken(url, *flood)
            assert peak_megabytes(child) - before < 60
        body = json.dumps({"inputs": ["a" * 20_000_000]}).encode()
        too_long = httpx.post(f"{url}/predict/texts", content=body, headers={"content-type": "application/json"})
        assert too_long.status_code == 413
        assert "larger than 16 MB" in too_long.json()["error"]["message"]
        assert httpx.post(f"{url}/predict/texts", json={"inputs": ["a"]}).status_code == 200


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutsideError, match=rf"127\.0\.0\.1:{port} cannot be listened on: Address already in use"):
            serve(
                ["texts"],
                host="127.0.0.1",
                port=port,
                load=lambda name: loaded(name, TEXT, 3),
                champion=lambda name: 3,
                params={"texts": SERVE},
                journals={"texts": Journal(tmp_path, JOURNAL, clock=Clock())},
                listening=lambda url, names: None,
            )

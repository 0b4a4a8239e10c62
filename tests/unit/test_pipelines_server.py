"""Waiting for a Prefect server: one sentence where it does not come."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from headstart.errors import OutsideError
from pipelines import server


class Health(http.server.BaseHTTPRequestHandler):
    """A server that is healthy at the third time of asking."""

    asked = 0

    def do_GET(self) -> None:
        Health.asked += 1
        self.send_response(200 if self.path == "/api/health" and Health.asked >= 3 else 503)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    Health.asked = 0
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{there.server_port}/api"
        there.shutdown()


def test_a_server_that_is_not_up_yet_is_waited_for(monkeypatch, slow):
    monkeypatch.setenv("PREFECT_API_URL", f"{slow}/")
    server.wait_until_ready()
    assert Health.asked >= 3


def test_an_answer_that_is_no_http_does_not_end_the_question_about_the_password():
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            asked.append(connection.recv(4096))
            connection.sendall(b"no HTTP\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        server._require_welcome(f"http://127.0.0.1:{listening.getsockname()[1]}/api")  # refuses only 401
    assert len(asked) == 1 and asked[0].startswith(b"GET /api/")


def test_a_wrong_password_is_one_sentence_and_the_right_one_is_sent(monkeypatch):
    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # echo -n me:right | base64
            welcome = self.path == "/api/health" or self.headers["Authorization"] == "Basic bWU6cmlnaHQ="
            self.send_response(200 if welcome else 401)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Guarded) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{there.server_port}/api")
        for given in ("", "me:wrong"):
            monkeypatch.setenv("PREFECT_API_AUTH_STRING", given)
            with pytest.raises(OutsideError, match=r"does not accept this user and password.*PREFECT_API_AUTH_STRING"):
                server.wait_until_ready()
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:right")
        server.wait_until_ready()
        there.shutdown()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:9/api", r"no Prefect server answered at http://127\.0\.0\.1:9/api/health within .*refused"),
        (
            "http://me:hunter2@127.0.0.1/api",
            "^PREFECT_API_URL holds a user or a password.*PREFECT_API_AUTH_STRING",
        ),
        ("127.0.0.1:4200/api", r"PREFECT_API_URL is no address: .*Write it like http://127\.0\.0\.1:4200/api"),
    ],
)
def test_an_address_where_none_answers_is_one_sentence(monkeypatch, url, sentence):
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr(server, "STARTUP_S", 0.3)
    with pytest.raises(OutsideError, match=sentence) as refusal:
        server.wait_until_ready()
    assert "hunter2" not in str(refusal.value)

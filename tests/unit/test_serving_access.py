"""API keys and the rate limit: who gets past the door, what the others are told, and what a changed file does."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headstart.cli import serve as command
from headstart.cli.key import key as make_key
from headstart.errors import OutsideError, UsageError
from headstart.serving import access
from headstart.serving.access import Bucket, KeyFile
from headstart.serving.app import create_app
from tests.unit.test_serving_app import SERVE, Server, ask

SHOP, LABELLER, OPERATOR = "the shop's key", "the labeller's key", "the operator's key"


def line(name: str, scopes: str, key: str) -> str:
    return f"{name} {scopes} {hashlib.sha256(key.encode()).hexdigest()}\n"


LINES = (
    "# who may call\n\n"
    + line("shop", "predict", SHOP)
    + line("labeller", "feedback", LABELLER)
    + line("operator", "predict,administration", OPERATOR)
)


class Keyed(Server):
    """A server that expects keys."""

    def __init__(self, folder: Path, lines: str = LINES, **limits: Any) -> None:
        super().__init__(folder, SERVE.model_copy(update=limits))
        self.file = folder / "keys.txt"
        self.file.write_text(lines)
        self.keys = KeyFile(self.file)
        self.app = create_app(self.fleet, clock=self.clock, keys=self.keys)

    def ask(self, path: str, key: str | None, *, method: str = "POST", **content: Any) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return ask(self.app, method, path, headers=headers, **content)

    def predict(self, key: str | None) -> httpx.Response:
        return self.ask("/predict/texts", key, json={"inputs": ["a"]})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Keyed]:
    server = Keyed(tmp_path)
    server.fleet.start()
    yield server
    server.fleet.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at with each request, not once a second."""
    monkeypatch.setattr(access, "LOOK_S", -1.0)


CALLS = {
    "predict": [
        ("POST", "/predict/texts"), ("POST", "/verify/texts"), ("GET", "/v2"), ("POST", "/v2/repository/index"),
        ("GET", "/v2/models/texts"), ("GET", "/v2/models/texts/ready"), ("POST", "/v2/models/texts/infer"),
        ("POST", "/v2/models/texts/versions/3/infer"),
    ],
    "feedback": [("POST", "/feedback/texts")],
    "administration": [("GET", "/metrics"), ("GET", "/health"), ("GET", "/rollout/texts/verdict"), ("GET", "/new")],
}  # fmt: skip


@pytest.mark.parametrize(("scope", "method", "path"), [(scope, *call) for scope in CALLS for call in CALLS[scope]])
def test_each_endpoint_needs_its_own_scope(server: Keyed, scope: str, method: str, path: str) -> None:
    allowed = {
        "predict": (SHOP, OPERATOR), "feedback": (LABELLER,), "administration": (OPERATOR,),
    }[scope]  # fmt: skip
    for key in (SHOP, LABELLER, OPERATOR):
        answer = server.ask(path, key, method=method)
        assert (answer.status_code == 403) == (key not in allowed), answer.text
    assert server.ask(path, None, method=method).status_code == 401


def test_every_endpoint_but_probes_and_the_description_needs_a_key(server: Keyed) -> None:
    free = set()
    for path, methods in server.ask("/openapi.json", None, method="GET").json()["paths"].items():
        place = path.replace("{name}", "texts").replace("{version}", "3")
        for method in methods:
            if server.ask(place, None, method=method.upper()).status_code != 401:
                free.add(path)
    assert free == {"/v2/health/live", "/v2/health/ready"}
    assert server.ask("/docs", None, method="GET").status_code == 200


@pytest.mark.parametrize(
    "path", ["/metrics/", "/metrics%0A", "/docs%0A", "//metrics", "/v2/health/live/../../metrics", "/%6Detrics"]
)
def test_no_spelling_of_a_path_gets_round_the_key(server: Keyed, path: str) -> None:
    assert server.ask(path, None, method="GET").status_code == 401


def test_a_refusal_says_what_to_send_and_what_is_lacking(server: Keyed) -> None:
    nothing, wrong, other = server.predict(None), server.predict("guessed"), server.predict(LABELLER)
    assert (nothing.status_code, wrong.status_code, other.status_code) == (401, 401, 403)
    assert nothing.json()["error"] == {
        "message": "No API key arrived; this server expects one.",
        "action": "Send the header Authorization: Bearer KEY; whoever runs this server has keys.",
    }
    assert nothing.headers["www-authenticate"] == wrong.headers["www-authenticate"] == "Bearer"
    assert wrong.json()["error"]["message"] == "The API key that arrived is not known here; it may have been replaced."
    assert other.json()["error"]["message"] == "The key labeller is for feedback, and this needs predict."


def test_under_v2_a_refusal_has_the_protocols_shape(server: Keyed) -> None:
    assert server.ask("/v2/models/texts/infer", None).json() == {
        "error": "No API key arrived; this server expects one. Send the header Authorization: Bearer KEY; whoever runs "
        "this server has keys."
    }


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", f"Basic {SHOP}", SHOP, "Bearer é"])
def test_what_is_no_bearer_token_is_refused(server: Keyed, header: str) -> None:
    answer = ask(server.app, "POST", "/predict/texts", headers={"Authorization": header.encode()}, json={})
    assert answer.status_code == 401


def test_a_key_gets_an_answer_and_without_keys_nobody_needs_one(server: Keyed, tmp_path: Path) -> None:
    assert server.predict(SHOP).json()["predictions"][0]["label"] == "one"
    server.app = create_app(server.fleet, clock=server.clock)
    assert server.predict(None).status_code == 200


def test_a_key_is_rotated_without_a_restart(server: Keyed, at_once: None) -> None:
    server.file.write_text(LINES + line("shop-2", "predict", "new"))
    assert (server.predict(SHOP).status_code, server.predict("new").status_code) == (200, 200)
    server.file.write_text(line("shop-2", "predict", "new"))
    assert (server.predict(SHOP).status_code, server.predict("new").status_code) == (401, 200)


def test_a_secret_that_kubernetes_swaps_is_followed(tmp_path: Path, at_once: None) -> None:
    for revision, key in (("..1", "old"), ("..2", "new")):
        (tmp_path / revision).mkdir()
        (tmp_path / revision / "keys").write_text(line("shop", "predict", key))
        os.utime(tmp_path / revision / "keys", (0, 0))  # neither size nor time tells them apart
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    keys = KeyFile(tmp_path / "keys")
    assert keys.find("old")
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert keys.find("new")
    assert not keys.find("old")


@pytest.mark.parametrize("content", [None, "", "shop predict\n", f"shop predict {SHOP.replace(' ', '_')}\n"])
def test_a_file_that_became_useless_changes_nothing_and_the_log_says_so_without_the_key(
    server: Keyed, at_once: None, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    server.file.unlink()
    if content is not None:
        server.file.write_text(content)
    assert (server.predict(SHOP).status_code, server.predict("other").status_code) == (200, 401)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.message.startswith("the API keys stay as they were: ")
    assert str(server.file) in record.message
    assert SHOP.replace(" ", "_") not in caplog.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no API key"),
        ("shop predict\n", "line 1: 2 words; a name, its scopes and a SHA-256 were expected"),
        (f"shop predict,train {'0' * 64}", "its scopes must be among predict, feedback, administration"),
        (f"\n<b> predict {'0' * 64}", "line 2: its name may have 64 letters"),
        ("shop predict headstart_plain", "the SHA-256 of shop must have 64 hexadecimal digits"),
        (f"shop predict {'0' * 64}\nshop predict {'1' * 64}", "shop stands there twice"),
    ],
)
def test_a_file_of_keys_that_is_wrong_is_refused_at_the_start_by_line(
    tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(UsageError, match=r".") as refusal:
        KeyFile(tmp_path / "keys")
    assert sentence in refusal.value.message
    assert "headstart key NAME" in refusal.value.action
    assert "headstart_plain" not in str(refusal.value)


def test_a_file_of_keys_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match=r"HEADSTART_API_KEYS cannot be read: .*No such file"):
        KeyFile(tmp_path / "keys")


def test_the_command_makes_a_key_that_its_line_lets_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_key("shop", ["predict", "feedback"])
    printed = capsys.readouterr()
    (tmp_path / "keys").write_text(printed.out)  # as `>> keys` does
    made = printed.err.splitlines()[0].rpartition(" ")[2]
    assert made not in printed.out
    found = KeyFile(tmp_path / "keys").find(made)
    assert found and (found.name, found.scopes) == ("shop", {"predict", "feedback"})
    make_key("shop", as_json=True)
    other = json.loads(capsys.readouterr().out)
    assert (other["scopes"], len(other["key"])) == (["predict"], len("headstart_") + 43)  # 256 bits in base64
    assert other["key"] != made
    with pytest.raises(UsageError, match="scopes must be among"):
        make_key("shop", ["train"])


def test_a_server_that_others_reach_without_keys_says_so() -> None:
    own = {"127.0.0.1", "localhost", "::1", "127.8.8.8"}
    assert {host for host in (*own, "0.0.0.0", "::", "10.0.0.1", "gpu-7") if command._is_own(host)} == own


def test_a_key_is_never_journalled_logged_or_counted(server: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in (SHOP, LABELLER, "guessed"):
        server.predict(key)
    server.fleet.close()
    metrics = server.ask("/metrics", OPERATOR, method="GET").text
    kept = b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file())
    for key in (SHOP, LABELLER, "guessed"):
        assert key not in caplog.text + metrics
        assert key.encode() not in kept


def test_refusals_are_counted_by_status_and_an_unknown_model_makes_no_series(server: Keyed) -> None:
    server.predict(None), server.predict(LABELLER), server.ask("/predict/made-up", None)
    lines = server.ask("/metrics", OPERATOR, method="GET").text.splitlines()
    assert 'headstart_requests_total{endpoint="predict",model="texts",status="401"} 1.0' in lines
    assert 'headstart_requests_total{endpoint="predict",model="texts",status="403"} 1.0' in lines
    assert 'headstart_requests_total{endpoint="predict",model="unknown",status="401"} 1.0' in lines
    assert "made-up" not in "".join(lines)


def test_a_minutes_requests_may_come_at_once_and_then_they_come_at_the_rate() -> None:
    bucket = Bucket(30, 0.0)
    assert [bucket.take(30, 0.0) for _ in range(31)] == [0.0] * 30 + [2.0]  # 30 a minute: one every 2 s
    assert (bucket.take(30, 1.0), bucket.take(30, 2.0), bucket.take(30, 2.5)) == (1.0, 0.0, 1.5)
    assert [bucket.take(30, 1000.0) for _ in range(31)] == [0.0] * 30 + [2.0]  # no more is saved up


def test_beyond_the_rate_the_answer_is_429_for_that_key_alone(tmp_path: Path) -> None:
    server = Keyed(tmp_path, requests_a_minute=2)
    server.fleet.start()
    answers = [server.predict(SHOP) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    wait = answers[2].headers["retry-after"]
    assert 1 <= int(wait) <= 30
    assert answers[2].json()["error"] == {
        "message": "shop may make 2 requests a minute to texts.",
        "action": f"Try again in {wait} s; one request may hold many inputs.",
    }
    assert server.predict(OPERATOR).status_code == 200
    assert server.ask("/health", OPERATOR, method="GET").status_code == 200
    server.fleet.close()


def test_clients_without_keys_are_counted_by_address_and_the_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "CLIENTS", 3)
    door = access.Access(lambda *_: None, a_minute={"texts": 1}, clock=lambda: 0.0)

    def passes(address: str) -> bool:
        scope = {"type": "http", "path": "/predict/texts", "headers": [], "client": (address, 1)}
        try:
            door._admit(scope, "predict", "texts")
        except access.RefusedError as refusal:
            assert (refusal.status, refusal.headers["Retry-After"]) == (429, "60")
            return False
        return True

    assert [passes("10.0.0.1"), passes("10.0.0.1"), passes("10.0.0.2")] == [True, False, True]
    for last in range(100):
        passes(f"10.0.1.{last}")
    assert len(door._buckets) == 3

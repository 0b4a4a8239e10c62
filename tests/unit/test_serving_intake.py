"""Bodies in bounded memory: too large, too many at once, too slow, cut short; multipart ones too."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes import png
from tests.unit.test_serving_app import SERVE, Server, ask
from tests.unit.test_serving_bad_input import JSON, refused, still_answers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("journal"), SERVE.model_copy(update={"megabytes": 1}))
    server.fleet.start()
    yield server
    server.fleet.close()


def test_a_multipart_body_that_stops_early_is_refused(server: Server) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nabc'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(server.request("POST", "/predict/texts", content=body, headers=headers), 400, "stops before its last")


def test_a_picture_that_is_sent_to_a_model_of_texts_is_called_one(server: Server) -> None:
    [bad] = server.request("POST", "/predict/texts", files=[("f", png())]).json()["predictions"]
    assert bad["error"]["message"] == "input 0 is a picture (PNG); this model takes texts."


def test_a_multipart_text_that_is_not_utf8_is_refused_by_its_place(server: Server) -> None:
    good, bad = server.request("POST", "/predict/texts", files=[("f", b"a"), ("f", b"\xff")]).json()["predictions"]
    assert good["label"] == "one"
    assert bad["error"]["message"] == "input 1 is not text in UTF-8: invalid start byte at byte 0."


def test_too_many_parts_are_refused(server: Server) -> None:
    refused(server.request("POST", "/predict/texts", files=[("f", b"a")] * 1025), 413, "More than 1024 parts")


def test_an_oversized_body_is_refused_by_its_length_before_any_of_it_is_read(server: Server) -> None:
    sent, answer = stream(server, chunks=100, size=100_000, declared=10_000_000)
    refused(answer, 413, "larger than 1 MB")
    assert (sent, answer.headers["connection"]) == (0, "close")


def test_an_oversized_body_without_a_length_is_refused_while_it_streams(server: Server) -> None:
    sent, answer = stream(server, chunks=100, size=100_000, declared=None)
    refused(answer, 413, "larger than 1 MB")
    assert sent == 11  # ten chunks fill the megabyte, the eleventh is one too many
    still_answers(server)


def test_bodies_that_together_exceed_the_memory_for_them_are_told_to_come_back(server: Server) -> None:
    """Eight of the largest may be held at once: of twelve that wait for their last byte, some are refused."""
    answers = asyncio.run(_at_once(server, count=12, size=990_000))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {422, 503}  # a text far too long; no room
    assert statuses.count(422) >= 8
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
    still_answers(server)


def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE.model_copy(update={"timeout_s": 0.1}))
    server.fleet.start()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"inputs"'
        await asyncio.sleep(60)

    refused(server.request("POST", "/predict/texts", content=slow(), headers=JSON), 408, "within 0.1 s")
    server.fleet.close()


def test_the_memory_of_refused_bodies_is_given_back(server: Server) -> None:
    for _ in range(20):  # more than would fit at once
        stream(server, chunks=11, size=100_000, declared=None)
    still_answers(server)


def stream(server: Server, *, chunks: int, size: int, declared: int | None) -> tuple[int, httpx.Response]:
    """Send a body in chunks; how many of them the server took, and its answer."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(chunks):
            sent += 1
            yield b" " * size

    headers = JSON if declared is None else JSON | {"content-length": str(declared)}
    answer = ask(server.app, "POST", "/predict/texts", content=body(), headers=headers)
    return sent, answer


async def _at_once(server: Server, *, count: int, size: int) -> list[httpx.Response]:
    """Send bodies whose last byte comes only when all of them are there, or refused."""
    arrived = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal arrived
        yield b'{"inputs": ["' + b"a" * size
        arrived += 1
        for _ in range(200):
            if arrived >= count:
                break
            await asyncio.sleep(0.005)
        yield b'"]}'

    transport = httpx.ASGITransport(server.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        asked = [client.post("/predict/texts", content=body(), headers=JSON) for _ in range(count)]
        return list(await asyncio.gather(*asked))

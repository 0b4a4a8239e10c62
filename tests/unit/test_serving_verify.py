"""`POST /verify/NAME`: a client learns from one request what is wrong with the numbers it computes."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from headstart.contract.spec import Contract
from headstart.errors import BundleError
from headstart.faults.clients import Comparison
from headstart.journal.writer import Journal
from headstart.params.operation import Serve
from headstart.serving.app import create_app
from headstart.serving.fleet import Fleet, Slot
from headstart.serving.models import LoadedModel
from tests.fakes import TEXT, Clock
from tests.unit.test_serving_app import JOURNAL, SERVE, Server, ask, loaded
from tests.unit.tiny_bundle import grey, image_bundle, text_bundle


class Real(Server):
    """The tiny bundles of a text and an image model, loaded as a server loads them."""

    def __init__(self, folder: Path, serve: Serve = SERVE) -> None:
        self.clock, self.folder = Clock(), folder / "journal"
        bundles = {"texts": text_bundle(folder / "texts"), "images": image_bundle(folder / "images")}
        models = {name: LoadedModel.open(name, 3, path, difference_allowed=1e-3) for name, path in bundles.items()}
        slots = {
            name: Slot(serve, Journal(self.folder / name, JOURNAL, clock=self.clock, key=b"key")) for name in models
        }
        self.fleet = Fleet(models, slots, workers=1)
        self.app = create_app(self.fleet, clock=self.clock)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Real]:
    server = Real(tmp_path)
    server.fleet.start()
    yield server
    server.fleet.close()


def verify(server: Server, name: str, document: Any, **more: Any) -> httpx.Response:
    return server.request("POST", f"/verify/{name}", json=document, **more)


GOOD_DAY = {"input": "a good day"}  # [UNK] good [UNK]: 1 2 1


def test_right_token_ids_agree(server: Real) -> None:
    answer = verify(server, "texts", GOOD_DAY | {"computed": [1, 2, 1]})
    assert answer.status_code == 200
    assert answer.json() == {
        "agrees": True,
        "kind": "token_ids",
        "difference": 0.0,
        "where": "all 3 tokens are equal",
        "faults": [],
        "meaning": "It agrees.",
    }


def test_one_request_names_the_mistake(server: Real) -> None:
    given = {"input_ids": [[0, 1, 2, 1]], "attention_mask": [[0, 1, 1, 1]]}
    document = verify(server, "texts", GOOD_DAY | {"computed": given}).json()
    assert (document["agrees"], document["faults"]) == (False, ["padded at the beginning instead of the end"])


def test_pictures_travel_as_base64(server: Real) -> None:
    # level 255 is (1.0 - 0.5) / 1.0; a client that takes no mean off has 1.0
    picture = base64.b64encode(grey(255)).decode()
    right, wrong = (verify(server, "images", {"input": picture, "computed": [[[v] * 4] * 4]}) for v in (0.5, 1.0))
    assert right.json()["agrees"] is True
    assert wrong.json()["faults"] == ["mean and deviation were left out"]


def test_logits_are_compared_too(server: Real) -> None:
    document = verify(server, "texts", {"input": "good bad bad", "computed": {"logits": [4.0, 8.0]}}).json()
    assert document["kind"] == "logits"
    assert document["faults"] == ["classes stand in another order: place 0 holds 'positive', place 1 holds 'negative'"]


@pytest.mark.parametrize(
    ("name", "document", "sentence"),
    [
        ("texts", {"input": "", "computed": [1]}, "input 0 is empty"),
        ("images", {"input": "?", "computed": [1]}, "input is not base64"),
        ("images", {"input": "QUJD", "computed": [1, 2]}, "not an image file"),
        ("texts", {"input": "good", "computed": [["a"]]}, "no array of numbers"),
        ("texts", {"input": "good", "computed": {"ids": [1]}}, "an object with 'ids' arrived"),
        ("texts", {"input": "good"}, "computed"),
        ("texts", {"input": 7, "computed": [1]}, "input is a number; a string was expected"),
        ("texts", {"inputs": ["good"], "computed": [1]}, "input is missing"),
        ("texts", {"input": "good", "computed": "1 2"}, "computed"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_422(server: Real, name: str, document: Any, sentence: str) -> None:
    answer = verify(server, name, document)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"content": b"{"}, 400),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b" " * 2_000_000}, 413),
    ],
)
def test_bodies_are_bounded_and_typed(tmp_path: Path, content: Any, status: int) -> None:
    server = Real(tmp_path, changed(SERVE, megabytes=1))
    server.fleet.start()
    headers = {"content-type": "application/json"} | content.pop("headers", {})
    assert server.request("POST", "/verify/texts", headers=headers, **content).status_code == status
    server.fleet.close()


def changed(serve: Serve, **changes: Any) -> Serve:
    return serve.model_copy(update=changes)


def test_an_unknown_model_is_404_and_another_contract_409(server: Real) -> None:
    assert verify(server, "cats", GOOD_DAY | {"computed": [1]}).status_code == 404
    other = verify(server, "texts", GOOD_DAY | {"computed": [1], "contract": "0123456789ab.0123456789ab"})
    assert other.status_code == 409


def test_numbers_that_are_none_are_told_in_json_that_can_be_read(server: Real) -> None:
    body = b'{"input": "good bad", "computed": {"logits": [NaN, Infinity]}}'
    headers = {"content-type": "application/json"}
    answer = server.request("POST", "/verify/texts", content=body, headers=headers)
    assert (answer.status_code, answer.json()["difference"]) == (200, None)


def test_nothing_is_journalled(server: Real) -> None:
    verify(server, "texts", GOOD_DAY | {"computed": [1, 2, 1]})
    verify(server, "texts", {"input": "", "computed": [1]})
    server.fleet.close()
    assert server.answers("texts", refusals=True) == []


def test_requests_are_counted(server: Real) -> None:
    verify(server, "texts", GOOD_DAY | {"computed": [1, 2, 1]})
    assert 'endpoint="verify"' in server.request("GET", "/metrics").text


def test_it_is_documented(server: Real) -> None:
    described = server.request("GET", "/openapi.json").json()
    operation = described["paths"]["/verify/{name}"]["post"]
    assert {"200", "409", "413", "422", "503"} <= set(operation["responses"])
    assert set(described["components"]["schemas"]["VerifyRequest"]["required"]) == {"input", "computed"}


class Held:
    """A comparison that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, raw: Any, computed: Any, *, limit_s: float) -> Comparison:
        self.begun.set()
        assert self.go_on.wait(10)
        return Comparison(True, "token_ids", 0.0, "", (), "")


def waiting(folder: Path, contract: Contract, compare: Any, serve: Serve = SERVE) -> Server:
    server = Server(folder, serve)
    server.fleet.start()
    server.fleet.post(replace(loaded("texts", contract, 4), compare=compare))
    return server


def test_one_comparison_a_model_runs_and_others_are_asked_to_come_back(tmp_path: Path) -> None:
    held = Held()
    server = waiting(tmp_path, TEXT, held)

    async def both() -> tuple[httpx.Response, httpx.Response, httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            document = {"input": "a", "computed": [1]}
            first = asyncio.create_task(client.post("/verify/texts", json=document))
            await asyncio.to_thread(held.begun.wait, 10)
            second = await client.post("/verify/texts", json=document)
            meanwhile = await client.post("/predict/texts", json={"inputs": ["a"]})
            held.go_on.set()
            answered = await first
            third = await client.post("/verify/texts", json=document)
            return answered, second, meanwhile, third

    first, second, meanwhile, third = asyncio.run(both())
    assert (first.status_code, second.status_code, third.status_code) == (200, 503, 200)
    assert second.headers["retry-after"] == "2"
    assert meanwhile.status_code == 200  # answers go on
    server.fleet.close()


def test_a_comparison_that_never_ends_is_given_up(tmp_path: Path) -> None:
    held = Held()
    server = waiting(tmp_path, TEXT, held, changed(SERVE, timeout_s=0.05))
    timer = threading.Timer(0.5, held.go_on.set)  # so that its thread ends before the test does
    timer.start()
    answer = ask(server.app, "POST", "/verify/texts", json={"input": "a", "computed": [1]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    timer.join()
    server.fleet.close()


def test_a_bundle_whose_tokenizer_is_gone_is_not_the_clients_fault(tmp_path: Path) -> None:
    def gone(raw: Any, computed: Any, *, limit_s: float) -> Comparison:
        raise BundleError("tokenizer.json cannot be read.")

    server = waiting(tmp_path, TEXT, gone)
    assert verify(server, "texts", {"input": "a", "computed": [1]}).status_code == 503
    server.fleet.close()

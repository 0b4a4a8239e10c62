"""A client that says which contract it was built for is refused where another one answers."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstart.contract.spec import Contract, TextSpec
from tests.fakes import LABELS, TEXT
from tests.unit.test_serving_app import Server, loaded

SHORTER = Contract("text", TextSpec(12, 1000, 0, "[PAD]", "right", hashlib.sha256(b"").hexdigest()), LABELS)
TURNED = replace(TEXT, labels=LABELS[::-1])
UNKNOWN = "0123456789ab.0123456789ab"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Its text model knows the contracts of two versions before it."""
    server = Server(tmp_path)
    server.fleet.start()
    known = {one.hash: one for one in (SHORTER, TURNED, TEXT)}
    server.fleet.post(replace(loaded("texts", TEXT, 4), earlier=known))
    yield server
    server.fleet.close()


def predict(server: Server, contract: Any, **more: Any) -> Any:
    return server.post("/predict/texts", {"inputs": ["a", "ab"], "contract": contract, **more})


def infer(server: Server, contract: Any) -> Any:
    tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    return server.post("/v2/models/texts/infer", {"inputs": [tensor], "parameters": {"contract": contract}})


def test_the_contract_served_is_in_the_metadata_and_in_every_answer(server: Server) -> None:
    assert server.request("GET", "/v2/models/texts").json()["parameters"]["contract"] == TEXT.hash
    assert predict(server, None).json()["contract"] == TEXT.hash
    assert infer(server, TEXT.hash).json()["parameters"]["contract"] == TEXT.hash


def test_the_right_contract_is_answered(server: Server) -> None:
    assert predict(server, TEXT.hash).status_code == 200
    assert infer(server, TEXT.hash).status_code == 200


def test_an_earlier_contract_is_refused_with_the_values_that_changed(server: Server) -> None:
    answer = predict(server, SHORTER.hash)
    assert answer.status_code == 409
    document = answer.json()
    assert document["error"]["message"] == (
        f"The request was built for the contract '{SHORTER.hash}'; version 4 of texts has '{TEXT.hash}': "
        "in it max_tokens is 16 and was 12."
    )
    assert "GET /v2/models/texts" in document["error"]["action"]
    assert document["contract"] == TEXT.hash
    assert document["differences"] == [{"name": "max_tokens", "sent": 12, "served": 16}]


def test_labels_in_another_order_are_a_refusal_too(server: Server) -> None:
    assert "labels stand in another order, from place 0 on" in predict(server, TURNED.hash).json()["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (UNKNOWN, "it differs in how inputs are prepared and the labels; no registered version"),
        (f"{TEXT.hash[:12]}.{UNKNOWN[:12]}", "it differs in the labels, how inputs are prepared is the same"),
        (f"{UNKNOWN[:12]}.{TEXT.hash[13:]}", "it differs in how inputs are prepared, the labels are the same"),
        ("latest", "what was sent is no contract's hash, which is two times 12 hex digits"),
    ],
)
def test_of_an_unknown_contract_the_part_that_differs_is_named(server: Server, sent: str, sentence: str) -> None:
    answer = predict(server, sent)
    assert answer.status_code == 409
    assert sentence in answer.json()["error"]["message"]


def test_under_the_protocol_the_refusal_is_a_sentence(server: Server) -> None:
    answer = infer(server, SHORTER.hash)
    assert answer.status_code == 409
    assert list(answer.json()) == ["error"]
    assert "max_tokens is 16 and was 12" in answer.json()["error"]


def test_files_say_it_in_a_header(server: Server) -> None:
    files = [("a", b"abc")]
    right = server.request("POST", "/predict/texts", files=files, headers={"headstart-contract": TEXT.hash})
    wrong = server.request("POST", "/predict/texts", files=files, headers={"headstart-contract": SHORTER.hash})
    assert (right.status_code, wrong.status_code) == (200, 409)


@pytest.mark.parametrize("ask", [predict, infer])
def test_a_contract_that_is_no_string_is_refused_as_such(server: Server, ask: Any) -> None:
    assert ask(server, 7).status_code == 422


def test_each_refused_input_leaves_a_row_with_status_409(server: Server) -> None:
    predict(server, SHORTER.hash, id="old", client="an old app")
    server.fleet.close()
    rows = server.answers("texts", refusals=True)
    assert [(row["request_id"], row["index"], row["status"], row["label"]) for row in rows] == [
        ("old", 0, 409, None),
        ("old", 1, 409, None),
    ]
    assert rows[0]["client"] == "an old app"
    assert rows[0]["contract"] == TEXT.hash
    assert "max_tokens is 16 and was 12" in rows[0]["reason"]


def test_inputs_that_the_contract_refuses_as_well_are_a_matter_of_the_contract_first(server: Server) -> None:
    answer = server.post("/predict/texts", {"inputs": [7], "contract": SHORTER.hash})
    assert answer.status_code == 409


def test_the_documentation_says_it(server: Server) -> None:
    described = server.request("GET", "/openapi.json").json()
    assert "contract" in described["components"]["schemas"]["PredictRequest"]["properties"]
    for path in ("/predict/{name}", "/v2/models/{name}/infer"):
        operation = described["paths"][path]["post"]
        assert "409" in operation["responses"]
        assert "headstart-contract" in [one["name"] for one in operation["parameters"]]

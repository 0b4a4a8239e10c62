"""The Open Inference Protocol as its clients speak it: Triton's own client, and bytes by its specification."""

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.fakes import IMAGE, png
from tests.unit.test_serving_app import Server
from tests.unit.test_serving_server import running

HEAD = "inference-header-content-length"
TEXTS = "/v2/models/texts/infer"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.fleet.start()
    yield server
    server.fleet.close()


def framed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def binary_request(
    binary: bytes, shape: list[int], *, path: str = TEXTS, server: Server, **head: Any
) -> httpx.Response:
    """A request as the specification has it: a JSON head, its length in the header, the tensor after it."""
    tensor = {"name": "input", "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(binary)}}
    document = json.dumps({"inputs": [tensor], **head}).encode()
    return server.request("POST", path, content=document + binary, headers={HEAD: str(len(document))})


def test_a_binary_tensor_is_read_without_any_content_type(server: Server) -> None:
    answer = binary_request(framed(b"a", "é".encode(), b"abc"), [3], server=server)
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["data"] == ["one", "one", "zero"]  # length modulo 3


def test_outputs_come_in_binary_where_they_are_asked_for_so(server: Server) -> None:
    outputs = [{"name": "probability"}, {"name": "label", "parameters": {"binary_data": True}}]
    answer = binary_request(framed(b"a", b"ab"), [2], server=server, outputs=outputs)
    length = int(answer.headers[HEAD])
    head = json.loads(answer.content[:length])
    probability, label = head["outputs"]
    assert probability["data"] == pytest.approx([1.0, 1.0])
    assert "data" not in label
    assert label["parameters"] == {"binary_data_size": 14}  # 4 + 3 bytes, twice
    assert answer.content[length:] == framed(b"one", b"two")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_all_outputs_come_in_binary_one_after_another(server: Server) -> None:
    answer = binary_request(framed(b"ab"), [1], server=server, parameters={"binary_data_output": True})
    length = int(answer.headers[HEAD])
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(answer.content[:length])["outputs"]]
    assert sizes == [7, 4, 12]
    shares = np.frombuffer(answer.content[length + 11 :], "<f4")
    assert shares == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def test_a_head_of_no_bytes_is_one_raw_element(server: Server) -> None:
    answer = server.request("POST", TEXTS, content=b"ab", headers={HEAD: "0"})
    length = int(answer.headers[HEAD])
    assert answer.content[length : length + 7] == framed(b"two")


@pytest.mark.parametrize("encode", [bytes, base64.b64encode], ids=["as they are", "base64"])
def test_pictures_travel_in_binary_as_they_are_or_in_base64(server: Server, encode: Any) -> None:
    answer = binary_request(framed(encode(png())), [1], path="/v2/models/images/infer", server=server)
    assert answer.status_code == 200, answer.text
    plain = server.post("/predict/images", {"inputs": [base64.b64encode(png()).decode()]}).json()
    assert answer.json()["outputs"][0]["data"] == [plain["predictions"][0]["label"]]
    assert IMAGE.labels


@pytest.mark.parametrize("data", [["a", "ab"], [["a"], ["ab"]]], ids=["flat", "nested"])
@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_json_data_of_either_shape_is_taken_flat_or_nested(server: Server, shape: list[int], data: Any) -> None:
    tensor = {"name": "input", "shape": shape, "datatype": "BYTES", "data": data}
    answer = server.request("POST", TEXTS, content=json.dumps({"inputs": [tensor]}).encode())
    assert answer.json()["outputs"][0] == {
        "name": "label", "shape": [2], "datatype": "BYTES", "data": ["one", "two"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("binary", "shape", "head", "words"),
    [
        pytest.param(framed(b"a", b""), [2], None, "input 1 is empty", id="an empty element"),
        pytest.param(framed(b"a", b"\xff"), [2], None, "input 1 is not text in UTF-8", id="not UTF-8"),
        pytest.param(framed(b"a"), [2], None, "shape is [2], its data has 1 elements", id="another shape"),
        pytest.param(framed(b"a") + b"\x01", [1], None, "end within the length of element 1", id="a torn length"),
        pytest.param(b"\x05\0\0\0abc", [1], None, "Element 0 of the binary data ends 2 bytes after it", id="torn"),
        pytest.param(b"\xff\xff\xff\xff", [1], None, "Element 0", id="four billion bytes"),
        pytest.param(b"", [0], None, "not one item", id="nothing"),
        pytest.param(framed(b"a"), [1], "9999", "a number up to", id="a head longer than the body"),
        pytest.param(framed(b"a"), [1], "-1", "'-1'; a number", id="a negative head"),
        pytest.param(framed(b"a"), [1], "10", "not JSON", id="half a head"),
    ],
)
def test_binary_data_that_are_not_what_the_head_says_are_refused_with_a_string(
    server: Server, binary: bytes, shape: list[int], head: str | None, words: str
) -> None:
    tensor = {"name": "input", "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(binary)}}
    document = json.dumps({"inputs": [tensor]}).encode()
    answer = server.request("POST", TEXTS, content=document + binary, headers={HEAD: head or str(len(document))})
    assert answer.status_code in (400, 422), answer.text
    assert isinstance(answer.json()["error"], str)
    assert words in answer.json()["error"]


def test_counting_elements_ends_where_there_are_too_many(server: Server) -> None:
    torn_further_on = b"\0\0\0\0" * 1025 + b"\x01"
    answer = binary_request(torn_further_on, [1], server=server)
    assert answer.status_code == 413
    assert "more than 1024 items" in answer.json()["error"]


def test_a_size_that_is_not_that_of_the_data_is_refused(server: Server) -> None:
    parameters = {"binary_data_size": 99}
    tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    document = json.dumps({"inputs": [tensor]}).encode()
    answer = server.request("POST", TEXTS, content=document + framed(b"a"), headers={HEAD: str(len(document))})
    assert answer.json()["error"].startswith("binary_data_size is 99; 5 bytes follow the JSON head.")


def test_the_server_names_the_extensions_it_speaks_and_answers_what_they_ask(server: Server) -> None:
    assert server.request("GET", "/v2").json()["extensions"] == ["binary_tensor_data", "model_configuration"]
    config = server.request("GET", "/v2/models/texts/config").json()
    assert config["input"] == [{"name": "input", "data_type": "TYPE_STRING", "dims": [-1]}]
    assert config["output"][2]["dims"] == [-1, 3]
    assert server.request("POST", "/v2/repository/index").json()[0] == {
        "name": "texts", "version": "3", "state": "READY", "reason": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/nothing"), ("GET", "/v2/models/no"), ("GET", TEXTS), ("POST", "/v2/models/no/infer")],
)
def test_every_error_under_v2_is_a_string(server: Server, method: str, path: str) -> None:
    answer = server.request(method, path)
    assert answer.status_code >= 400
    assert isinstance(answer.json()["error"], str)


def test_a_bug_under_v2_is_a_string_too(server: Server) -> None:
    server.predictors["texts"].broken = RuntimeError("the network broke")
    answer = binary_request(framed(b"a"), [1], server=server)
    assert (answer.status_code, type(answer.json()["error"])) == (500, str)


def test_the_client_named_in_the_parameters_stands_in_the_journal(server: Server) -> None:
    binary_request(framed(b"a"), [1], server=server, parameters={"client": "till 7"})
    server.fleet.close()
    assert server.answers("texts")[0]["client"] == "till 7"


@pytest.mark.slow
def test_tritons_client_works_with_its_defaults(tmp_path: Path) -> None:
    """Calls of which most once failed, or raised a TypeError of the client's own."""
    http = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: make setup")
    with running(tmp_path) as (_, url):
        client = http.InferenceServerClient(url.removeprefix("http://"))
        try:
            _ask(http, client)
        finally:
            client.close()


def _ask(http: Any, client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("texts")
    assert client.get_model_metadata("texts")["outputs"][0]["name"] == "label"
    assert client.get_model_config("texts")["name"] == "texts"
    assert client.get_model_repository_index()[0]["state"] == "READY"

    def ask(shape: list[int], *, binary: bool = True, **more: Any) -> Any:
        given = http.InferInput("input", shape, "BYTES")
        given.set_data_from_numpy(np.full(shape, b"ab", dtype=object), binary_data=binary)
        return client.infer("texts", [given], **more)

    for shape in ([1], [2], [2, 1]):
        for binary in (True, False):
            result = ask(shape, binary=binary)
            assert result.as_numpy("label").tolist() == [b"two"] * shape[0]
            assert result.as_numpy("probabilities").shape == (shape[0], 3)
            assert result.as_numpy("probability").dtype == np.float32
    for binary in (True, False):
        only = ask([1], outputs=[http.InferRequestedOutput("label", binary_data=binary)])
        assert only.as_numpy("label").tolist() in ([b"two"], ["two"])
        assert only.as_numpy("probability") is None
    assert ask([1], request_id="mine", model_version="3").get_response()["id"] == "mine"
    words = http.InferInput("input", [1], "BYTES")
    words.set_data_from_numpy(np.array(["größe 😀".encode()], dtype=object))
    assert client.infer("texts", [words]).as_numpy("label").tolist() == [b"one"]  # 7 characters
    words.set_data_from_numpy(np.array([b""], dtype=object))
    for call, sentence in (
        (lambda: client.infer("texts", [words]), "input 0 is empty. Leave empty texts out."),
        (lambda: client.infer("nobody", [words]), "There is no model 'nobody' here. Served are: texts."),
        (lambda: client.get_inference_statistics("texts"), "GET '/v2/models/texts/stats': Not Found."),
        (lambda: ask([1], request_compression_algorithm="gzip"), "The body is compressed"),
    ):
        with pytest.raises(Exception) as refusal:
            call()
        assert sentence in str(refusal.value)

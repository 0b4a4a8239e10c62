"""Whatever arrives: a 4xx with a sentence in its path's shape, and the next good request is answered."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fakes import png
from tests.unit.test_serving_app import SERVE, Server

JSON = {"content-type": "application/json"}
TENSOR = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    small = SERVE.model_copy(update={"megabytes": 1})
    server = Server(tmp_path_factory.mktemp("journal"), small)
    server.fleet.start()
    yield server
    server.fleet.close()


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    """The answer is a refusal of this status whose sentence has these words."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    if answer.request.url.path.startswith("/v2"):
        assert set(answer.json()) == {"error"}
        message = error
    else:
        assert set(answer.json()) in ({"error"}, {"error", "id", "model_version", "contract", "predictions"})
        assert set(error) == {"message", "action"}
        message = error["message"]
    assert len(message) > 10
    for word in words:
        assert word in message, message


def still_answers(server: Server) -> None:
    assert server.post("/predict/texts", {"inputs": ["a"]}).status_code == 200
    good = base64.b64encode(png()).decode()
    assert server.post("/predict/images", {"inputs": [good]}).status_code == 200


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes whose header promises gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def noise() -> bytes:
    file = io.BytesIO()
    Image.frombytes("L", (64, 64), random.Random(0).randbytes(4096)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        pytest.param(bomb(), ["input 1", "pixels"], id="decompression bomb"),
        pytest.param(noise()[:2000], ["input 1", "damaged"], id="truncated PNG"),
        pytest.param(b"GIF8", ["input 1"], id="a header alone"),
        pytest.param(b"no picture", ["input 1", "image file"], id="text"),
        pytest.param(b"", ["empty"], id="nothing"),
    ],
)
def test_bad_pictures_are_refused_by_their_place(server: Server, picture: bytes, words: list[str]) -> None:
    inputs = [base64.b64encode(one).decode() for one in (png(), picture)]
    as_base64 = server.post("/predict/images", {"inputs": inputs})
    as_files = server.request("POST", "/predict/images", files=[("f", png()), ("f", picture)])
    for answer in (as_base64, as_files):
        assert answer.status_code == 200
        good, bad = answer.json()["predictions"]
        assert good["label"]
        assert all(word in bad["error"]["message"] for word in words), bad
    tensor = {"name": "input", "shape": [2], "datatype": "BYTES", "data": inputs}
    refused(server.post("/v2/models/images/infer", {"inputs": [tensor]}), 422, *words)
    still_answers(server)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(b"", 400, ["not JSON"], id="no body"),
        pytest.param(b"{", 400, ["not JSON"], id="half an object"),
        pytest.param(b"\xff\xfe", 400, ["not JSON"], id="not UTF-8"),
        pytest.param(b'{"inputs": ["\\ud800"]}', 400, ["not JSON", "surrogate"], id="a lone surrogate, escaped"),
        pytest.param(b'{"inputs": ["\xed\xa0\x80"]}', 400, ["not JSON"], id="a lone surrogate, encoded"),
        pytest.param(b'{"inputs": ["a\\u0000b"]}', 422, ["input 0 has a NUL"], id="a NUL byte, escaped"),
        pytest.param(b'{"inputs": ["a\x00b"]}', 400, ["not JSON"], id="a NUL byte"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, 400, ["recursion"], id="100,000 brackets"),
        pytest.param(b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, ["recursion"], id="brackets inside"),
        pytest.param(b'{"inputs": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, 400, ["recursion"], id="braces"),
        pytest.param(b"[" * 100_000, 400, ["not JSON"], id="100,000 brackets never closed"),
        pytest.param(b"9" * 100_000, 400, ["not JSON", "out of range"], id="a number of 100,000 digits"),
        pytest.param(b"null", 422, ["The body is null; an object was expected"], id="null"),
        pytest.param(b"[]", 422, ["The body is an array; an object was expected"], id="an array"),
        pytest.param(b"{}", 422, ["inputs is missing"], id="no inputs"),
        pytest.param(b'{"inputs": "a"}', 422, ["inputs is a string; an array was expected"], id="one string"),
        pytest.param(b'{"inputs": null}', 422, ["inputs is null; an array was expected"], id="null for inputs"),
        pytest.param(b'{"inputs": []}', 422, ["not one item"], id="an empty batch"),
        pytest.param(b'{"inputs": [7, "  "]}', 422, ["inputs[0] is a number; a string was expected"], id="a number"),
        pytest.param(b'{"inputs": [["a"]]}', 422, ["inputs[0] is an array"], id="two dimensions"),
        pytest.param(b'{"inputs": [1e999]}', 422, ["inputs[0] is a number"], id="infinity"),
        pytest.param(b'{"inputs": ["a"], "input": 1}', 422, ["input is not known here"], id="an unknown key"),
        pytest.param(b'{"inputs": ["a"], "id": "two words"}', 422, ["id"], id="an id with a space"),
        pytest.param(b'{"inputs": ["a"], "id": "' + b"x" * 129 + b'"}', 422, ["id"], id="an id too long"),
        pytest.param(b'{"inputs": [" "]}', 422, ["input 0 is empty"], id="a text of spaces"),
        pytest.param(b'{"inputs": ["' + b"a" * 1001 + b'"]}', 422, ["1001 characters"], id="a text too long"),
        pytest.param(json.dumps({"inputs": ["a"] * 10_000}).encode(), 413, ["10000", "1024"], id="10,000 items"),
    ],
)
def test_bad_bodies_of_texts_are_refused(server: Server, body: bytes, status: int, words: list[str]) -> None:
    refused(server.request("POST", "/predict/texts", content=body, headers=JSON), status, *words)
    still_answers(server)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("not base64!", ["inputs[0] is not base64"], id="other letters"),
        pytest.param("aGVsbG8", ["not base64"], id="wrong padding"),
        pytest.param("äöü", ["not base64"], id="not ASCII"),
        pytest.param("data:image/png;base64,aGVsbG8=", ["not base64"], id="a data URL"),
        pytest.param("/etc/passwd", ["not base64"], id="a path"),
        pytest.param("http://169.254.169.254/latest/meta-data", ["not base64"], id="an address"),
    ],
)
def test_bad_base64_is_refused_by_its_place(server: Server, value: str, words: list[str]) -> None:
    refused(server.post("/predict/images", {"inputs": [value]}), 422, *words)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param({"inputs": []}, ["exactly one, named 'input'"], id="no tensor"),
        pytest.param({"inputs": [TENSOR, TENSOR]}, ["exactly one, named 'input'"], id="two tensors"),
        pytest.param({"inputs": [TENSOR | {"name": "x"}]}, ["['x']"], id="another name"),
        pytest.param(
            {"inputs": [TENSOR | {"datatype": "FP32"}]}, ["'FP32'; BYTES was expected"], id="another datatype"
        ),
        pytest.param({"inputs": [TENSOR | {"shape": [2]}]}, ["shape is [2]", "1 elements"], id="another shape"),
        pytest.param({"inputs": [TENSOR | {"shape": [1, 2]}]}, ["shape is [1, 2]"], id="two dimensions"),
        pytest.param({"inputs": [TENSOR | {"shape": [-1]}]}, ["shape is [-1]"], id="a negative shape"),
        pytest.param({"inputs": [TENSOR | {"shape": ["1"]}]}, ["inputs[0].shape[0] is a string"], id="a string in it"),
        pytest.param({"inputs": [TENSOR | {"shape": [0], "data": []}]}, ["not one item"], id="an empty batch"),
        pytest.param({"inputs": [TENSOR | {"data": [[1]]}]}, ["inputs[0] is a number"], id="a number"),
        pytest.param({"inputs": [TENSOR | {"data": [["a", "b"]]}]}, ["inputs[0] is an array"], id="a row of two"),
        pytest.param({"inputs": [TENSOR | {"data": None}]}, ["no data"], id="no data"),
        pytest.param(
            {"inputs": [TENSOR | {"parameters": {"binary_data_size": 5}}]}, ["both in JSON and in binary"], id="both"
        ),
        pytest.param(
            {"inputs": [TENSOR], "outputs": [{"name": "label", "parameters": {"classification": 2}}]},
            ["classification"],
            id="an extension that is not spoken",
        ),
        pytest.param({"inputs": [{"name": "input"}]}, ["inputs[0].shape is missing"], id="nothing but a name"),
        pytest.param({"inputs": [TENSOR], "outputs": [{"name": "x"}]}, ["no output 'x'"], id="an unknown output"),
    ],
)
def test_bad_requests_of_the_protocol_are_refused(server: Server, document: Any, words: list[str]) -> None:
    refused(server.post("/v2/models/texts/infer", document), 422, *words)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param([], ["not one item"], id="an empty list"),
        pytest.param({"label": "one"}, ["id is missing"], id="no id"),
        pytest.param([{"id": "a", "label": "one"}, {"id": "a"}], ["[1].label is missing"], id="no label in a list"),
        pytest.param({"id": "a", "label": 1}, ["label is a number; a string was expected"], id="a number as label"),
        pytest.param({"id": "a", "label": "x", "index": -1}, ["index is -1"], id="a negative index"),
        pytest.param({"id": "a", "label": "x", "index": 2**31}, ["index is 2147483648"], id="an index too large"),
        pytest.param({"id": "a", "label": "x", "index": 10**30}, ["index is"], id="an index far too large"),
        pytest.param({"id": "a", "label": "x", "index": True}, ["index is a boolean"], id="a boolean as index"),
    ],
)
def test_bad_feedback_is_refused(server: Server, document: Any, words: list[str]) -> None:
    refused(server.post("/feedback/texts", document), 422, *words)


def test_more_feedback_than_inputs_allowed_is_refused(server: Server) -> None:
    refused(server.post("/feedback/texts", [{"id": "a", "label": "x"}] * 1025), 413, "1025 items; at most 1024")


@pytest.mark.parametrize(
    "path",
    [
        "/predict/no",
        "/predict/%00",
        "/predict/..\\texts",
        "/predict/%F0%9F",
        "/feedback/no",
        "/v2/models/no/infer",
    ],
)
def test_unknown_models_are_404_with_those_that_are_served(server: Server, path: str) -> None:
    answer = server.post(path, {"inputs": ["a"]})
    refused(answer, 404, "There is no model")
    assert "Served are: images, texts." in answer.text


def test_unknown_versions_are_404(server: Server) -> None:
    refused(server.post("/v2/models/texts/versions/2/infer", {"inputs": [TENSOR]}), 404, "Version '2' of texts")
    refused(server.request("GET", "/v2/models/texts/versions/2/ready"), 404)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/predict/texts", 405), ("GET", "/nothing", 404)])
def test_unknown_paths_and_methods_have_the_one_shape(server: Server, method: str, path: str, status: int) -> None:
    refused(server.request(method, path), status, path)


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        pytest.param({"content-type": "text/plain"}, 415, ["'text/plain' arrived"], id="another content type"),
        pytest.param({}, 415, ["no Content-Type arrived"], id="no content type"),
        pytest.param({"content-type": "é/ü"}, 415, ["arrived"], id="a content type beyond ASCII"),
        pytest.param(JSON | {"content-encoding": "gzip"}, 415, ["compressed"], id="a compressed body"),
        pytest.param({"content-type": "multipart/form-data"}, 400, ["no boundary"], id="multipart without boundary"),
        pytest.param({"content-type": "multipart/form-data; boundary=x"}, 400, ["multipart"], id="not multipart"),
        pytest.param({"content-type": f"multipart/form-data; boundary={'x' * 999}"}, 400, ["70"], id="a long boundary"),
        pytest.param(JSON | {"content-length": "9" * 5000}, 413, ["larger than 1 MB"], id="a length of 5,000 digits"),
    ],
)
def test_bad_headers_are_refused(server: Server, headers: dict[str, str], status: int, words: list[str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = server.request("POST", "/predict/texts", content=b'{"inputs": ["a"]}', headers=encoded)
    refused(answer, status, *words)


KEYS = st.sampled_from(["inputs", "id", "label", "index", "outputs", "name", "shape", "datatype", "data"]) | st.text(
    max_size=5
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)
PATHS = [
    "/predict/texts",
    "/predict/images",
    "/feedback/texts",
    "/v2/models/texts/infer",
    "/v2/models/images/versions/3/infer",
]


@settings(deadline=None, max_examples=120)
@given(
    body=BODIES,
    path=st.sampled_from(PATHS),
    kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "text/plain", ""]),
)
def test_no_body_whatever_is_answered_with_5xx(server: Server, body: bytes, path: str, kind: str) -> None:
    answer = server.request("POST", path, content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        refused(answer, answer.status_code)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_near_miss_of_a_good_body_is_answered_with_5xx(server: Server, data: st.DataObject) -> None:
    """Bytes of good requests are cut, doubled and replaced: what random bytes never come near to."""
    good = base64.b64encode(png()).decode()
    part = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\na\r\n--x--\r\n'
    path, kind, body = data.draw(
        st.sampled_from(
            [
                (PATHS[0], "application/json", json.dumps({"inputs": ["a", "é"], "id": "b"}).encode()),
                (PATHS[1], "application/json", json.dumps({"inputs": [good]}).encode()),
                (PATHS[2], "application/json", json.dumps([{"id": "a", "index": 1, "label": "b"}]).encode()),
                (PATHS[3], "application/json", json.dumps({"inputs": [TENSOR]}).encode()),
                (PATHS[0], "multipart/form-data; boundary=x", part),
            ]
        )
    )
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 8)))
    body = body[:start] + data.draw(st.binary(max_size=8)) * data.draw(st.integers(0, 3)) + body[end:]
    answer = server.request("POST", path, content=body, headers={"content-type": kind})
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text


def test_after_all_that_the_workers_live(server: Server) -> None:
    still_answers(server)

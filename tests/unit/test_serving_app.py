"""The application's endpoints over a fake predictor: what they answer, journal and count."""

import asyncio
import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from headstart.contract.spec import Contract
from headstart.journal import reader
from headstart.journal.writer import Journal
from headstart.params.operation import Journal as JournalParams
from headstart.params.operation import Serve
from headstart.serving.app import create_app
from headstart.serving.fleet import Fleet, Slot
from headstart.serving.models import LoadedModel
from headstart.serving.plausibility import Plausibility, Range
from headstart.serving.watcher import ReloadWatcher
from tests.fakes import IMAGE, LABELS, TEXT, Clock, FakePredictor, golden_of, png

SERVE = Serve(items=1024, megabytes=16, batch=8, queue=4096, timeout_s=5.0, requests_a_minute=0)
JOURNAL = JournalParams(
    flush_s=0.02, seal_minutes=5.0, seal_megabytes=64, raw="sampled", raw_share=1.0, raw_days=30, features=1000
)
ODD = {"texts": Plausibility({"length": Range(1.0, 50.0, 0.5, 100.0)}), "images": Plausibility({})}
EVER = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}


class Server:
    """A fleet of a text and an image model, asked in this process."""

    def __init__(self, folder: Path, serve: Serve = SERVE) -> None:
        self.clock = Clock()
        self.folder = folder
        self.predictors = {"texts": FakePredictor(TEXT), "images": FakePredictor(IMAGE)}
        golden: dict[str, str | bytes] = {"texts": "golden", "images": png()}
        models = {
            name: LoadedModel(name, 3, one, golden_of(one, golden[name]), 1e-4, f"{name} 3", ODD[name])
            for name, one in self.predictors.items()
        }
        slots = {name: Slot(serve, Journal(folder / name, JOURNAL, clock=self.clock, key=b"key")) for name in models}
        self.fleet = Fleet(models, slots, workers=2)
        self.app = create_app(self.fleet, clock=self.clock)

    def request(self, method: str, path: str, **content: Any) -> httpx.Response:
        return ask(self.app, method, path, **content)

    def post(self, path: str, document: Any) -> httpx.Response:
        return self.request("POST", path, json=document)

    def answers(self, name: str, *, refusals: bool = False) -> list[dict[str, Any]]:
        return list(reader.read(self.folder / name, **EVER, refusals=refusals).to_pylist())


def ask(app: FastAPI, method: str, path: str, **content: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **content)

    return asyncio.run(send())


def loaded(name: str, contract: Contract, version: int) -> LoadedModel:
    predictor = FakePredictor(contract)
    return LoadedModel(name, version, predictor, golden_of(predictor, "golden"), 1e-4, bundle=f"{name} {version}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.fleet.start()
    yield server
    server.fleet.close()


def test_predictions_come_in_the_order_of_the_inputs(server: Server) -> None:
    answer = server.post("/predict/texts", {"inputs": ["abc", "a", "ab"], "id": "mine"})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["id"], document["model_version"], document["contract"]) == ("mine", "3", TEXT.hash)
    assert [one["label"] for one in document["predictions"]] == ["zero", "one", "two"]  # length modulo 3
    (first, *_) = document["predictions"]
    assert first["probability"] == pytest.approx(1.0)
    assert first["probabilities"] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_an_id_is_made_where_none_is_given(server: Server) -> None:
    ids = {server.post("/predict/texts", {"inputs": ["a"]}).json()["id"] for _ in range(3)}
    assert len(ids) == 3


def test_images_travel_as_base64_or_as_files(server: Server) -> None:
    picture = png()
    as_base64 = server.post("/predict/images", {"inputs": [base64.b64encode(picture).decode()] * 2})
    as_files = server.request("POST", "/predict/images", files=[("a", picture), ("b", picture)])
    assert as_base64.status_code == as_files.status_code == 200
    assert as_base64.json()["predictions"] == as_files.json()["predictions"]


def test_texts_travel_as_files_too(server: Server) -> None:
    answer = server.request("POST", "/predict/texts", files=[("a", "é".encode())])
    assert answer.json()["predictions"][0]["label"] == "one"


def test_the_protocol_describes_server_and_model(server: Server) -> None:
    assert server.request("GET", "/v2").json()["name"] == "headstart"
    assert server.request("GET", "/v2/health/live").json() == {"live": True}
    assert server.request("GET", "/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/texts", "/v2/models/texts/versions/3"):
        document = server.request("GET", path).json()
        assert (document["name"], document["versions"]) == ("texts", ["3"])
        assert document["inputs"] == [{"name": "input", "datatype": "BYTES", "shape": [-1]}]
        assert document["outputs"][2] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
        assert document["parameters"]["labels"] == list(LABELS)
        assert server.request("GET", f"{path}/ready").json() == {"name": "texts", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/texts/infer", "/v2/models/texts/versions/3/infer"])
def test_the_protocol_infers(server: Server, path: str) -> None:
    tensor = {"name": "input", "shape": [2], "datatype": "BYTES", "data": ["a", "ab"]}
    document = server.post(path, {"id": "mine", "inputs": [tensor]}).json()
    assert {key: document[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "texts", "model_version": "3", "id": "mine",
    }  # fmt: skip
    label, probability, probabilities = document["outputs"]
    assert label == {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["one", "two"]}
    assert (probability["shape"], probability["datatype"]) == ([2], "FP32")
    assert probabilities["shape"] == [2, 3]
    assert probabilities["data"] == pytest.approx([0, 1, 0, 0, 0, 1], abs=1e-6)


def test_the_protocol_gives_only_the_outputs_asked_for(server: Server) -> None:
    tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"], "parameters": {"content_type": "str"}}
    wanted = [{"name": "probability"}, {"name": "label"}]
    document = server.post("/v2/models/texts/infer", {"inputs": [tensor], "outputs": wanted}).json()
    assert [output["name"] for output in document["outputs"]] == ["probability", "label"]


def test_every_answer_is_journalled_with_what_was_asked(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["abc", "a"], "id": "mine"})
    server.fleet.close()
    first, second = server.answers("texts")
    assert [(row["request_id"], row["index"], row["label"]) for row in (first, second)] == [
        ("mine", 0, "zero"), ("mine", 1, "one"),
    ]  # fmt: skip
    assert (first["time"], first["model"], first["version"], first["role"]) == (server.clock(), "texts", 3, "champion")
    assert (first["contract"], first["raw"], first["property/length"]) == (TEXT.hash, b"abc", 3.0)
    assert first["features"] == [1.0, 1.0]
    assert first["latency_ms"] > 0


def test_a_refused_input_has_its_error_in_its_place_and_the_others_are_answered(server: Server) -> None:
    answer = server.post("/predict/texts", {"inputs": ["abc", "", 7, "ab"], "id": "mine"})
    assert answer.status_code == 200
    first, empty, number, last = answer.json()["predictions"]
    assert (first["label"], last["label"]) == ("zero", "two")
    assert empty == {"error": {"message": "input 1 is empty.", "action": "Leave empty texts out."}}
    assert number["error"]["message"] == "inputs[2] is a number; a string was expected."


def test_the_places_in_errors_are_those_of_the_request(server: Server) -> None:
    """What the server refuses itself never reaches the model: the model counts without it."""
    (_, number, empty) = server.post("/predict/texts", {"inputs": ["abc", None, " "]}).json()["predictions"]
    assert number["error"]["message"].startswith("inputs[1] is null")
    assert empty["error"]["message"].startswith("input 2 is empty")


@pytest.mark.parametrize("inputs", [["", " "], [7, 8]], ids=["by the contract", "before it"])
def test_a_request_of_which_nothing_is_answered_is_a_422_with_every_error(server: Server, inputs: list[Any]) -> None:
    answer = server.post("/predict/texts", {"inputs": inputs})
    assert answer.status_code == 422
    document = answer.json()
    assert [set(one) for one in document["predictions"]] == [{"error"}, {"error"}]
    assert document["error"] == document["predictions"][0]["error"]


def test_every_refused_input_leaves_a_row(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["abc", "", 7], "id": "some"})
    server.post("/predict/texts", {"inputs": [" "], "id": "none"})
    server.post("/predict/images", {"inputs": ["no base64!"], "id": "image"})
    tensor = {"name": "input", "shape": [2], "datatype": "BYTES", "data": ["a", ""]}
    assert server.post("/v2/models/texts/infer", {"id": "whole", "inputs": [tensor]}).status_code == 422
    server.fleet.close()
    rows = {(row["request_id"], row["index"]): row for row in server.answers("texts", refusals=True)}
    assert {key: row["status"] for key, row in rows.items()} == {
        ("some", 0): 200, ("some", 1): 422, ("some", 2): 422, ("none", 0): 422, ("whole", 1): 422,
    }  # fmt: skip
    refused = rows["some", 1]
    assert refused["reason"] == "input 1 is empty."
    assert {refused[name] for name in ("label", "probability", "probabilities", "property/length")} == {None}
    assert (refused["version"], refused["bundle"], refused["raw"]) == (3, "texts 3", b"")
    assert rows["none", 0]["raw"] == b" "
    (image,) = server.answers("images", refusals=True)
    assert (image["status"], image["raw"]) == (422, b"no base64!")
    assert "no base64!" not in image["reason"]  # raw inputs may not be kept, reasons are


def test_rows_say_which_bundle_answered_whom_about_what(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["same", "same", "other"], "client": "till 7"})
    server.request("POST", "/predict/texts", json={"inputs": ["same"]}, headers={"user-agent": "x" * 999})
    server.fleet.close()
    rows = server.answers("texts")
    assert {row["bundle"] for row in rows} == {"texts 3"}
    assert sorted(str(row["client"]) for row in rows) == ["till 7"] * 3 + ["x" * 200]
    assert len({row["input_hash"] for row in rows}) == 2


def test_an_odd_input_is_answered_with_a_warning_and_counted(server: Server) -> None:
    usual, odd, dots = server.post("/predict/texts", {"inputs": ["ab", "ab" * 51, "..."]}).json()["predictions"]
    assert "warnings" not in usual
    assert odd["warnings"] == ["The length is 102; 1 to 50 is usual for this model."]
    assert dots["warnings"] == ["The text has no letter, digit or symbol."]
    page = server.request("GET", "/metrics").text
    assert 'headstart_implausible_inputs_total{model="texts",version="3"} 2.0' in page


def test_refused_inputs_are_counted(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["ab", ""]})
    assert 'headstart_refused_inputs_total{model="texts",version="3"} 1.0' in server.request("GET", "/metrics").text


def test_a_label_that_looks_like_a_class_counts_as_that_class(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["a"], "id": "mine"})
    answer = server.post("/feedback/texts", {"id": "mine", "label": " tw\u00ado\u200b"})
    assert answer.json() == {"accepted": 1, "new_labels": [], "did_you_mean": {}, "unknown_ids": []}
    server.fleet.close()
    assert reader.labels(server.folder / "texts")["label"].to_pylist() == ["two"]


def test_a_label_that_is_almost_a_class_is_kept_and_the_class_named(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["a"], "id": "mine"})
    answer = server.post("/feedback/texts", {"id": "mine", "label": "Twoo"}).json()
    assert answer["new_labels"] == ["Twoo"] and answer["did_you_mean"] == {"Twoo": "two"}


def test_feedback_joins_the_answers_it_is_about(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["a", "ab"], "id": "mine"})
    one = server.post("/feedback/texts", {"id": "mine", "label": "two"})
    many = server.post("/feedback/texts", [{"id": "mine", "index": 1, "label": "three"}])
    assert one.json() == {"accepted": 1, "new_labels": [], "did_you_mean": {}, "unknown_ids": []}
    assert many.json() == {"accepted": 1, "new_labels": ["three"], "did_you_mean": {}, "unknown_ids": []}
    server.fleet.close()
    folder = server.folder / "texts"
    joined = reader.with_truth(reader.read(folder, **EVER), reader.labels(folder))
    assert joined["truth"].to_pylist() == ["two", "three"]


def test_feedback_for_ids_that_were_never_answered_is_kept_and_said(server: Server) -> None:
    items = [{"id": "slip", "label": "two"}, {"id": "slip", "index": 1, "label": "two"}]
    assert server.post("/feedback/texts", items).json()["unknown_ids"] == ["slip"]
    assert 'headstart_feedback_unknown_ids_total{model="texts"} 1.0' in server.request("GET", "/metrics").text
    server.fleet.close()
    assert reader.labels(server.folder / "texts").num_rows == 2


def test_feedback_for_an_input_that_was_never_asked_is_refused_and_nothing_of_it_kept(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["a", "ab"], "id": "mine"})
    items = [{"id": "mine", "label": "two"}, {"id": "mine", "index": 7, "label": "two"}, {"id": "slip", "label": "two"}]
    answer = server.post("/feedback/texts", items)
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert message == "item 1: there is no input 7 in request 'mine', which had 2: 0 to 1 can have a label."
    server.fleet.close()
    assert reader.labels(server.folder / "texts").num_rows == 0


def test_feedback_for_a_refused_input_is_about_a_known_request(server: Server) -> None:
    server.post("/predict/texts", {"inputs": [""], "id": "mine"})
    assert server.post("/feedback/texts", {"id": "mine", "label": "two"}).json()["unknown_ids"] == []


def test_a_cold_fleet_is_alive_and_not_ready(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert server.request("GET", "/v2/health/live").status_code == 200
    assert server.request("GET", "/v2/health/ready").json() == {"ready": False}
    for path in ("/health", "/v2/health/ready", "/v2/models/texts/ready"):
        assert server.request("GET", path).status_code == 503, path
    refusal = server.post("/predict/texts", {"inputs": ["a"]})
    assert (refusal.status_code, refusal.headers["retry-after"]) == (503, "1")
    server.fleet.start()
    assert server.request("GET", "/health").json()["versions"] == {"texts": 3, "images": 3}
    server.fleet.close()


def test_metrics_count_requests_answers_and_the_journal(server: Server) -> None:
    server.post("/predict/texts", {"inputs": ["a", "ab"]})
    server.post("/predict/nobody", {"inputs": ["a"]})
    until(lambda: server.fleet.journal("texts").health.written == 2)
    page = server.request("GET", "/metrics").text
    for line in (
        'headstart_requests_total{endpoint="predict",model="texts",status="200"} 1.0',
        'headstart_requests_total{endpoint="predict",model="unknown",status="404"} 1.0',
        'headstart_answers_total{model="texts",version="3"} 2.0',
        'headstart_journal_rows_written_total{model="texts"} 2.0',
        'headstart_journal_failing{model="texts"} 0.0',
        'headstart_model_version{model="texts"} 3.0',
        'headstart_queue_limit{model="texts"} 4096.0',
        "process_resident_memory_bytes ",
    ):
        assert line in page


def test_the_server_answers_on_while_the_journals_disk_refuses(server: Server) -> None:
    (server.folder / "texts").mkdir(exist_ok=True)
    (server.folder / "texts" / "answers").write_text("a file where the folder should be")
    assert server.post("/predict/texts", {"inputs": ["a"]}).status_code == 200
    until(lambda: server.fleet.journal("texts").health.trouble is not None)
    assert server.post("/predict/texts", {"inputs": ["a"]}).status_code == 200
    page = server.request("GET", "/metrics").text
    assert 'headstart_journal_failing{model="texts"} 1.0' in page
    assert "the disk refuses" in server.request("GET", "/health").json()["journal_troubles"]["texts"]
    server.fleet.close()
    page = server.request("GET", "/metrics").text
    assert 'headstart_journal_rows_lost_total{model="texts"} 2.0' in page


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE.model_copy(update={"queue": 4}))
    server.fleet.start()
    refusal = server.post("/predict/texts", {"inputs": ["a"] * 5})
    assert (refusal.status_code, refusal.headers["retry-after"]) == (503, "1")
    assert "4 may" in refusal.json()["error"]["message"]
    server.fleet.close()


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE.model_copy(update={"timeout_s": 0.05}))
    server.fleet.start()
    server.predictors["texts"].seconds = 0.3
    refusal = server.post("/predict/texts", {"inputs": ["a"]})
    assert refusal.status_code == 503
    assert "No answer within 0.05 s" in refusal.json()["error"]["message"]
    server.fleet.close()
    assert server.answers("texts") == []


def test_a_bug_in_the_model_is_a_500_and_kills_no_worker(server: Server) -> None:
    server.predictors["texts"].broken = RuntimeError("the network broke")
    for _ in range(4):
        refusal = server.post("/predict/texts", {"inputs": ["a"]})
        assert refusal.status_code == 500
        assert "the network broke" not in refusal.text
    server.predictors["texts"].broken = None
    assert server.post("/predict/texts", {"inputs": ["a"]}).status_code == 200


def test_a_new_champion_takes_over_without_a_request_lost(server: Server) -> None:
    server.predictors["texts"].seconds = 0.002
    champion = {"texts": 3, "images": 3}
    watcher = ReloadWatcher(
        server.fleet, champion=champion.__getitem__, load=lambda name: loaded(name, TEXT, champion[name]), every_s=60.0
    )
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.post, "/predict/texts", {"inputs": ["a", "ab"]}) for _ in range(40)]
        champion["texts"] = 4
        assert watcher.refresh() == ["texts"]
        asked += [pool.submit(server.post, "/predict/texts", {"inputs": ["a"]}) for _ in range(10)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model_version"] for answer in answers[-10:]} == {"4"}
    assert server.request("GET", "/v2/models/texts/versions/3").status_code == 404
    assert watcher.refresh() == []


def test_a_champion_that_cannot_be_loaded_changes_nothing_and_is_counted(server: Server) -> None:
    def load(name: str) -> LoadedModel:
        raise OSError("the registry is gone")

    watcher = ReloadWatcher(server.fleet, champion=lambda name: 4, load=load, every_s=60.0)
    assert watcher.refresh() == []
    assert server.post("/predict/texts", {"inputs": ["a"]}).json()["model_version"] == "3"
    assert 'headstart_reload_failures_total{model="texts"} 1.0' in server.request("GET", "/metrics").text


def test_the_description_names_every_path_and_resolves(server: Server) -> None:
    document = server.request("GET", "/openapi.json").json()
    assert set(document["paths"]) == {
        "/health", "/metrics", "/predict/{name}", "/verify/{name}", "/feedback/{name}", "/v2", "/v2/health/live",
        "/v2/health/ready", "/v2/models/{name}", "/v2/models/{name}/ready", "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}", "/v2/models/{name}/versions/{version}/ready",
        "/v2/models/{name}/versions/{version}/infer", "/v2/repository/index", "/v2/models/{name}/config",
        "/v2/models/{name}/versions/{version}/config", "/rollout/{name}/verdict",
    }  # fmt: skip
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert server.request("GET", "/docs").status_code == 200


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def until(true: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)

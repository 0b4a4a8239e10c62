"""A champion in production: asked over a socket, journalled, watched, rolled back, and read by others."""

import base64
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from headstart.artifacts import read_json
from headstart.cli import rank
from tests.conftest import HEADSTART
from tests.tiny.workspace import TOPICS, write_topics

pytestmark = pytest.mark.slow
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(finished) -> Iterator[str]:
    """`headstart serve` on a free port."""
    process = subprocess.Popen(
        [str(HEADSTART), "serve", "--port", "0", "--json"],
        cwd=finished,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def test_a_text_is_answered_as_the_bundle_answers_it(finished, server, headstart):
    text = "the baban came with deden 12"
    answer = httpx.post(f"{server}/predict/topics", json={"inputs": [text]}).json()
    [offline] = headstart(finished, "predict", "topics", text, "--json").document
    [served] = answer["predictions"]
    assert (served["label"], answer["model_version"]) == (offline["label"], "1")
    assert served["probability"] == pytest.approx(offline["probability"], abs=1e-6)


def test_an_image_is_taken_as_a_file_and_by_the_open_inference_protocol(finished, server):
    path = next((finished / "sources/bars/lying").iterdir())
    with path.open("rb") as file:
        by_file = httpx.post(f"{server}/predict/bars", files={"file": file}).json()["predictions"][0]
    payload = base64.b64encode(path.read_bytes()).decode()
    tensor = {"name": "input", "datatype": "BYTES", "shape": [1], "data": [payload]}
    outputs = httpx.post(f"{server}/v2/models/bars/infer", json={"inputs": [tensor]}).json()["outputs"]
    by_name = {output["name"]: output for output in outputs}
    assert by_name["label"]["data"] == [by_file["label"]]
    assert by_name["probabilities"]["shape"] == [1, 3]


def test_a_label_that_comes_later_is_joined_to_its_answer(finished, server):
    from headstart.journal import reader
    from headstart.settings import Workspace

    answer = httpx.post(f"{server}/predict/topics", json={"inputs": ["basak and gosak"], "id": "late-1"})
    assert answer.status_code == 200
    told = httpx.post(f"{server}/feedback/topics", json={"id": "late-1", "label": "kitchen"})
    assert told.status_code == 200
    journal = Workspace(finished).journal("topics")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        now = datetime.now(UTC)
        answers = reader.read(journal, start=now - timedelta(hours=1), end=now + timedelta(minutes=1))
        rows = reader.with_truth(answers, reader.labels(journal)).to_pylist()
        if [row["truth"] for row in rows if row["request_id"] == "late-1"] == ["kitchen"]:
            return
        time.sleep(0.2)
    pytest.fail("the label was not joined within ten seconds")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"inputs": []}', b'{"inputs": ["\\ud800"]}', b"\x00", b""])
def test_bad_input_is_the_callers_fault_and_the_server_lives_on(server, body):
    answer = httpx.post(f"{server}/predict/topics", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]
    assert httpx.get(f"{server}/health").status_code == 200


def questions(folder: Path, rows: int, seed: int) -> dict[str, list[str]]:
    """Fresh texts by topic, drawn as the data set was: repeating a few test rows would be a shift of its own."""
    write_topics(folder / f"{seed}.csv", rows=rows, seed=seed)
    with (folder / f"{seed}.csv").open() as file:
        written = list(csv.DictReader(file))
    return {topic: [row["text"] for row in written if row["label"] == topic] for topic in TOPICS}


def journalled(workspace: Path, model: str, inputs: list[str], start: datetime, *, version: int = 1) -> None:
    """An hour of the champion's answers, as a server would have journalled them."""
    from headstart import settings
    from headstart.journal.schema import Answer
    from headstart.journal.writer import Journal
    from headstart.params.loader import load
    from headstart.predictor import Predictor

    space = settings.Workspace(workspace)
    predictor = Predictor.load(workspace / f"artifacts/models/{model}/bundle")
    moments = [start + timedelta(seconds=at * 3000 / len(inputs)) for at in range(len(inputs))]
    journal = Journal(space.journal(model), load(space.params).models[model].journal, clock=lambda: moments[-1])
    properties = predictor.preprocessor.properties(inputs)
    logits, features, _ = predictor.outputs(inputs)
    answers = [
        Answer(
            request_id=f"{start:%d%H}-{at}",
            index=0,
            time=moment,
            model=model,
            version=version,
            role="champion",
            contract=predictor.contract.hash,
            label=prediction.label,
            probability=prediction.probability,
            probabilities=prediction.probabilities,
            properties=seen,
            features=kept,
            raw=None,
            latency_ms=1.0,
        )
        for at, (moment, prediction, seen, kept) in enumerate(
            zip(moments, predictor.predictions(logits), properties, features, strict=True)
        )
    ]
    journal.record(answers)
    journal.close()


def test_a_clean_hour_raises_no_alarm_and_a_tripled_class_does(finished, headstart, tmp_path):
    clean = questions(tmp_path, 240, seed=4)
    journalled(finished, "topics", [text for texts in clean.values() for text in texts], NOON - timedelta(minutes=55))
    many = questions(tmp_path, 600, seed=5)
    shifted = many["weather"][:22] + many["kitchen"][:22] + many["travel"]
    journalled(finished, "topics", shifted, NOON + timedelta(hours=2, minutes=5))

    quiet = headstart(finished, "monitor", "topics", "--now", NOON.isoformat(), "--json")
    assert quiet.status == 0, quiet.err
    assert quiet.document["topics"]["verdict"] == "ok"

    loud = headstart(finished, "monitor", "topics", "--now", (NOON + timedelta(hours=3)).isoformat(), "--json")
    assert loud.status == 1, loud.err
    result = loud.document["topics"]
    assert result["verdict"] == "alert"
    assert "predicted_classes" in {finding["check"] for finding in result["findings"] if finding["verdict"] == "fail"}
    page = Path(result["page"])
    assert page.is_file() and page.with_suffix(".json").is_file()


def test_too_small_a_window_is_unsure(finished, headstart):
    answer = headstart(finished, "monitor", "bars", "--now", NOON.isoformat(), "--json")
    assert answer.status == 0, answer.err
    assert answer.document["bars"]["verdict"] == "unsure"


def test_others_load_the_champion_with_mlflow_alone(finished, tmp_path):
    script = (
        "import sys, mlflow, pandas as pd\n"
        f"mlflow.set_tracking_uri('sqlite:///{finished}/state/mlflow.db')\n"
        "sys.modules['torch'] = None\n"
        "model = mlflow.pyfunc.load_model('models:/topics@champion')\n"
        "print(model.predict(pd.DataFrame({'text': ['the baban came with deden 12']}))['label'][0])\n"
        "import headstart; print(headstart.__file__)"
    )
    # MLflow writes the registry that a process opened into its environment, and children inherit it
    theirs = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env={**theirs, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "weather"


def test_doctor_finds_nothing_to_mend(finished, headstart):
    answer = headstart(finished, "doctor", "--json")
    assert answer.status == 0, answer.out
    assert answer.document["tracking_uri"] == f"sqlite:///{finished}/state/mlflow.db"


def test_status_knows_the_champion_and_its_contract(finished, headstart):
    status = headstart(finished, "status", "topics", "--json").document["topics"]
    assert (status["champion"]["version"], status["challenger"], status["previous"]) == (1, None, None)
    assert status["champion"]["metrics"] == read_json(finished / "run.json")["topics"]["metrics"]


def test_add_writes_an_entry_once_and_keeps_the_comments(copied, headstart):
    (copied / "params.yaml").write_text("# ours\n" + (copied / "params.yaml").read_text())
    words = ["add", "tickets", "--data", "sources/topics.csv", "--modality", "text", "--backbone", "tinybert", "--json"]
    first = headstart(copied, *words)
    written = (copied / "params.yaml").read_text()
    assert first.status == 0, first.err
    assert first.document == {"modality": "text", "backbone": "tinybert", "data": {"source": "sources/topics.csv"}}
    assert written.startswith("# ours\n")
    assert headstart(copied, *words).document == first.document
    assert (copied / "params.yaml").read_text() == written


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a/b", "--data", "sources/topics.csv", "--modality", "text", "--backbone", "tinybert"], "a name is"),
        (["x", "--data", "nowhere.csv", "--modality", "text", "--backbone", "tinybert"], "does not exist"),
        (["x", "--data", "sources/topics.csv", "--modality", "sound", "--backbone", "tinybert"], "text or image"),
        (["x", "--data", "sources/topics.csv", "--modality", "text", "--backbone", "bert"], "neither under backbones"),
        (["topics", "--data", "sources/bars", "--modality", "image", "--backbone", "glyphs"], "already has a model"),
    ],
)
def test_add_refuses_with_a_sentence_and_leaves_the_file_alone(copied, headstart, words, sentence):
    before = (copied / "params.yaml").read_text()
    answer = headstart(copied, "add", *words, "--json")
    assert answer.status == 2, answer.err
    assert sentence in answer.document["error"]["message"]
    assert (copied / "params.yaml").read_text() == before


def test_backbones_are_ranked_on_a_models_data_without_training_one(copied, headstart):
    path = copied / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["backbones"]["twin"] = {"modality": "text", "source": "sources/tinybert"}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    answer = headstart(copied, "rank", "topics", "--json")
    assert answer.status == 0, answer.err
    found = answer.document["topics"]
    assert [one["backbone"] for one in found["backbones"]] == ["tinybert", "twin"]
    assert found["present"] == found["recommended"] == "tinybert"
    first, second = found["backbones"]
    assert (first["probe"], second["tied"]) == (second["probe"], True)
    assert any("keep       tinybert" in line for line in rank._lines(answer.document))
    assert headstart(copied, "rank", "bars").status == 2

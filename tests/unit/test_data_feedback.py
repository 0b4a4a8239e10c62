"""Feedback as a source: what a model was asked, with the labels that came back, out of its journal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headstart import settings
from headstart.data import feedback, sources
from headstart.data.ingest import ingest, is_current
from headstart.errors import DataError
from headstart.journal import deletion, reader
from headstart.journal.schema import Answer, Label
from headstart.journal.writer import Journal
from headstart.params.data import Columns, Data
from headstart.params.loader import load
from headstart.params.operation import Journal as JournalParams

PARAMS = Path(__file__).parents[2] / "params.yaml"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DATA = Data(source="feedback:tickets", columns=sources.PLAIN)


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """The workspace's journal of the model `tickets`, as the server writes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADSTART_JOURNAL", raising=False)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text("{}\n")
    return tmp_path / "state/journal/tickets"


def asked(folder, raw: dict[str, bytes | None], labels: dict[str, str], *, policy: str = "sampled") -> None:
    """Answers to requests with these raw inputs, and the labels that came for some."""
    values = {
        "flush_s": 0.02, "seal_minutes": 5.0, "seal_megabytes": 1, "raw": policy, "raw_share": 1.0, "raw_days": 30,
        "features": False,
    }  # fmt: skip
    writer = Journal(folder, JournalParams.model_validate(values), clock=lambda: NOON)
    writer.record(
        [
            Answer(
                request_id=request_id, index=0, time=NOON + timedelta(minutes=place), model="tickets", version=1,
                role="champion", contract="a.b", label="x", probability=0.5, probabilities=[0.5, 0.5], properties={},
                latency_ms=1.0, raw=content,
            )
            for place, (request_id, content) in enumerate(raw.items())
        ]
    )  # fmt: skip
    writer.feedback([Label(request_id, 0, label, NOON) for request_id, label in labels.items()])
    writer.close()


def export(folder, policy: str = "sampled", modality: str = "text") -> int:
    """What the ingest task does."""
    columns = ["request_id", "index", "time", "raw"]
    answers = reader.read(folder, start=NOON, end=NOON + timedelta(days=1), columns=columns)
    return feedback.write("tickets", modality, [reader.with_truth(answers, reader.labels(folder))], policy=policy)


def test_answers_with_a_label_are_examples_and_others_are_not(journal):
    asked(
        journal, {"r1": b"Where is my card?", "r2": b"never labelled", "r3": "Ünïcode".encode()}, {"r1": "a", "r3": "b"}
    )
    assert export(journal) == 2
    [source] = sources.open(DATA, "text")
    rows = [row for batch in source.batches for row in batch.to_pylist()]
    assert [(row["id"], row["text"], row["label"], row["split"]) for row in rows] == [
        ("r1/0", "Where is my card?", "a", None),
        ("r3/0", "Ünïcode", "b", None),
    ]
    assert rows[0]["time"] == NOON.isoformat()


def test_images_come_as_the_bytes_that_were_sent(journal):
    asked(journal, {"r1": b"\x89PNG..."}, {"r1": "a"})
    export(journal, modality="image")
    [source] = sources.open(DATA, "image")
    assert [image for batch in source.batches for image in batch["image"].to_pylist()] == [b"\x89PNG..."]


def test_feedback_joins_a_source_whose_columns_have_other_names(journal, tmp_path):
    asked(journal, {"r1": b"asked"}, {"r1": "a"})
    export(journal)
    (tmp_path / "a.csv").write_text("sentence,intent\nfirst,b\n")
    columns = Columns(**sources.PLAIN.model_dump() | {"input": "sentence", "label": "intent"})
    ingest("tickets", "text", Data(source=["a.csv", "feedback:tickets"], columns=columns), tmp_path / "raw/m")
    table = pq.read_table(tmp_path / "raw/m/labelled.parquet")
    assert (table["text"].to_pylist(), table["label"].to_pylist()) == (["first", "asked"], ["b", "a"])


def test_a_label_that_came_makes_the_data_stale_and_traffic_alone_does_not(journal, tmp_path):
    asked(journal, {"r1": b"one", "r2": b"two"}, {"r1": "a"})
    export(journal)
    into = tmp_path / "raw/m"
    ingest("tickets", "text", DATA, into)
    assert is_current("text", DATA, into)
    asked(journal, {"r4": b"four"}, {})
    assert is_current("text", DATA, into)
    asked(journal, {}, {"r2": "b"})
    assert not is_current("text", DATA, into)


def test_what_is_deleted_from_the_journal_is_gone_with_the_next_export(journal, tmp_path):
    asked(journal, {"r1": b"one", "r2": b"two"}, {"r1": "a", "r2": "b"})
    export(journal)
    ingest("tickets", "text", DATA, tmp_path / "raw/m")
    deletion.request(journal, ["r1"])
    assert not is_current("text", DATA, tmp_path / "raw/m")
    assert export(journal) == 1


def test_an_export_of_the_same_labels_changes_nothing(journal):
    asked(journal, {"r1": b"one"}, {"r1": "a"})
    export(journal)
    before = feedback.file("tickets").stat().st_mtime_ns
    export(journal)
    assert feedback.file("tickets").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("policy", "sentence", "action"),
    [
        ("off", r"journal\.raw is off: of 1 labelled answers the journal keeps no raw input", "journal.raw to sampled"),
        ("hashed", r"journal\.raw is hashed: of 1 labelled", "journal.raw to sampled"),
        ("sampled", r"1 answers have a label, none of them a raw input", "journal.raw_share or raw_days"),
    ],
)
def test_a_journal_without_raw_inputs_is_a_refusal_that_names_the_switch(journal, policy, sentence, action):
    asked(journal, {"r1": b"one" if policy != "sampled" else None}, {"r1": "a"}, policy=policy)
    with pytest.raises(DataError, match=sentence) as caught:
        export(journal, policy)
    assert action in caught.value.action
    assert not feedback.file("tickets").exists()


def test_a_journal_without_labels_is_a_refusal(journal):
    asked(journal, {"r1": b"one"}, {})
    with pytest.raises(DataError, match="feedback:tickets gives no example: no label has come") as caught:
        export(journal)
    assert "POST /feedback/tickets" in caught.value.action


def test_feedback_that_was_never_exported_is_a_refusal(journal):
    with pytest.raises(DataError, match=r"feedback:tickets: data/feedback/tickets/labelled\.parquet does not exist"):
        sources.open(DATA, "text")


def test_the_models_whose_feedback_is_asked_for_are_known_from_the_sources():
    data = Data(source=["a.csv", "feedback:b", "feedback:a"], unlabelled="feedback:c", columns=sources.PLAIN)
    assert feedback.models(data) == ["a", "b", "c"]
    assert feedback.models(data.model_copy(update={"source": "a.csv", "unlabelled": None})) == []


@pytest.fixture
def flow(journal, tmp_path, monkeypatch):
    """The ingest task in the workspace of the test, with apidocs learning from its own feedback."""
    from pipelines import world

    monkeypatch.setenv("HEADSTART_NOW", (NOON + timedelta(days=2)).isoformat())
    monkeypatch.setattr(world, "workspace", lambda: settings.Workspace(tmp_path))
    monkeypatch.setattr(world.graph, "record", lambda folder: str(folder))
    params = load(PARAMS)

    def run(*sources: str) -> None:
        model = params.models["apidocs"]
        data = model.data.model_copy(update={"source": list(sources)})
        models = {**params.models, "apidocs": model.model_copy(update={"data": data})}
        world.ingest.fn("apidocs", params.model_copy(update={"models": models}))

    return run


def test_the_ingest_task_brings_the_labels_of_the_journal_into_the_data(journal, flow, tmp_path):
    asked(journal.with_name("apidocs"), {"r1": b"Draw a line", "r2": b"Join two tables"}, {"r1": "matplotlib"})
    (tmp_path / "a.csv").write_text("text,label\nOpen a socket,aiohttp\n")
    flow("a.csv", "feedback:apidocs")
    table = pq.read_table(tmp_path / "data/raw/apidocs/labelled.parquet")
    assert table["text"].to_pylist() == ["Open a socket", "Draw a line"]
    assert table["id"].to_pylist()[1] == "r1/0"


def test_a_label_that_comes_while_labels_are_exported_is_seen_the_next_time(journal, flow, tmp_path, monkeypatch):
    folder = journal.with_name("apidocs")
    asked(folder, {"r1": b"Draw a line", "r2": b"Join two tables"}, {"r1": "matplotlib"})
    write = feedback.write

    def slow(*args: object, **named: object) -> int:
        written = write(*args, **named)
        asked(folder, {}, {"r2": "sqlalchemy"})
        return written

    monkeypatch.setattr(feedback, "write", slow)
    flow("feedback:apidocs")
    data = DATA.model_copy(update={"source": ["feedback:apidocs"]})
    assert not is_current("text", data, tmp_path / "data/raw/apidocs")
    monkeypatch.setattr(feedback, "write", write)
    flow("feedback:apidocs")
    assert pq.read_table(tmp_path / "data/raw/apidocs/labelled.parquet").num_rows == 2
    assert is_current("text", data, tmp_path / "data/raw/apidocs")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("feedback:absent", "names no model of this workspace; there are apidocs, digits"),
        ("feedback:digits", "feedback:digits is image, the model is for text"),
        ("feedback:apidocs", "feedback:apidocs gives no example"),
    ],
)
def test_feedback_of_no_or_another_kind_of_model_is_refused_by_the_ingest_task(flow, source, sentence):
    with pytest.raises(DataError, match=sentence):
        flow(source)

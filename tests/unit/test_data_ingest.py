"""Ingest: nothing lost, unique ids, the same bytes, and nothing written where nothing changed."""

import json
import os

import pyarrow.parquet as pq
import pytest

from headstart.data import ingest, raw
from headstart.data.dataset import Dataset, read, write
from headstart.determinism import folder_digest
from headstart.errors import DataError
from headstart.params.data import Columns, Data

PLAIN = Columns(input=None, label=None, id=None, group=None, time=None, split=None)


def source(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(source=str(path), columns=PLAIN)


def test_rows_with_and_without_a_label_add_up_to_the_source(tmp_path):
    data = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b"}, {"text": "c", "label": "  "})
    ingest.ingest("m", "text", data, tmp_path / "raw/m")
    assert pq.read_table(tmp_path / "raw/m/labelled.parquet")["text"].to_pylist() == ["a"]
    unlabelled = pq.read_table(tmp_path / "raw/m/unlabelled.parquet")
    assert unlabelled["text"].to_pylist() == ["b", "c"]
    assert unlabelled.column_names == ["id", "text", "group", "time", "split", "row"]


def test_unlabelled_rows_that_went_away_take_their_file_with_them(tmp_path):
    into = tmp_path / "raw/m"
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b"}), into)
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), into)
    assert not (into / raw.UNLABELLED).exists()


def test_ids_are_unique_whatever_the_source_gives(tmp_path):
    rows = [
        {"text": "a", "label": "x", "id": "1", "split": "train"},
        {"text": "b", "label": "x", "id": "1", "split": "test"},
        {"text": "c", "label": "x", "id": "1", "split": "test"},
        {"text": "d", "label": "x", "id": "2", "split": "test"},
        {"text": "e", "label": "x", "id": "test/1", "split": "train"},
        {"text": "f", "label": "x"},
        {"text": "f", "label": "x"},
    ]
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", *rows), tmp_path / "raw/m")
    content = raw.read(tmp_path / "raw/m")
    ids = [row.id for row in content.rows]
    assert len(set(ids)) == len(ids)
    assert ids[3:5] == ["2", "test/1"]
    assert ids[0] == "train/1"
    [finding] = [finding for finding in content.findings if finding.check == "ids"]
    assert (finding.verdict, finding.statistic) == ("unsure", 1.0)


def test_ids_made_from_content_do_not_depend_on_the_rows_around(tmp_path):
    one = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    two = source(tmp_path / "b.jsonl", {"text": "b", "label": "x"}, {"text": "a", "label": "x"})
    ingest.ingest("m", "text", one, tmp_path / "raw/one")
    ingest.ingest("m", "text", two, tmp_path / "raw/two")
    assert raw.read(tmp_path / "raw/one").rows[0].id == raw.read(tmp_path / "raw/two").rows[1].id


def test_the_same_rows_give_the_same_bytes_in_any_folder(tmp_path):
    digests = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        data = source(tmp_path / name / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b"})
        digests.append(ingest.ingest("m", "text", data, tmp_path / name / "raw/m"))
        digests.append(folder_digest(tmp_path / name / "raw/m"))
    assert digests[:2] == digests[2:]


def test_unchanged_content_writes_nothing_even_where_the_file_is_newer(tmp_path):
    data, into = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), tmp_path / "raw/m"
    first = ingest.ingest("m", "text", data, into)
    before = {path.name: path.stat().st_mtime_ns for path in into.iterdir()}
    os.utime(tmp_path / "a.jsonl", (1, 1))
    assert not ingest.is_current("text", data, into)
    assert ingest.ingest("m", "text", data, into) == first
    assert {path.name: path.stat().st_mtime_ns for path in into.iterdir()} == before
    assert ingest.is_current("text", data, into)


def test_what_a_kill_left_behind_is_mended_by_the_next_call(tmp_path):
    data, into = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), tmp_path / "raw/m"
    first = ingest.ingest("m", "text", data, into)
    (into / raw.LABELLED).write_bytes(b"half")
    assert ingest.ingest("m", "text", data, into) == first
    assert len(raw.read(into).rows) == 1


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud83d!", "label": "x"}\n{"text": "\\ud83d\\ude00", "label": "x"}\n')
    ingest.ingest("m", "text", Data(source=str(tmp_path / "a.jsonl"), columns=PLAIN), tmp_path / "raw/m")
    assert [row.input for row in raw.read(tmp_path / "raw/m").rows] == ["a\ufffd!", "\U0001f600"]


def test_a_source_without_any_label_is_refused(tmp_path):
    data = source(tmp_path / "a.jsonl", {"text": "a", "label": None})
    with pytest.raises(DataError, match=r"none of 1 rows of .*a\.jsonl \(model m\) has a label"):
        ingest.ingest("m", "text", data, tmp_path / "raw/m")


def test_reading_before_ingest_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="holds no ingested data") as caught:
        raw.read(tmp_path)
    assert "headstart run" in caught.value.action


def test_raw_data_of_another_format_is_refused(tmp_path):
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), tmp_path / "raw/m")
    path = tmp_path / "raw/m" / raw.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(DataError, match="format 99, expected 1"):
        raw.read(tmp_path / "raw/m")


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    dataset = Dataset("image", ["1", "2"], ["x", "y"], [b"a", b"b"], ["g", None], [None, "2024-01-01"])
    write(tmp_path / "train.parquet", dataset)
    assert read(tmp_path / "train.parquet") == dataset
    assert list(dataset.targets(["y", "x"])) == [1, 0]
    with pytest.raises(DataError, match="label 'y' is not one of 1 classes"):
        dataset.targets(["x"])

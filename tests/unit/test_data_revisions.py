"""Two revisions of raw data compared: what came, what went, what is called otherwise, and whether it looks alike."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart import artifacts
from headstart.data import raw, revisions
from headstart.errors import UsageError
from headstart.params.loader import load
from headstart.stages import graph

PARAMS = load(Path(__file__).parents[2] / "params.yaml")
TEXT, IMAGE = (PARAMS.models[name].prepare for name in ("apidocs", "digits"))
WORDS = [f"word{number}" for number in range(40)]


def folder(path, rows, modality="text"):
    """A folder as ingest writes it, of (input, label) or (input, label, split, group)."""
    path.mkdir(parents=True)
    padded = [(*row, None, None)[:4] for row in rows]
    columns = {
        "id": [f"{path.name}-{place}" for place in range(len(rows))],
        "label": [row[1] for row in padded],
        modality: [row[0] for row in padded],
        "group": [row[3] for row in padded],
        "time": [None] * len(rows),
        "split": [row[2] for row in padded],
        "row": list(range(1, len(rows) + 1)),
    }
    pq.write_table(pa.table(columns, schema=raw.schema(modality, labels=True)), path / raw.LABELLED)
    counts = {"labelled": len(rows), "unlabelled": 0}
    artifacts.write_json(path / raw.MANIFEST, {"format": 1, "modality": modality, "rows": counts, "findings": []})
    return path


def compare(tmp_path, old, new, modality="text"):
    sides = folder(tmp_path / "old", old, modality), folder(tmp_path / "new", new, modality)
    document = revisions.compare(*sides, TEXT if modality == "text" else IMAGE)
    json.dumps(document, allow_nan=False)  # plain values
    return document


def sentences(generator, count, words=WORDS, length=8):
    return [(f"{' '.join(generator.choice(words, length))} {number}", f"class{number % 3}") for number in range(count)]


def verdicts(document):
    return {finding["check"].removeprefix("revision_"): finding["verdict"] for finding in document["findings"]}


def test_a_revision_is_the_same_as_itself(tmp_path):
    rows = sentences(np.random.default_rng(0), 50)
    document = compare(tmp_path, rows, rows)
    assert document["rows"] == {"before": 50, "after": 50, "in": 0, "out": 0, "stayed": 50}
    assert (document["relabelled"]["count"], document["moved"]["count"]) == (0, 0)
    assert set(verdicts(document).values()) == {"pass"}


def test_rows_are_counted_by_content_and_number(tmp_path):
    # a: 2 before, 3 after (one in); b: went; c: came; d stands once more with other white space (one in)
    old = [("a", "x"), ("a", "x"), ("b", "x"), ("d e", "y")]
    new = [("a", "x"), ("a", "x"), ("a", "x"), ("c", "y"), ("d e", "y"), ("d  e", "y")]
    document = compare(tmp_path, old, new)
    assert document["rows"] == {"before": 4, "after": 6, "in": 3, "out": 1, "stayed": 3}
    assert document["duplicates"] == {"before": 1, "after": 3}


def test_other_labels_are_told_by_pair_and_example_and_personal_data_is_masked(tmp_path):
    old = [("one", "x"), ("two", "x"), ("mail jane@corp.org", "x"), ("same", "y")]
    new = [("one", "y"), ("two", "y"), ("mail jane@corp.org", "z"), (" same", " y ")]
    found = compare(tmp_path, old, new)["relabelled"]
    assert found["count"] == 3
    assert found["pairs"][0] == {"old": "x", "new": "y", "count": 2}
    assert [row["text"] for row in found["rows"]] == ["one", "two", "mail j***@***.org"]


def test_new_and_vanished_classes_and_conflicts_are_named(tmp_path):
    document = compare(tmp_path, [("a", "x"), ("b", "y")], [("a", "x"), ("a", "z"), ("c", "z")])
    assert (document["classes"]["new"], document["classes"]["vanished"]) == (["z"], ["y"])
    assert document["classes"]["counts"] == {
        "x": {"before": 1, "after": 1},
        "y": {"before": 1, "after": 0},
        "z": {"before": 0, "after": 2},
    }
    assert document["conflicts"] == {"before": 0, "after": 2}
    assert verdicts(document)["classes"] == "unsure"


def test_growing_moves_no_example_to_another_split(tmp_path):
    rows = sentences(np.random.default_rng(1), 300)
    assert compare(tmp_path, rows[:100], rows)["moved"] == {"count": 0, "reasons": {}, "rows": []}


def test_an_example_that_the_source_moves_is_listed_with_the_reason(tmp_path):
    old = [("a", "x", "train", None), ("b", "y", "test", None), ("c", "y", "validation", None)]
    new = [("a", "x", "test", None), ("b", "y", "test", None), ("c", "y", "validation", None)]
    found = compare(tmp_path, old, new)["moved"]
    assert found["rows"] == [
        {"id": "new-0", "old": ["train"], "new": ["test"], "reason": "the source names another split"}
    ]


def test_rows_of_the_same_kind_pass_and_every_finding_states_its_p_value(tmp_path):
    rows = sentences(np.random.default_rng(2), 600)
    document = compare(tmp_path, rows[:400], rows)
    assert set(verdicts(document).values()) == {"pass"}
    assert set(verdicts(document)) >= {"balance", "characters", "words", "vocabulary"}
    # four tests share the level
    bars = {finding["bar"] for finding in document["findings"] if "p_value" in finding["evidence"]}
    assert bars == {0.001 / 4}


def test_longer_texts_of_other_words_and_classes_are_noticed_among_many_old_rows(tmp_path):
    generator = np.random.default_rng(3)
    old = sentences(generator, 600)
    new = [(text, "class0") for text, _ in sentences(generator, 60, words=[*WORDS[:20], "refund"], length=30)]
    document = compare(tmp_path, old, old + new)
    found = verdicts(document)
    assert {found[name] for name in ("balance", "characters", "words", "vocabulary")} == {"unsure"}
    words = next(finding for finding in document["findings"] if finding["check"] == "revision_vocabulary")
    assert words["evidence"]["words"][0]["word"] == "refund"


def test_where_rows_only_went_they_are_held_against_those_that_stayed(tmp_path):
    rows = sentences(np.random.default_rng(4), 300)
    document = compare(tmp_path, rows, [row for row in rows if row[1] != "class2"])
    balance = next(finding for finding in document["findings"] if finding["check"] == "revision_balance")
    assert balance["verdict"] == "unsure"
    assert "'class2' makes up 100.0% of what went, 0.0% of what stayed" in balance["reason"]


def test_images_are_compared_by_size_shape_and_bytes(tmp_path):
    def picture(seed, width, height):
        levels = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "PNG")
        return file.getvalue(), "xy"[seed % 2]

    old = [picture(seed, 8 + seed % 3, 8) for seed in range(90)]
    wide = [picture(1000 + seed, 30, 8) for seed in range(30)]
    found = verdicts(compare(tmp_path, old, [*old, *wide], "image"))
    assert (found["pixels"], found["aspect"], found["kilobytes"], found["balance"]) == (*["unsure"] * 3, "pass")


def test_the_log_has_a_line_a_revision_and_survives_a_crash(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_NOW", "2026-03-01T00:00:00+00:00")
    here = folder(tmp_path / "raw/tickets", [("a", "x"), ("b", "y")])
    for revision in ("aa.dir", "aa.dir", "bb.dir"):
        revisions.note(here, revision)
    with (tmp_path / "raw/.revisions/tickets.jsonl").open("a") as file:
        file.write('{"revision": "cc')
    assert revisions.history(here) == [
        revisions.Revision("aa.dir", 2, "2026-03-01T00:00:00+00:00"),
        revisions.Revision("bb.dir", 2, "2026-03-01T00:00:00+00:00"),
    ]


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A workspace with DVC, its remote, and two revisions of one folder; their MD5s."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = ../state/dvc\n")
    monkeypatch.chdir(tmp_path)
    here = artifacts.raw("tickets")
    found = []
    for rows in ([("a", "x")], [("a", "x"), ("b", "y")]):
        for path in here.glob("*"):
            path.unlink()
        folder(here.parent / "made" / str(len(rows)), rows)
        here.mkdir(parents=True, exist_ok=True)
        for path in (here.parent / "made" / str(len(rows))).iterdir():
            (here / path.name).write_bytes(path.read_bytes())
        found.append(graph.record(here))
        revisions.note(here, found[-1])
        graph.push()  # as every run does: only what stands now is pushed
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # DVC's own, of pygtrie
def test_an_earlier_revision_is_fetched_from_the_cache_and_from_the_remote(recorded, tmp_path):
    assert graph.revisions(artifacts.raw("tickets")) == recorded
    assert graph.stored(recorded[0][:6]) == [recorded[0]]
    for place in ("cached", "pulled"):
        (tmp_path / place).mkdir()
        graph.checkout(recorded[0], tmp_path / place)
        assert pq.read_table(tmp_path / place / raw.LABELLED)["text"].to_pylist() == ["a"]
        shutil.rmtree(tmp_path / ".dvc/cache")
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    (tmp_path / "none").mkdir()
    shutil.rmtree(tmp_path / ".dvc/cache", ignore_errors=True)
    with pytest.raises(UsageError, match=r"neither in DVC's cache nor in its remote. Push them"):
        graph.checkout(recorded[0], tmp_path / "none")

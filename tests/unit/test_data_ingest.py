"""Ingest: nothing lost, unique ids, the same bytes, and nothing written where nothing changed."""

import io
import json
import os
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.data import dataset, ingest, raw
from headstart.data.dataset import Dataset, read, write
from headstart.data.identity import content_key
from headstart.determinism import folder_digest
from headstart.errors import DataError
from headstart.params.data import Columns, Data
from headstart.report.finding_words import told

PLAIN = Columns()


def source(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(source=str(path), columns=PLAIN)


def rows_of(folder):
    return [row for batch in raw.batches(folder) for row in batch.to_pylist()]


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
    content = rows_of(tmp_path / "raw/m")
    ids = [row["id"] for row in content]
    assert len(set(ids)) == len(ids)
    assert ids[3:5] == ["2", "test/1"]
    assert ids[0] == "train/1"
    [finding] = [finding for finding in raw.meta(tmp_path / "raw/m").findings if finding.check == "ids"]
    assert (finding.verdict, finding.statistic) == ("unsure", 1.0)


def test_ids_made_from_content_do_not_depend_on_the_rows_around(tmp_path):
    one = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    two = source(tmp_path / "b.jsonl", {"text": "b", "label": "x"}, {"text": "a", "label": "x"})
    ingest.ingest("m", "text", one, tmp_path / "raw/one")
    ingest.ingest("m", "text", two, tmp_path / "raw/two")
    assert rows_of(tmp_path / "raw/one")[0]["id"] == rows_of(tmp_path / "raw/two")[1]["id"]


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
    assert len(rows_of(into)) == 1


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud83d!", "label": "x"}\n{"text": "\\ud83d\\ude00", "label": "x"}\n')
    ingest.ingest("m", "text", Data(source=str(tmp_path / "a.jsonl"), columns=PLAIN), tmp_path / "raw/m")
    assert [row["text"] for row in rows_of(tmp_path / "raw/m")] == ["a\ufffd!", "\U0001f600"]


def test_a_source_without_any_label_is_refused(tmp_path):
    data = source(tmp_path / "a.jsonl", {"text": "a", "label": None})
    with pytest.raises(DataError, match=r"none of 1 rows of .*a\.jsonl \(model m\) has a label"):
        ingest.ingest("m", "text", data, tmp_path / "raw/m")


def test_reading_before_ingest_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="holds no ingested data") as caught:
        raw.meta(tmp_path)
    assert "headstart run" in caught.value.action


def test_raw_data_of_another_format_is_refused(tmp_path):
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), tmp_path / "raw/m")
    path = tmp_path / "raw/m" / raw.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(DataError, match="format 99, expected 1"):
        raw.meta(tmp_path / "raw/m")


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    dataset = Dataset("image", ["1", "2"], ["x", "y"], [b"a", b"b"], ["g", None], [None, "2024-01-01"])
    write(tmp_path / "train.parquet", dataset)
    assert read(tmp_path / "train.parquet") == dataset
    assert list(dataset.targets(["y", "x"])) == [1, 0]
    with pytest.raises(DataError, match="label 'y' is not one of 1 classes"):
        dataset.targets(["x"])


def told_apart(rows: list[dict]) -> list[str]:
    """Ids by the rule, worked out with everything in memory: what the streamed register has to agree with."""
    given = Counter(row["id"] for row in rows if row["id"])
    single = {name for name, count in given.items() if count == 1}
    taken = set(single)
    seen: Counter[str] = Counter()
    ids = []
    for row in rows:
        if row["id"] in single:
            ids.append(row["id"])
            continue
        name = row["id"] or content_key(row["text"])[:16]
        name = f"{row['split']}/{name}" if row["id"] and row["split"] else name
        seen[name] += 1
        while (candidate := name if seen[name] == 1 else f"{name}#{seen[name]}") in taken:
            seen[name] += 1
        taken.add(candidate)
        ids.append(candidate)
    return ids


KEY_OF_A = content_key("a")[:16]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["a", "b", "c"]),
            "label": st.sampled_from(["x", None]),
            "id": st.sampled_from([None, "1", "2", "1#2", "train/1", "train/1#2", KEY_OF_A, f"{KEY_OF_A}#2"]),
            "split": st.sampled_from([None, "train", "test"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_ids_are_those_of_the_rule_however_they_clash(tmp_path, rows):
    rows = [*rows, {"text": "labelled", "label": "x", "id": None, "split": None}]
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", *rows), tmp_path / "raw/m")
    found = dict(zip(*(raw.columns(tmp_path / "raw/m")[name].to_pylist() for name in ("row", "id")), strict=True))
    if (tmp_path / "raw/m" / raw.UNLABELLED).exists():
        rest = pq.read_table(tmp_path / "raw/m" / raw.UNLABELLED)
        found |= dict(zip(rest["row"].to_pylist(), rest["id"].to_pylist(), strict=True))
    assert [found[number] for number in sorted(found)] == told_apart(rows)


def test_rows_of_several_sources_are_told_apart_and_counted_by_source(tmp_path):
    for name, rows in {
        "a": [{"text": "a", "label": "1.0", "id": "1"}, {"text": "same", "label": "2.0", "id": "2"}],
        "b": [{"text": "b", "label": "2", "id": "1"}],
        "pool": [{"text": "same", "id": "9"}, {"text": "c", "label": "beta"}],
    }.items():
        source(tmp_path / f"{name}.jsonl", *rows)
    data = Data(
        source=[str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")],
        unlabelled=str(tmp_path / "pool.jsonl"),
        columns=PLAIN,
    )
    into = tmp_path / "raw/m"
    ingest.ingest("m", "text", data, into)
    labelled = raw.columns(into)
    assert labelled["id"].to_pylist() == ["1", "2", "1#2"]
    assert labelled["label"].to_pylist() == ["1", "2", "2"]  # the pool's `beta` is no label
    assert pq.read_table(into / raw.UNLABELLED)["text"].to_pylist() == ["same", "c"]
    [finding] = [finding for finding in raw.meta(into).findings if finding.check == "sources"]
    assert told(finding)["reason"] == (
        "5 rows of 3 sources: 2 from a.jsonl, 1 from b.jsonl, 2 from pool.jsonl without labels."
    )
    assert json.loads((into / raw.MANIFEST).read_text())["source"] == "a.jsonl, b.jsonl"


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        pytest.param(["7.0", "8.0"], ["7", "9", "7", "8"], id="a gap once made decimals of a column of integers"),
        pytest.param(["7.0", "beta"], ["7", "9", "7.0", "beta"], id="version names stay as they are"),
    ],
)
def test_a_group_is_the_same_with_and_without_a_decimal_point(tmp_path, second, kept):
    """Else rows of one patient stand in train and in test."""
    one = source(tmp_path / "a.jsonl", *({"text": f"a{g}", "label": "x", "group": g} for g in ("7", "9")))
    source(tmp_path / "b.jsonl", *({"text": f"b{g}", "label": "y", "group": g} for g in second))
    data = one.model_copy(update={"source": [str(tmp_path / f"{name}.jsonl") for name in "ab"]})
    ingest.ingest("m", "text", data, tmp_path / "raw/m")
    assert raw.columns(tmp_path / "raw/m")["group"].to_pylist() == kept


def test_the_unlabelled_pool_follows_the_unlabelled_rows_of_the_source(tmp_path):
    source(tmp_path / "pool.jsonl", {"text": "p", "label": "x"})
    data = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b"})
    data = data.model_copy(update={"unlabelled": str(tmp_path / "pool.jsonl")})
    ingest.ingest("m", "text", data, tmp_path / "raw/m")
    assert pq.read_table(tmp_path / "raw/m" / raw.UNLABELLED)["text"].to_pylist() == ["b", "p"]
    assert raw.meta(tmp_path / "raw/m").rows == 1
    assert raw.meta(tmp_path / "raw/m").unlabelled == 2


def test_a_large_source_is_read_back_in_order_by_batches_and_by_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {number},{number % 3}\n" for number in range(70_000)))
    into = tmp_path / "raw/m"
    ingest.ingest("m", "text", Data(source=str(path), columns=PLAIN), into)
    batches = list(raw.batches(into))
    assert max(batch.num_rows for batch in batches) <= 4096
    assert batches[0].schema.names == ["id", "label", "text", "group", "time", "split", "row"]
    assert [row for batch in batches for row in batch.column("row").to_pylist()] == list(range(1, 70_001))
    assert raw.columns(into).column_names == ["id", "label", "group", "time", "split", "row"]
    assert raw.columns(into)["label"].to_pylist()[:4] == ["0", "1", "2", "0"]
    assert pq.ParquetFile(into / raw.LABELLED).num_row_groups == 2
    assert list(raw.batches(into, file=raw.UNLABELLED)) == []


def test_how_rows_arrive_does_not_change_what_is_written(tmp_path):
    schema = raw.schema("image", labels=True)
    row = {"id": "i", "label": "x", "image": bytes(1 << 20), "group": None, "time": None, "split": None, "row": 1}
    whole = pa.RecordBatch.from_pylist([row] * 70, schema=schema)
    written = []
    for size in (70, 7, 1):
        writer = dataset.Writer(tmp_path / f"{size}.parquet", schema)
        for start in range(0, 70, size):
            writer.write(whole.slice(start, size))
        writer.close()
        written.append((tmp_path / f"{size}.parquet").read_bytes())
    assert written[0] == written[1] == written[2]
    groups = pq.ParquetFile(io.BytesIO(written[0]))
    assert [groups.metadata.row_group(place).num_rows for place in range(groups.num_row_groups)] == [32, 32, 6]


def test_nothing_is_left_of_a_run_that_was_killed_while_it_wrote(tmp_path):
    data, into = source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), tmp_path / "raw/m"
    left = tmp_path / "raw/.partial/m" / raw.LABELLED
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    ingest.ingest("m", "text", data, into)
    assert not left.exists()
    assert sorted(path.name for path in into.iterdir()) == [raw.LABELLED, raw.MANIFEST]


def test_a_refused_source_leaves_what_was_there(tmp_path):
    into = tmp_path / "raw/m"
    ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "a", "label": "x"}), into)
    before = folder_digest(into)
    with pytest.raises(DataError):
        ingest.ingest("m", "text", source(tmp_path / "a.jsonl", {"text": "b", "label": ["x"]}), into)
    assert folder_digest(into) == before

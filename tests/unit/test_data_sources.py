"""Sources of every kind to rows, and the refusals for likely mistakes."""

import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from headstart import syntax
from headstart.data import rows, sources
from headstart.data.ingest import ingest
from headstart.data.rows import plain, whole_numbers, without_decimal_point
from headstart.errors import DataError
from headstart.params.data import Columns, Data

NO_COLUMNS = {"input": None, "label": None, "id": None, "group": None, "time": None, "split": None}


def data(source: Path | str, **columns: str) -> Data:
    return Data(source=str(source), columns=Columns(**NO_COLUMNS | columns))


def read(given: Data, modality: str) -> list[SimpleNamespace]:
    """All rows of all sources, the payload as `input`."""
    batches = [batch for source in sources.open(given, modality) for batch in source.batches]
    return [SimpleNamespace(**row, input=row[modality]) for batch in batches for row in batch.to_pylist()]


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), level).save(buffer, format="PNG")
    return buffer.getvalue()


def jsonl(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_named_columns_and_optional_plain_ones_are_taken(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"q": "hi", "label": "x", "group": "g", "date": "2024-05-01", "split": "dev"})
    [row] = read(data(path, input="q", time="date"), "text")
    assert (row.input, row.label, row.group, row.time, row.split) == ("hi", "x", "g", "2024-05-01", "validation")


def test_a_folder_gives_its_files_in_the_order_train_validation_test(tmp_path):
    for name in ("test.jsonl", "train.jsonl", "val.jsonl"):
        jsonl(tmp_path / name, {"text": name, "label": "x"})
    (tmp_path / "meta.json").write_text("{}")
    rows = read(data(tmp_path), "text")
    assert [(row.split, row.input) for row in rows] == [
        ("train", "train.jsonl"),
        ("validation", "val.jsonl"),
        ("test", "test.jsonl"),
    ]


def test_shards_in_a_data_folder_are_one_split(tmp_path):
    for shard in range(2):
        jsonl(tmp_path / f"data/train-0000{shard}-of-00002.jsonl", {"text": str(shard), "label": "x"})
    assert [row.input for row in read(data(tmp_path), "text")] == ["0", "1"]


def test_images_come_from_bytes_from_structs_and_from_paths_beside_the_file(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(png(9))
    pq.write_table(pa.table({"image": [png(9)], "label": ["x"]}), tmp_path / "bytes.parquet")
    struct = pa.array([{"bytes": png(9), "path": None}])
    pq.write_table(pa.table({"image": struct, "label": ["x"]}), tmp_path / "struct.parquet")
    (tmp_path / "paths.csv").write_text("image,label\nphotos/a.png,x\n")
    for name in ("bytes.parquet", "struct.parquet", "paths.csv"):
        assert [row.input for row in read(data(tmp_path / name), "image")] == [png(9)]


def test_a_row_cannot_bring_a_file_that_is_no_image_from_elsewhere(tmp_path):
    secret, folder = tmp_path / "id_rsa", tmp_path / "set"
    secret.write_text("a private key")
    folder.mkdir()
    for named in (str(secret), "../id_rsa", "../set/../id_rsa", f"../set/..{secret}"):
        with pytest.raises(FileNotFoundError, match=re.escape(named[:30])):  # long ones are cut
            rows.image_bytes({"bytes": None, "path": named}, folder)
    (tmp_path / "elsewhere.PNG").write_bytes(b"an image")
    assert rows.image_bytes("../elsewhere.PNG", folder) == b"an image"


def test_class_folders_give_labels_ids_and_splits_and_name_what_is_no_image(tmp_path):
    for place in ("train/ant/1.png", "train/bee/2.PNG", "test/ant/3.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png())
    (tmp_path / "train/ant/Thumbs.db").write_bytes(b"?")
    (tmp_path / "train/ant/.DS_Store").write_bytes(b"?")
    [source] = sources.open(data(tmp_path), "image")
    rows = [row for batch in source.batches for row in batch.to_pylist()]
    assert [(row["id"], row["label"], row["split"]) for row in rows] == [
        ("train/ant/1.png", "ant", "train"),
        ("train/bee/2.PNG", "bee", "train"),
        ("test/ant/3.png", "ant", "test"),
    ]
    assert source.passed_over == ["train/ant/Thumbs.db"]


def test_class_folders_without_splits_leave_the_split_open(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant/1.png").write_bytes(png())
    assert [(row.label, row.split) for row in read(data(tmp_path), "image")] == [("ant", None)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), ("1.0", "1.0"), (float("nan"), None), ("", None), (0, "0")],
)
def test_a_scalar_of_any_kind_is_a_string(value, expected):
    assert plain(value) == expected


def test_numbers_as_labels_are_strings_and_1_0_is_1_where_all_are_whole():
    assert whole_numbers({"1.0", "2", " 3. ", "  "})
    assert [without_decimal_point(label) for label in ("1.0", "2", " 3. ")] == ["1", "2", " 3 "]
    assert not whole_numbers({"1.0", "2.0", "beta"})
    assert not whole_numbers({"1.5", "1.0"})


@pytest.mark.parametrize("labels", [[1, 0], [1.0, 0.0], ["1.0", "0"]])
def test_float_and_integer_columns_give_the_same_labels(tmp_path, labels):
    pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / "a.parquet")
    ingest("m", "text", data(tmp_path / "a.parquet"), tmp_path / "raw/m")
    assert pq.read_table(tmp_path / "raw/m/labelled.parquet")["label"].to_pylist() == ["1", "0"]


def test_a_wrong_path_is_refused_with_the_nearest_name(tmp_path):
    jsonl(tmp_path / "tickets.jsonl", {"text": "a", "label": "x"})
    with pytest.raises(DataError, match=r"tikets\.jsonl does not exist; nearest is 'tickets\.jsonl'"):
        read(data(tmp_path / "tikets.jsonl"), "text")


def test_a_wrong_column_is_refused_with_the_nearest_name(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"Text": "a", "label": "x"})
    with pytest.raises(DataError, match=r"no column 'text'; nearest is 'Text'\. It has 'Text', 'label'") as caught:
        read(data(path), "text")
    assert "--text COLUMN" in caught.value.action
    with pytest.raises(DataError, match=r"no column 'lable'; nearest is 'label'"):
        read(data(path, input="Text", label="lable"), "text")


@pytest.mark.parametrize(("modality", "other"), [("image", "text"), ("text", "image")])
def test_a_set_of_the_other_modality_is_recognised(tmp_path, modality, other):
    path = jsonl(tmp_path / "a.jsonl", {other: "a", "label": "x"})
    with pytest.raises(DataError) as caught:
        read(data(path), modality)
    assert f"is modality: {other} meant?" in caught.value.action


def test_bytes_in_a_text_column_are_refused(tmp_path):
    pq.write_table(pa.table({"text": [png()], "label": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 1 holds bytes where a text was expected \(is modality: image meant\?\)"):
        read(data(tmp_path / "a.parquet"), "text")


def test_images_that_are_not_there_are_listed_by_row(tmp_path):
    (tmp_path / "b.png").write_bytes(png())
    (tmp_path / "a.csv").write_text("image,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataError, match=r"names 1 images \(of 2\) that are not there:\n  - row 1: a\.png"):
        read(data(tmp_path / "a.csv"), "image")


def test_texts_named_as_images_are_files_that_are_not_there(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "Where is my card? " * 99, "label": "x"})
    with pytest.raises(DataError, match=r"row 1: Where is my card\? .*\.\.\."):
        read(data(path, input="text"), "image")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param({"text": "a", "label": ["x", "y"]}, "row 1 holds list where one value", id="two labels"),
        pytest.param({"text": {"a": 1}, "label": "x"}, "row 1 holds dict where one value", id="nested text"),
        pytest.param({"text": "a", "label": "x", "split": "hold"}, "row 1 holds the split 'hold'", id="unknown split"),
    ],
)
def test_values_that_are_no_single_value_are_refused_by_row(tmp_path, row, sentence):
    with pytest.raises(DataError, match=sentence):
        read(data(jsonl(tmp_path / "a.jsonl", row)), "text")


@pytest.mark.parametrize(
    ("source", "modality", "sentence"),
    [
        pytest.param("builtin:digit", "image", "no built-in data set; nearest is 'digits'", id="unknown"),
        pytest.param("builtin:digits", "text", "builtin:digits is image, the model is for text", id="other modality"),
    ],
)
def test_a_name_that_is_no_source_here_is_refused(source, modality, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read(data(source), modality)
    assert caught.value.action


@pytest.mark.parametrize(
    ("files", "modality", "sentence"),
    [
        pytest.param(["test.jsonl"], "text", "no training file", id="test alone"),
        pytest.param(
            ["train.jsonl", "train.csv"], "text", "more than one file for train: train.csv, train.jsonl", id="two"
        ),
        pytest.param(["all.jsonl"], "text", "holds no train.csv", id="no split name, text"),
        pytest.param(["all.jsonl"], "image", "neither a file train", id="no split name, image"),
        pytest.param(["test/ant/a.png"], "image", "has test, but no folder train", id="folder test alone"),
        pytest.param(["photos/notes.txt"], "image", "nor class folders with images", id="folder of notes"),
    ],
)
def test_a_folder_that_is_no_source_is_refused(tmp_path, files, modality, sentence):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"text": "a", "label": "x"}\n')
    with pytest.raises(DataError, match=sentence) as caught:
        read(data(tmp_path), modality)
    assert caught.value.action


def test_the_fingerprint_changes_with_the_files_and_the_columns_alone(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    before = sources.fingerprint(data(path), "text")
    assert sources.fingerprint(data(path), "text") == before
    assert sources.fingerprint(data(path, label="label"), "text") != before
    jsonl(path, {"text": "ab", "label": "x"})
    assert sources.fingerprint(data(path), "text") != before


@pytest.fixture
def editable(tmp_path, monkeypatch):
    """A copy of the package whose code counts; a function that edits a module of it and gives a source's fingerprint.

    The code that runs is the installed one.
    """
    copy = shutil.copytree(syntax.PACKAGE, tmp_path / "headstart", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(syntax, "PACKAGE", copy)
    source = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"})

    def fingerprint(module: str = "", *edit: str) -> str:
        if module:
            path = copy / module
            before = path.read_text()
            assert edit[0] in before
            path.write_text(before.replace(*edit))
        syntax._module.cache_clear()
        return sources.fingerprint(data(source), "text")

    yield fingerprint
    syntax._module.cache_clear()


@pytest.mark.parametrize(
    ("module", "then", "now"),
    [
        pytest.param("data/tables.py", "# NaN is unlike itself", "# other words", id="a comment"),
        pytest.param("data/tables.py", '"""Files of rows', '"""Rows', id="a docstring"),
        pytest.param("data/tables.py", " has no row.", " is empty.", id="an error message"),
        pytest.param("data/checks/metadata.py", "FEWEST = 20", "FEWEST = 21", id="a check of rows that are there"),
        pytest.param("data/ingest.py", "NAMED = 10", "NAMED = 9", id="a finding about the source"),
    ],
)
def test_an_edit_that_changes_no_row_leaves_the_fingerprint_alone(editable, module, then, now):
    before = editable()
    assert editable(module, then, now) == before


@pytest.mark.parametrize(
    ("module", "then", "now"),
    [
        ("data/tables.py", "value != -1", "value != -2"),
        ("contract/labels.py", '" ".join(label.split())', '"_".join(label.split())'),
        ("data/builtin/digits.py", "/ 16 * 255", "/ 15 * 255"),
    ],
)
def test_an_edit_that_may_change_rows_changes_the_fingerprint(editable, module, then, now):
    before = editable()
    assert editable(module, then, now) != before


def test_several_sources_come_in_their_order_and_the_unlabelled_pool_last(tmp_path):
    for name in ("b", "a", "pool"):
        jsonl(tmp_path / f"{name}.jsonl", {"text": name, "label": "x"})
    named = [str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")]
    given = Data(source=named, unlabelled=str(tmp_path / "pool.jsonl"), columns=Columns(**NO_COLUMNS))
    assert [(row.input, row.label) for row in read(given, "text")] == [("b", "x"), ("a", "x"), ("pool", None)]


def test_a_source_that_is_named_twice_is_refused(tmp_path):
    path = str(jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"}))
    with pytest.raises(DataError, match=r"a\.jsonl is named more than once"):
        read(Data(source=[path, path], columns=Columns(**NO_COLUMNS)), "text")


def test_an_unlabelled_pool_needs_the_input_alone(tmp_path):
    labelled = jsonl(tmp_path / "a.jsonl", {"q": "a", "intent": "x", "when": "2026-01-01"})
    pool = tmp_path / "pool.csv"
    pool.write_text("q\nb\n")
    columns = Columns(**NO_COLUMNS | {"input": "q", "label": "intent", "time": "when"})
    rows = read(Data(source=str(labelled), unlabelled=str(pool), columns=columns), "text")
    assert [(row.input, row.label) for row in rows] == [("a", "x"), ("b", None)]
    pool.write_text("text\nb\n")
    with pytest.raises(DataError, match=r"pool\.csv has no column 'q'") as refused:
        read(Data(source=str(labelled), unlabelled=str(pool), columns=columns), "text")
    assert "rename the column in it to 'q'" in str(refused.value)


def test_an_unlabelled_pool_of_images_may_lie_anywhere_in_its_folder(tmp_path):
    for name in ("set/ant/1.png", "pool/2.png", "pool/deep/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    given = Data(source=str(tmp_path / "set"), unlabelled=str(tmp_path / "pool"), columns=Columns(**NO_COLUMNS))
    rows = read(given, "image")
    assert [(row.id, row.label, row.split) for row in rows[1:]] == [("2.png", None, None), ("deep/3.png", None, None)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        read(given.model_copy(update={"unlabelled": str(tmp_path / "empty")}), "image")


def test_the_fingerprint_covers_every_source(tmp_path):
    paths = [jsonl(tmp_path / f"{name}.jsonl", {"text": name, "label": "x"}) for name in "abc"]
    given = Data(source=[str(paths[0]), str(paths[1])], unlabelled=str(paths[2]), columns=Columns(**NO_COLUMNS))
    before = {sources.fingerprint(given, "text")}
    for path in paths:
        jsonl(path, {"text": path.name * 2, "label": "x"})
        now = sources.fingerprint(given, "text")
        assert now not in before
        before.add(now)


def test_a_key_that_only_late_jsonl_rows_have_is_still_the_column(tmp_path):
    rows = [{"text": str(number)} for number in range(5000)] + [{"text": "last", "label": "x"}]
    assert [row.label for row in read(data(jsonl(tmp_path / "a.jsonl", *rows)), "text") if row.label] == ["x"]


def test_rows_that_cannot_be_read_are_counted_over_the_whole_file(tmp_path):
    rows = [{"text": "a", "label": ["x"] if number % 1000 == 999 else "x"} for number in range(12_000)]
    with pytest.raises(DataError, match=r"(?s)has 12 rows that can't be read:.*row 1000 holds list.*and 2 more"):
        read(data(jsonl(tmp_path / "a.jsonl", *rows)), "text")


def test_many_large_images_come_in_batches_of_few(tmp_path):
    (tmp_path / "big.png").write_bytes(bytes(1 << 20))
    (tmp_path / "a.csv").write_text("image,label\n" + "big.png,x\n" * 40)
    [source] = sources.open(data(tmp_path / "a.csv"), "image")
    assert [len(batch) for batch in source.batches] == [16, 16, 8]


@pytest.mark.parametrize("source", [3, [], ["a.csv", 3], None, ""])
def test_what_is_neither_a_source_nor_a_list_of_sources_is_refused_in_one_sentence(source):
    with pytest.raises(ValidationError) as caught:
        Data.model_validate({"source": source, "columns": NO_COLUMNS})
    [problem] = caught.value.errors()
    assert (problem["loc"], problem["msg"]) == (("source",), "a source, or a list of sources")


def test_bytes_that_are_no_text_are_refused_not_replaced():
    from headstart.data.rows import plain

    assert plain("été".encode()) == "été"
    with pytest.raises(TypeError, match="not UTF-8"):
        plain("été".encode("latin-1"))

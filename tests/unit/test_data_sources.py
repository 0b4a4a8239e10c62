"""Sources of every kind to rows, and the refusals for likely mistakes."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data import sources
from headstart.data.rows import plain, without_decimal_points
from headstart.errors import DataError
from headstart.params.data import Columns, Data

NO_COLUMNS = {"input": None, "label": None, "id": None, "group": None, "time": None, "split": None}


def data(source: Path | str, **columns: str) -> Data:
    return Data(source=str(source), columns=Columns(**NO_COLUMNS | columns))


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
    [row] = sources.read(data(path, input="q", time="date"), "text").rows
    assert (row.input, row.label, row.group, row.time, row.split) == ("hi", "x", "g", "2024-05-01", "validation")


def test_a_folder_gives_its_files_in_the_order_train_validation_test(tmp_path):
    for name in ("test.jsonl", "train.jsonl", "val.jsonl"):
        jsonl(tmp_path / name, {"text": name, "label": "x"})
    (tmp_path / "meta.json").write_text("{}")
    rows = sources.read(data(tmp_path), "text").rows
    assert [(row.split, row.input) for row in rows] == [
        ("train", "train.jsonl"),
        ("validation", "val.jsonl"),
        ("test", "test.jsonl"),
    ]


def test_shards_in_a_data_folder_are_one_split(tmp_path):
    for shard in range(2):
        jsonl(tmp_path / f"data/train-0000{shard}-of-00002.jsonl", {"text": str(shard), "label": "x"})
    assert [row.input for row in sources.read(data(tmp_path), "text").rows] == ["0", "1"]


def test_images_come_from_bytes_from_structs_and_from_paths_beside_the_file(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(png(9))
    pq.write_table(pa.table({"image": [png(9)], "label": ["x"]}), tmp_path / "bytes.parquet")
    struct = pa.array([{"bytes": png(9), "path": None}])
    pq.write_table(pa.table({"image": struct, "label": ["x"]}), tmp_path / "struct.parquet")
    (tmp_path / "paths.csv").write_text("image,label\nphotos/a.png,x\n")
    for name in ("bytes.parquet", "struct.parquet", "paths.csv"):
        assert [row.input for row in sources.read(data(tmp_path / name), "image").rows] == [png(9)]


def test_class_folders_give_labels_ids_and_splits_and_name_what_is_no_image(tmp_path):
    for place in ("train/ant/1.png", "train/bee/2.PNG", "test/ant/3.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png())
    (tmp_path / "train/ant/Thumbs.db").write_bytes(b"?")
    (tmp_path / "train/ant/.DS_Store").write_bytes(b"?")
    source = sources.read(data(tmp_path), "image")
    assert [(row.id, row.label, row.split) for row in source.rows] == [
        ("train/ant/1.png", "ant", "train"),
        ("train/bee/2.PNG", "bee", "train"),
        ("test/ant/3.png", "ant", "test"),
    ]
    assert source.passed_over == ("train/ant/Thumbs.db",)


def test_class_folders_without_splits_leave_the_split_open(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant/1.png").write_bytes(png())
    assert [(row.label, row.split) for row in sources.read(data(tmp_path), "image").rows] == [("ant", None)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), ("1.0", "1.0"), (float("nan"), None), ("", None), (0, "0")],
)
def test_a_scalar_of_any_kind_is_a_string(value, expected):
    assert plain(value) == expected


def test_numbers_as_labels_are_strings_and_1_0_is_1_where_all_are_whole():
    assert without_decimal_points(["1.0", "2", None, " 3. "]) == ["1", "2", None, " 3 "]
    assert without_decimal_points(["1.0", "2.0", "beta"]) == ["1.0", "2.0", "beta"]
    assert without_decimal_points(["1.5", "1.0"]) == ["1.5", "1.0"]


def test_float_and_integer_columns_give_the_same_labels(tmp_path):
    for name, labels in (("a.parquet", [1, 0]), ("b.parquet", [1.0, 0.0]), ("c.parquet", ["1.0", "0"])):
        pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / name)
        assert [row.label for row in sources.read(data(tmp_path / name), "text").rows] == ["1", "0"]


def test_a_wrong_path_is_refused_with_the_nearest_name(tmp_path):
    jsonl(tmp_path / "tickets.jsonl", {"text": "a", "label": "x"})
    with pytest.raises(DataError, match=r"tikets\.jsonl does not exist .*; nearest is 'tickets\.jsonl'"):
        sources.read(data(tmp_path / "tikets.jsonl"), "text")


def test_a_wrong_column_is_refused_with_the_nearest_name(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"Text": "a", "label": "x"})
    with pytest.raises(DataError, match=r"no column 'text'; nearest is 'Text'\. It has 'Text', 'label'") as caught:
        sources.read(data(path), "text")
    assert "--text COLUMN" in caught.value.action
    with pytest.raises(DataError, match=r"no column 'lable'; nearest is 'label'"):
        sources.read(data(path, input="Text", label="lable"), "text")


@pytest.mark.parametrize(("modality", "other"), [("image", "text"), ("text", "image")])
def test_a_set_of_the_other_modality_is_recognised(tmp_path, modality, other):
    path = jsonl(tmp_path / "a.jsonl", {other: "a", "label": "x"})
    with pytest.raises(DataError) as caught:
        sources.read(data(path), modality)
    assert f"is modality: {other} meant?" in caught.value.action


def test_bytes_in_a_text_column_are_refused(tmp_path):
    pq.write_table(pa.table({"text": [png()], "label": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 1 holds bytes where a text was expected \(is modality: image meant\?\)"):
        sources.read(data(tmp_path / "a.parquet"), "text")


def test_images_that_are_not_there_are_listed_by_row(tmp_path):
    (tmp_path / "b.png").write_bytes(png())
    (tmp_path / "a.csv").write_text("image,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataError, match=r"names 1 images \(of 2\) that are not there:\n  - row 1: a\.png"):
        sources.read(data(tmp_path / "a.csv"), "image")


def test_texts_named_as_images_are_files_that_are_not_there(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "Where is my card? " * 99, "label": "x"})
    with pytest.raises(DataError, match=r"row 1: Where is my card\? .*\.\.\."):
        sources.read(data(path, input="text"), "image")


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
        sources.read(data(jsonl(tmp_path / "a.jsonl", row)), "text")


@pytest.mark.parametrize(
    ("source", "modality", "sentence"),
    [
        pytest.param("builtin:digit", "image", "no built-in data set; nearest is 'digits'", id="unknown"),
        pytest.param("builtin:digits", "text", "builtin:digits is image, the model is for text", id="other modality"),
        pytest.param("hub:org/set@main", "text", "hub:org/set@main names a data set on the hub", id="hub"),
    ],
)
def test_a_name_that_is_no_source_here_is_refused(source, modality, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        sources.read(data(source), modality)
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
        sources.read(data(tmp_path), modality)
    assert caught.value.action


def test_the_fingerprint_changes_with_the_files_and_the_columns_alone(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    before = sources.fingerprint(data(path), "text")
    assert sources.fingerprint(data(path), "text") == before
    assert sources.fingerprint(data(path, label="label"), "text") != before
    jsonl(path, {"text": "ab", "label": "x"})
    assert sources.fingerprint(data(path), "text") != before

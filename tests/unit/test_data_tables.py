"""Files of rows: what is read, and what a person who made a likely mistake is told."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data import tables
from headstart.errors import DataError


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.csv", 'text,label\nhello,x\n"a, b\nc",y\n', id="commas"),
        pytest.param("a.csv", 'text;label\nhello;x\n"a, b\nc";y\n', id="semicolons"),
        pytest.param(
            "a.csv", '\ufefftext,label\r\nhello,x\r\n"a, b\nc",y\r\n', id="byte order mark, Windows line ends"
        ),
        pytest.param("a.jsonl", '{"text": "hello", "label": "x"}\n\n{"label": "y", "text": "a, b\\nc"}', id="lines"),
    ],
)
def test_the_same_rows_come_out_of_every_way_to_write_them(tmp_path, name, content):
    table = tables.read(file(tmp_path, name, content))
    assert table.columns == {"text": ["hello", "a, b\nc"], "label": ["x", "y"]}


def test_a_jsonl_row_is_named_by_its_line_though_blank_lines_are_passed_over(tmp_path):
    assert tables.read(file(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": 2}\n')).numbers == [1, 3]


def test_a_key_that_a_jsonl_row_lacks_is_none(tmp_path):
    table = tables.read(file(tmp_path, "a.jsonl", '{"a": 1}\n{"b": 2}\n'))
    assert table.columns == {"a": [1, None], "b": [None, 2]}


def test_gzip_and_parquet_give_what_was_written(tmp_path):
    packed = file(tmp_path, "a.jsonl.gz", gzip.compress(b'{"text": "hello", "label": 1}\n'))
    pq.write_table(pa.table({"text": ["hello"], "label": [1]}), tmp_path / "a.parquet")
    assert tables.read(packed).columns == tables.read(tmp_path / "a.parquet").columns


def test_a_field_longer_than_the_standard_limit_is_read(tmp_path):
    long = "word " * 40_000  # the csv module stops at 131,072 characters by default
    assert tables.read(file(tmp_path, "a.csv", f"text,label\n{long},x\n")).columns["text"] == [long]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        pytest.param("a.xlsx", b"PK", r"a\.xlsx is of a kind that is not read here", id="spreadsheet"),
        pytest.param("a.csv", "text,label\n", r"a\.csv has no row", id="header alone"),
        pytest.param("a.csv", "", r"a\.csv has no row", id="empty"),
        pytest.param("a.csv", "text,text\na,b\n", r"more than one column 'text'", id="column twice"),
        pytest.param("a.csv", "text,label\na,b\nc\n", r"2 columns, but\n  - row 2 has 1 fields", id="short row"),
        pytest.param("a.csv", "text,label\na,b,c\n", r"row 1 has 3 fields", id="comma without quotes"),
        pytest.param("a.csv", 'text,label\n"a,b\n', r"is not CSV", id="open quote"),
        pytest.param("a.csv", b"text,label\na,x\ncaf\xe9,y\n", r"not UTF-8: line 3 has the byte 0xe9", id="latin-1"),
        pytest.param("a.jsonl", '{"a": 1}\n{"a": \n', r"line 2: Expecting value at character 7", id="cut line"),
        pytest.param("a.jsonl", "[1, 2]\n", r"line 1: list arrived, an object was expected", id="list"),
        pytest.param("a.jsonl.gz", b"plain", r"not a whole gzip file", id="no gzip"),
        pytest.param("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99)[:-9], r"not a whole gzip file", id="cut gzip"),
        pytest.param("a.parquet", b"PAR1 no", r"not a Parquet file", id="no parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(tmp_path, name, content, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        tables.read(file(tmp_path, name, content))
    assert caught.value.action


def test_ten_bad_rows_are_listed_and_the_rest_counted(tmp_path):
    rows = "x\n" * 13
    with pytest.raises(DataError, match="and 3 more"):
        tables.read(file(tmp_path, "a.csv", f"text,label\n{rows}"))

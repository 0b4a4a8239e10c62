"""Files of rows: what is read, and what a person who made a likely mistake is told."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data import tables
from headstart.errors import DataError


def read(path: Path, **wanted: list[str]) -> tables.Chunk:
    """The batches of a file as one."""
    parts = list(tables.batches(path, **wanted))
    names = parts[-1].names
    columns = {name: [] for name in names if any(name in part.columns for part in parts)}
    for part in parts:
        for name, values in columns.items():
            values += part.columns.get(name, [None] * len(part))
    return tables.Chunk(path, columns, [number for part in parts for number in part.numbers], names)


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
    table = read(file(tmp_path, name, content))
    assert table.columns == {"text": ["hello", "a, b\nc"], "label": ["x", "y"]}


def test_a_jsonl_row_is_named_by_its_line_though_blank_lines_are_passed_over(tmp_path):
    assert read(file(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": 2}\n')).numbers == [1, 3]


def test_a_key_that_a_jsonl_row_lacks_is_none(tmp_path):
    table = read(file(tmp_path, "a.jsonl", '{"a": 1}\n{"b": 2}\n'))
    assert table.columns == {"a": [1, None], "b": [None, 2]}


def test_gzip_and_parquet_give_what_was_written(tmp_path):
    packed = file(tmp_path, "a.jsonl.gz", gzip.compress(b'{"text": "hello", "label": 1}\n'))
    pq.write_table(pa.table({"text": ["hello"], "label": [1]}), tmp_path / "a.parquet")
    assert read(packed).columns == read(tmp_path / "a.parquet").columns


def test_an_archive_bomb_is_refused_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST_LINE", 1 << 16)
    monkeypatch.setattr(tables, "BOMB_BYTES", 1 << 20)
    one_line = file(tmp_path, "line.jsonl.gz", gzip.compress(b" " * (64 << 20)))
    many_lines = file(tmp_path, "lines.jsonl.gz", gzip.compress((b'{"text": "' + b"a" * 200 + b'"}\n') * (300 << 10)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"line\.jsonl\.gz has a line of more than 65,536 bytes"):
        read(one_line)
    with pytest.raises(DataError, match=r"lines\.jsonl\.gz unpacks to more than .* 200 times its size"):
        for _ in tables.batches(many_lines):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # of 64 MB each


def test_brackets_nested_without_end_are_a_bad_line(tmp_path):
    with pytest.raises(DataError, match="line 2: "):
        read(file(tmp_path, "a.jsonl", '{"text": "a"}\n' + "[" * 200_000))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.csv", "text|label\na, b;|x\nc|y\n", id="bars"),
        pytest.param("a.csv", "text\tlabel\na, b;\tx\nc\ty\n", id="tabs"),
        pytest.param("a.tsv", "text\tlabel\na, b;\tx\nc\ty\n", id="a file called tsv"),
        pytest.param("a.csv", "text;label\na, b;x\nc;y\n", id="semicolons, commas in texts"),
        pytest.param("a.csv", 'sep=;\ntext;label\n"a, b;";x\nc;y\n', id="the delimiter declared"),
        pytest.param("a.csv", 'text,label,,\n"a, b;",x,,\nc,y,,\n', id="empty columns at the end"),
        pytest.param("a.csv", 'text,label,,\n"a, b;",x\nc,y\n', id="empty columns in the header alone"),
        pytest.param("a.csv", 'text,label\n"a, b;",x,,\nc,y\n', id="empty fields in the rows alone"),
        pytest.param("a.csv", 'text,label,,\n"a, b;",x,,\n,,,\nc,y,,\n,,,\n', id="empty rows of a spreadsheet"),
        pytest.param("a.csv", 'text,label\n"a, b;",x\n\nc,y\n', id="blank line"),
        pytest.param("a.csv", '\n\ntext,label\n"a, b;",x\nc,y\n', id="blank lines above the header"),
    ],
)
def test_delimiters_and_what_spreadsheets_leave_at_the_end_are_read(tmp_path, name, content):
    table = read(file(tmp_path, name, content))
    assert [text.rstrip(";") for text in table.columns["text"]] == ["a, b", "c"]
    assert (table.columns["label"], table.names) == (["x", "y"], ("text", "label"))


def test_a_header_that_holds_a_comma_does_not_make_it_the_delimiter(tmp_path):
    table = read(file(tmp_path, "a.csv", "text, long|label\na|x\nb, c, d|y\n"))
    assert table.columns == {"text, long": ["a", "b, c, d"], "label": ["x", "y"]}


def test_a_column_without_a_name_is_passed_over(tmp_path):
    table = read(file(tmp_path, "a.csv", ",text,label\n0,a,x\n1,b,y\n"))  # the index that pandas writes
    assert (table.names, table.columns) == (("text", "label"), {"text": ["a", "b"], "label": ["x", "y"]})


def test_a_value_beyond_the_last_name_is_refused(tmp_path):
    """A comma without quotes would otherwise move the label into a column that nobody reads."""
    with pytest.raises(DataError, match=r"2 columns, but\n  - row 2 has 3 fields"):
        read(file(tmp_path, "a.csv", "text,label,,\na,x,,\nb, c,y,\n"))


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "text,label\nhello,x\n"), ("a.jsonl", '{"text": "hello"}\n')], ids=["csv", "jsonl"]
)
@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be"])
def test_utf_16_without_a_byte_order_mark_is_refused_with_the_command_that_converts_it(
    tmp_path, name, content, encoding
):
    with pytest.raises(DataError, match="as UTF-16 without a byte order mark has") as caught:
        read(file(tmp_path, name, content.encode(encoding)))
    assert f"iconv -f {encoding} -t utf-8 {name}" in caught.value.action


def classified(path, labels, names=("card", "refund"), column="label"):
    """A Parquet file as the library `datasets` writes a ClassLabel."""
    features = {column: {"names": list(names), "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}
    table = pa.table({"text": [f"text {place}" for place in range(len(labels))], column: labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(pa.array([1, 0, -1], pa.int64()), ["refund", "card", None], id="whole numbers"),
        pytest.param(pa.array([1, 0, None], pa.int8()), ["refund", "card", None], id="a gap"),
        pytest.param(pa.array([1.0, 0.0, None], pa.float64()), ["refund", "card", None], id="floats, by pandas"),
        pytest.param(pa.array(["1", "0", None]), ["1", "0", None], id="strings stay"),
        pytest.param(pa.array(["b", "a", None]).dictionary_encode(), ["b", "a", None], id="categories of pandas"),
    ],
)
def test_class_names_in_the_schema_of_a_parquet_file_are_read(tmp_path, labels, expected):
    assert read(classified(tmp_path / "a.parquet", labels)).columns["label"] == expected


def test_a_number_without_a_class_name_is_refused_by_its_row(tmp_path):
    path = classified(tmp_path / "a.parquet", pa.array([0, 2, 1, 7]))
    with pytest.raises(
        DataError, match=r"row 2 holds 2 in column 'label', which has names for 0 to 1\n.*row 4 holds 7"
    ):
        read(path)


@pytest.mark.parametrize("metadata", [b"[]", b"{}", b'{"info": {"features": {"label": 3}}}', b"\xff", b"null"])
def test_metadata_of_another_form_is_passed_over(tmp_path, metadata):
    table = pa.table({"text": ["a"], "label": [1]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").columns["label"] == [1]


def test_a_field_longer_than_the_standard_limit_is_read(tmp_path):
    long = "word " * 40_000  # the csv module stops at 131,072 characters by default
    assert read(file(tmp_path, "a.csv", f"text,label\n{long},x\n")).columns["text"] == [long]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        pytest.param("a.xlsx", b"PK", r"a\.xlsx is of a kind that is not read here", id="spreadsheet"),
        pytest.param("a.csv", "text,label\n", r"a\.csv has no row", id="header alone"),
        pytest.param("a.csv", "", r"a\.csv has no row", id="empty"),
        pytest.param("a.csv", "text,text\na,b\n", r"more than one column 'text'", id="column twice"),
        pytest.param("a.csv", "text,label\na,b\nc\n", r"2 columns, but\n  - row 2 has 1 fields", id="short row"),
        pytest.param("a.csv", "text,label\na,b,c\n", r"row 1 has 3 fields", id="comma without quotes"),
        pytest.param("a.csv", 'text,label\n"a,b\n', r"is not CSV .*: line 2: unexpected end", id="open quote"),
        pytest.param(
            "a.csv",
            f'text,label\n{"a,b" + chr(10)}"c""d,x\ne,f\n"g" h,y\n',
            r"begins on line 3, seen on line 5: ',' exp",
            id="open quote, found out later",
        ),
        pytest.param(
            "a.csv",
            f'text,label\n{99 * "a,b{}"}"c" d,x\n'.format(*99 * "\n"),
            r"line 101: ',' expected after",
            id="late",
        ),
        pytest.param(
            "a.jsonl", '{"a": "b\n', r"line 1: Unterminated string starting at character 7\n", id="open string"
        ),
        pytest.param("a.csv", b"text,label\na,x\ncaf\xe9,y\n", r"not UTF-8: line 3 has the byte 0xe9", id="latin-1"),
        pytest.param("a.jsonl", '{"a": 1}\n{"a": \n', r"line 2: Expecting value at character 7", id="cut line"),
        pytest.param("a.jsonl", "[1, 2]\n", r"line 1: list arrived, an object was expected", id="list"),
        pytest.param("a.jsonl.gz", b"plain", r"not a whole gzip file", id="no gzip"),
        pytest.param("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99)[:-9], r"not a whole gzip file", id="cut gzip"),
        pytest.param("a.parquet", b"PAR1 no", r"not a Parquet file .*[^.]\.$", id="no parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(tmp_path, name, content, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read(file(tmp_path, name, content))
    assert caught.value.action


def test_ten_bad_rows_are_listed_and_the_rest_counted(tmp_path):
    rows = "x\n" * 13
    with pytest.raises(DataError, match="and 3 more"):
        read(file(tmp_path, "a.csv", f"text,label\n{rows}"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_comes_in_batches_that_add_up_to_it(tmp_path, kind):
    texts = [f"text {number}" for number in range(10_000)]
    if kind == "csv":
        path = file(tmp_path, "a.csv", "text,n\n" + "".join(f"{text},1\n" for text in texts))
    elif kind == "jsonl":
        path = file(tmp_path, "a.jsonl", "".join(f'{{"text": "{text}", "n": 1}}\n' for text in texts))
    else:
        pq.write_table(pa.table({"text": texts, "n": [1] * len(texts)}), path := tmp_path / "a.parquet")
    parts = list(tables.batches(path))
    assert len(parts) > 1
    assert [text for part in parts for text in part.columns["text"]] == texts
    assert [number for part in parts for number in part.numbers] == list(range(1, 10_001))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_batch_of_large_values_has_few_rows(tmp_path, kind):
    long = "x" * (1 << 20)  # 40 rows of 1 MiB: a batch is bounded by 16 MiB and one step of reading
    if kind == "csv":
        path = file(tmp_path, "a.csv", "text\n" + f"{long}\n" * 40)
    elif kind == "jsonl":
        path = file(tmp_path, "a.jsonl", f'{{"text": "{long}"}}\n' * 40)
    else:
        table = pa.table({"text": [f"{number}{long}" for number in range(40)]})
        pq.write_table(table, path := tmp_path / "a.parquet", use_dictionary=False, compression="none")
    sizes = [len(part) for part in tables.batches(path)]
    assert sum(sizes) == 40
    assert max(sizes) <= 17


def test_columns_that_are_not_wanted_are_named_but_not_read(tmp_path):
    path = file(tmp_path, "a.csv", "text,label,n\na,x,1\n")
    pq.write_table(pa.table({"text": ["a"], "label": ["x"], "n": ["1"]}), tmp_path / "a.parquet")
    for each in (path, file(tmp_path, "a.jsonl", '{"text": "a", "label": "x", "n": "1"}'), tmp_path / "a.parquet"):
        table = read(each, wanted=["n", "absent"])
        assert (table.names, table.columns) == (("text", "label", "n"), {"n": ["1"]})


def test_bad_rows_of_every_batch_are_counted(tmp_path):
    rows = "".join("a,b\n" * 4000 + "c\n" for _ in range(3))
    with pytest.raises(DataError, match=r"(?s)row 4001 has 1 fields.*row 8002 has 1 fields.*row 12003 has 1 fields"):
        read(file(tmp_path, "a.csv", f"text,label\n{rows}"))


@pytest.mark.parametrize(
    ("encoding", "text", "proposed"),
    [
        pytest.param("cp1252", "Où est ma carte bancaire, déjà commandée à l'agence?", "cp1252", id="Western"),
        pytest.param("cp1250", "Zażółć gęślą jaźń, proszę o kartę płatniczą", "cp1250", id="Central European"),
        pytest.param("shift_jis", "こんにちは世界、これはテストです", "cp932", id="Japanese"),
    ],
)
def test_a_file_in_another_encoding_is_shown_as_it_would_read(tmp_path, encoding, text, proposed):
    path = file(tmp_path, "my file.csv", f"text,label\n{text},x\n".encode(encoding))
    with pytest.raises(DataError, match=rf"not UTF-8: line 2 .*In {proposed} that place reads ") as caught:
        read(path)
    assert text[:20] in caught.value.message
    assert f"iconv -f {proposed} -t utf-8 'my file.csv' > " in caught.value.action


def test_the_letter_in_question_is_shown_in_a_long_line(tmp_path):
    text = "What is the latitude and longitude of the city where they drink café, and who was its first mayor of all?"
    with pytest.raises(DataError, match=r"0xe9.*reads '….*they drink café, and who.*…'"):
        read(file(tmp_path, "a.csv", f'text,label\n"{text}",x\n'.encode("latin-1")))


def test_a_spreadsheet_saved_as_unicode_text_is_recognised(tmp_path):
    path = file(tmp_path, "a.csv", "text,label\nhello,x\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"not UTF-8: line 1 has the byte 0xff\. It begins like UTF-16") as caught:
        read(path)
    assert "iconv -f utf-16" in caught.value.action


def test_a_byte_that_is_wrong_late_in_a_large_file_is_found_by_its_line(tmp_path):
    path = file(tmp_path, "a.csv", b"text,label\n" + b"hello,x\n" * 20_000 + b"caf\xe9,y\n")
    with pytest.raises(DataError, match="line 20002 has the byte 0xe9"):
        read(path)


def test_a_number_too_long_to_be_one_is_a_problem_of_its_line(tmp_path):
    with pytest.raises(DataError, match=r"line 2: .*digits"):
        read(file(tmp_path, "a.jsonl", '{"a": 1}\n{"a": ' + "1" * 5000 + "}\n"))

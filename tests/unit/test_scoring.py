"""Files of rows in, the same rows with answers out, through tiny bundles whose answers are known."""

import csv
import gzip
import json
import math
import subprocess
import sys
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.errors import DataError, UsageError
from headstart.scoring import job
from tests.unit.tiny_bundle import grey, image_bundle, text_bundle

SURE = 1 / (1 + math.exp(-4))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return text_bundle(tmp_path_factory.mktemp("text") / "bundle")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return image_bundle(tmp_path_factory.mktemp("image") / "bundle")


def score(bundle, source, output, **options):
    fixed = {"version": 3, "records": bundle.parent / "records"}
    return job.score(bundle, source, output, model="moods", **{**fixed, **options})


def rows(path, delimiter=","):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file, delimiter=delimiter))
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines(path, *values):
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values))
    return path


def folder_of(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_every_row_comes_back_in_its_place_with_its_answer(bundle, tmp_path):
    texts = ["good", "a very very bad day", "bad", "so good a day"] * 7
    source = lines(tmp_path / "in.jsonl", *({"id": place, "text": text} for place, text in enumerate(texts)))
    done = score(bundle, source, tmp_path / "out.jsonl", part_rows=5)
    answers = rows(tmp_path / "out.jsonl")
    assert done.rows == {"in": 28, "out": 28, "errors": 0}
    assert [answer["id"] for answer in answers] == list(range(28))
    assert [answer["predicted_label"] for answer in answers] == [
        "positive" if "good" in t else "negative" for t in texts
    ]
    # one of the two words: logits 4 and 0
    assert answers[0] == {
        "id": 0,
        "text": "good",
        "predicted_label": "positive",
        "probability": pytest.approx(SURE),
        "error": None,
        "model_version": 3,
    }
    assert folder_of(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_probabilities_of_all_classes_are_given_when_asked_for(bundle, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "good"}, {"text": ""})
    score(bundle, source, tmp_path / "out.jsonl", probabilities=True)
    good, empty = rows(tmp_path / "out.jsonl")
    assert good["probabilities"] == pytest.approx({"negative": 1 - SURE, "positive": SURE})
    assert empty["probabilities"] is None and empty["probability"] is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param({"text": " "}, "line 2 is empty: it has 1 character, none of them visible.", id="empty"),
        pytest.param({"text": None}, "line 2 is null; expected a text.", id="null"),
        pytest.param({"other": 1}, "line 2 has no key 'text'.", id="without the column"),
        pytest.param({"text": 7}, "line 2 is an int; expected a text.", id="a number"),
        pytest.param({"text": ["good"]}, "line 2 is a list; expected a text.", id="a list"),
        pytest.param({"text": "good\0"}, "line 2 has a NUL at character 4", id="binary"),
        pytest.param('{"text": "\\ud800 good"}', "line 2 has half a surrogate pair at character 0", id="half a pair"),
        pytest.param({"text": "x" * 201}, "line 2 has 201 characters; at most 200 are accepted.", id="too long"),
        pytest.param("{nonsense", "line 2 is not JSON: Expecting property name", id="not JSON"),
        pytest.param('{"text": "go', "line 2 is not JSON: Unterminated string (character 10).", id="cut off"),
        pytest.param("[1, 2]", "line 2 holds a list; expected an object", id="no object"),
        pytest.param("[" * 100_000, "line 2 is not JSON that can be read", id="nested without end"),
    ],
)
def test_a_bad_row_is_answered_with_its_reason_and_stops_nobody(bundle, tmp_path, line, reason):
    source = lines(tmp_path / "in.jsonl", {"text": "good"}, line, {"text": "bad"})
    done = score(bundle, source, tmp_path / "out.jsonl")
    first, second, third = rows(tmp_path / "out.jsonl")
    assert done.rows == {"in": 3, "out": 3, "errors": 1}
    assert second["error"].startswith(reason)
    assert (second["predicted_label"], second["probability"]) == (None, None)
    assert (first["predicted_label"], third["predicted_label"]) == ("positive", "negative")


def test_a_line_that_is_not_utf_8_is_a_row_with_an_error(bundle, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'\xef\xbb\xbf{"text": "good"}\n\n{"text": "caf\xe9"}\n')
    score(bundle, source, tmp_path / "out.jsonl")
    good, bad = rows(tmp_path / "out.jsonl")
    assert good["predicted_label"] == "positive"
    assert bad["error"] == "line 3 is not UTF-8: it has the byte 0xe9 at place 14."


@pytest.mark.parametrize(
    ("name", "given", "written"), [("in.csv", ";", ";"), ("in.csv", "|", "|"), ("in.tsv", "\t", ",")]
)
def test_csv_keeps_the_delimiter_of_the_csv_it_was_read_from(bundle, tmp_path, name, given, written):
    (tmp_path / name).write_text(f'text{given}note\ngood{given}"a;b|c,d"\n')
    score(bundle, tmp_path / name, tmp_path / "out.csv")
    header, _ = (tmp_path / "out.csv").read_text().splitlines()
    assert header == written.join(["text", "note", "predicted_label", "probability", "error", "model_version"])
    [row] = rows(tmp_path / "out.csv", written)
    assert (row["note"], row["predicted_label"]) == ("a;b|c,d", "positive")


def test_csv_rows_of_the_wrong_width_are_answered_and_fields_with_line_breaks_are_one_row(bundle, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('id;text\n1;"good\nday"\n2;good;too;much\n\n007;bad\n', encoding="utf-8-sig")
    score(bundle, source, tmp_path / "out.csv")
    first, second, third = rows(tmp_path / "out.csv", ";")
    assert (first["id"], first["text"], first["predicted_label"]) == ("1", "good\nday", "positive")
    assert second["error"] == "row 2 has 4 fields; the header has 2." and second["id"] == ""
    assert (third["id"], third["predicted_label"], third["error"]) == ("007", "negative", "")


@pytest.mark.parametrize(
    "content",
    ["text|id\ngood, day|1\nbad|2\n", "sep=;\ntext;id\ngood, day;1\nbad;2\n", 'text,id,,\n"good, day",1,,\nbad,2\n'],
    ids=["bars", "declared", "empty columns at the end"],
)
def test_csv_is_scored_in_every_form_that_training_reads(bundle, tmp_path, content):
    (tmp_path / "in.csv").write_text(content)
    done = score(bundle, tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert done.rows == {"in": 2, "out": 2, "errors": 0}
    answers = [(row["text"], row["id"], row["predicted_label"]) for row in rows(tmp_path / "out.jsonl")]
    assert answers == [("good, day", "1", "positive"), ("bad", "2", "negative")]


def test_parquet_columns_keep_their_types_and_gzipped_lines_are_read(bundle, tmp_path):
    table = pa.table(
        {
            "when": pa.array([0, 1], pa.timestamp("us", "UTC")),
            "text": pa.array(["good", None]).dictionary_encode(),
            "tags": [["a"], []],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    score(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).equals(table)
    assert found["error"].to_pylist() == [None, "row 2 is null; expected a text. Send a string for each input."]
    with gzip.open(tmp_path / "in.jsonl.gz", "wt") as file:
        file.write('{"text": "good", "price": 2, "more": {"a": [1]}}\n{"text": "bad", "price": 0.5, "more": "none"}\n')
    score(bundle, tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl")
    first, second = rows(tmp_path / "out.jsonl")
    assert (first["price"], first["more"]) == (2, {"a": [1]})
    assert (second["price"], second["more"]) == (0.5, "none")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_times_bytes_and_what_is_no_number_find_a_place_in_every_format(bundle, tmp_path, ending):
    table = {"text": ["good"], "hash": [b"\xff\0"], "share": [math.nan], "when": [pa.scalar(0, pa.date32()).as_py()]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    score(bundle, tmp_path / "in.parquet", tmp_path / f"out{ending}")
    (row,) = rows(tmp_path / f"out{ending}")
    if ending != ".parquet":
        assert (row["hash"], row["when"]) == ("/wA=", "1970-01-01")
        assert row["share"] == ("null" if ending == ".csv" else None)


def test_images_come_as_bytes_structs_or_paths_and_the_payload_stays_behind(pictures, tmp_path):
    (tmp_path / "light.png").write_bytes(grey(255))
    images = [{"bytes": grey(0), "path": None}, {"bytes": None, "path": "light.png"}, {"bytes": b"junk", "path": None}]
    pq.write_table(pa.table({"id": [1, 2, 3], "image": images}), tmp_path / "in.parquet")
    score(pictures, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    dark, light, junk = rows(tmp_path / "out.jsonl")
    assert (dark["predicted_label"], light["predicted_label"]) == ("dark", "light")
    assert junk["error"].startswith("row 3 is not an image file that can be read")
    assert list(dark) == ["id", "predicted_label", "probability", "error", "model_version"]
    source = lines(tmp_path / "in.jsonl", {"image": "light.png"}, {"image": "gone.png"}, {"image": "."}, {"image": ""})
    score(pictures, source, tmp_path / "paths.jsonl", part_rows=3)
    light, gone, folder, empty = rows(tmp_path / "paths.jsonl")
    assert (light["image"], light["predicted_label"]) == ("light.png", "light")
    assert gone["error"] == "line 2 names the image 'gone.png', which cannot be read: No such file or directory."
    assert "Is a directory" in folder["error"]
    assert empty["error"].startswith("line 4 is of type str; expected an image file")


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_windows_of_any_size_give_every_row_once_whatever_the_row_groups(bundle, tmp_path, size):
    table = pa.table({"id": range(23), "text": ["good", "bad day today"] * 11 + ["x"]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5)
    score(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet", part_rows=size)
    assert pq.read_table(tmp_path / "out.parquet").select(["id", "text"]).equals(table)


@pytest.mark.parametrize(
    ("name", "content", "refusal"),
    [
        pytest.param("in.xlsx", b"x", r"is of a kind that is not read here.*\.parquet", id="another kind"),
        pytest.param("in.parquet", b"PAR1 no", r"is not a Parquet file that can be read", id="no Parquet"),
        pytest.param("in.jsonl.gz", gzip.compress(b'{"text": "good"}')[:-9], r"not a whole gzip file", id="cut short"),
        pytest.param("in.csv", b"text\ncaf\xe9\n", r"is not UTF-8, somewhere after row 0.*cp1252", id="cp1252"),
        pytest.param(
            "in.csv", b'text\n"good\n', r"not CSV .*, in the row that begins on line 2: unexpected", id="an open quote"
        ),
        pytest.param("in.csv", b"", r"is empty: it has not even a header", id="no header"),
        pytest.param("in.csv", b"text,text\n1,2\n", r"more than one column 'text'", id="a column twice"),
        pytest.param(
            "in.csv", b"texts\ngood\n", r"no column 'text'; nearest is 'texts'.*--column", id="no such column"
        ),
        pytest.param("in.csv", b"text,error\na,b\n", r"already has a column 'error'.*--keep", id="a taken name"),
    ],
)
def test_a_file_that_cannot_be_used_at_all_is_refused(bundle, tmp_path, name, content, refusal):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=refusal):
        score(bundle, tmp_path / name, tmp_path / "out.csv")
    assert folder_of(tmp_path) == [name]


def test_columns_are_chosen_by_name(bundle, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("id,error,body\n7,none,good\n")
    score(bundle, source, tmp_path / "out.csv", column="body", keep=["id"])
    (row,) = rows(tmp_path / "out.csv")
    assert list(row) == ["id", "predicted_label", "probability", "error", "model_version"]
    assert (row["id"], row["predicted_label"]) == ("7", "positive")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_no_row_is_answered_with_no_row(bundle, tmp_path, name):
    (tmp_path / name).write_text("text\n" if name == "in.csv" else "")
    assert score(bundle, tmp_path / name, tmp_path / "out.parquet").rows == {"in": 0, "out": 0, "errors": 0}
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_an_output_of_an_unknown_kind_is_refused(bundle, tmp_path):
    with pytest.raises(UsageError, match=r"out.xlsx has no ending that is written here. Take one of .parquet"):
        score(bundle, tmp_path / "in.csv", tmp_path / "out.xlsx")


def test_memory_does_not_grow_with_the_number_of_rows(bundle, tmp_path):
    peaks = []
    for count in (1_000, 8_000):
        source = lines(tmp_path / f"{count}.jsonl", *({"text": f"good {place}"} for place in range(count)))
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        score(bundle, source, tmp_path / f"{count}-out.jsonl", part_rows=100)
        peaks.append(tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before)
        tracemalloc.stop()
    assert peaks[1] < 2.5 * peaks[0]  # eight times as many rows


def test_scoring_starts_without_torch_and_mlflow():
    program = "import sys, headstart.scoring.job; print(sorted({'torch', 'mlflow', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_command_answers_with_the_champion_and_names_what_it_did(finished, headstart, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "the baban came with baden"}, {"text": ""})
    answer = headstart(finished, "score", "topics", str(source), "--output", str(tmp_path / "out.csv"), "--json")
    assert answer.status == 0, answer.err
    assert answer.document["rows"] == {"in": 2, "out": 2, "errors": 1}
    assert (answer.document["model"], answer.document["version"]) == ("topics", 1)
    assert answer.document["resumed_from"] is None and answer.document["rows_per_second"] > 0
    assert rows(tmp_path / "out.csv")[0]["predicted_label"] == "weather"
    again = headstart(finished, "score", "topics", str(source), "--output", str(tmp_path / "out.csv"), "--json")
    assert again.status == 0, again.err
    assert (again.document["already"], again.document["rows"]) == (True, answer.document["rows"])
    (tmp_path / "out.csv").write_text("precious")
    kept = headstart(finished, "score", "topics", str(source), "--output", str(tmp_path / "out.csv"), "--json")
    assert kept.status == 2 and "exists already" in kept.document["error"]["message"]
    absent = headstart(finished, "score", "topics", str(source), "--output", str(tmp_path / "b.csv"), "--version", "9")
    assert absent.status == 2 and "topics has no version 9" in absent.err

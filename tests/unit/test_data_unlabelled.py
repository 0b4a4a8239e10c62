"""The unlabelled set: what prepare hands on, what it leaves out, and what it says of it."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data import ingest, prepare, sources, unlabelled
from headstart.data.checks import rows as row_checks
from headstart.determinism import file_digest
from headstart.errors import DataError
from headstart.params.data import Data
from headstart.report.finding_words import told
from tests.unit.test_data_prepare import IMAGE, PLAIN, SOUND, TEXT, finding, params


def prepared(folder, unlabelled):
    """Prepare the sound rows beside an unlabelled set."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(dict(zip(("split", "text", "label"), row, strict=True))) for row in SOUND)
    (folder / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "more.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in unlabelled))
    source = Data(source=str(folder / "a.jsonl"), unlabelled=str(folder / "more.jsonl"), columns=PLAIN)
    ingest.ingest("m", "text", source, folder / "raw")
    (folder / "out").mkdir()
    decodes = row_checks.by_contract(TEXT)
    return prepare.prepare(folder / "raw", params(), out=folder / "out", decodes=decodes)


def handed_on(folder):
    """The payloads that may be learned from."""
    return pq.read_table(folder / "out/unlabelled.parquet").columns[1].to_pylist()


def test_rows_without_a_label_are_handed_on_in_their_order(tmp_path):
    result = prepared(tmp_path, ["rain again", "no snow", "a map"])
    assert handed_on(tmp_path) == ["rain again", "no snow", "a map"]
    found = finding(result, "unlabelled")
    assert (found.verdict, found.statistic, told(found)["action"]) == ("pass", 0, "")
    assert (
        told(found)["reason"]
        == "3 of 3 rows without a label are left, too few to adapt a backbone to, which takes 200."
    )


def test_a_pool_that_a_backbone_can_be_adapted_to_is_told_as_one(tmp_path):
    texts = [f"rain {number}" for number in range(unlabelled.LEAST)]
    found = finding(prepared(tmp_path, texts), "unlabelled")
    assert told(found)["reason"] == "200 of 200 rows without a label can be adapted to."


def test_a_row_that_equals_a_test_row_is_left_out_whatever_its_white_space(tmp_path):
    # `five` and `six` are the test rows; `one` is a training row, which may be read
    result = prepared(tmp_path, ["five", " six\n", "one", "seven"])
    assert handed_on(tmp_path) == ["one", "seven"]
    assert "2 equal a validation or test row and are left out" in told(finding(result, "unlabelled"))["reason"]
    assert finding(result, "unlabelled").verdict == "pass"


def test_a_row_that_equals_a_validation_row_is_left_out_too(tmp_path):
    # adapting must not read those who judge it in the race and choose its epochs
    validation = next(text for split, text, _ in SOUND if split == "validation")
    prepared(tmp_path, [validation, "seven"])
    assert handed_on(tmp_path) == ["seven"]


def test_what_the_contract_refuses_is_left_out_and_named_with_its_row(tmp_path):
    result = prepared(tmp_path, ["fine", "  ", "x" * 51])
    found = finding(result, "unlabelled")
    assert handed_on(tmp_path) == ["fine"]
    assert (found.verdict, found.statistic) == ("unsure", 2)
    assert "2 can't be used: row 2: the row has no text; row 3: has 51 characters; at most 50" in told(found)["reason"]
    assert found.evidence["rows"][0] == {"row": 2, "reason": ""}


def test_an_unlabelled_set_of_which_nothing_is_left_says_so(tmp_path):
    result = prepared(tmp_path, ["five"])
    assert handed_on(tmp_path) == []
    assert finding(result, "unlabelled").verdict == "unsure"
    assert "data.unlabelled" in told(finding(result, "unlabelled"))["action"]


@pytest.mark.parametrize("named", ["/nowhere/pool.csv", "builtin:nothing"])
def test_a_pool_that_is_not_there_is_mended_under_its_own_key(tmp_path, named):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "x"}\n')
    given = Data(source=str(tmp_path / "a.jsonl"), unlabelled=named, columns=PLAIN)
    for asked in (sources.fingerprint, sources.open):
        with pytest.raises(DataError, match=r"Mend data\.unlabelled in params\.yaml"):
            asked(given, "text")


def test_where_every_row_has_a_label_there_is_no_pool_and_no_finding(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(f"{json.dumps(dict(zip(('split', 'text', 'label'), row, strict=True)))}\n" for row in SOUND)
    )
    ingest.ingest("m", "text", Data(source=str(tmp_path / "a.jsonl"), columns=PLAIN), tmp_path / "raw")
    (tmp_path / "out").mkdir()
    result = prepare.prepare(tmp_path / "raw", params(), out=tmp_path / "out", decodes=row_checks.by_contract(TEXT))
    assert not (tmp_path / "out/unlabelled.parquet").exists()
    assert "unlabelled" not in [found.check for found in result.findings]


def test_a_pool_changes_no_split(tmp_path):
    prepared(tmp_path / "with", ["rain", "five"])
    prepared(tmp_path / "without", ["snow"])
    for name in ("train", "validation", "test", "quarantine"):
        digests = {file_digest(tmp_path / side / f"out/{name}.parquet") for side in ("with", "without")}
        assert len(digests) == 1


def test_images_that_do_not_decode_and_images_of_test_are_left_out(tmp_path):
    def picture(level):
        file = io.BytesIO()
        Image.new("L", (4, 4), level).save(file, "PNG")
        return file.getvalue()

    (tmp_path / "pictures").mkdir()
    for level in (1, 2):
        (tmp_path / f"pictures/{level}.png").write_bytes(picture(level))
    (tmp_path / "pictures/broken.png").write_bytes(picture(3)[:30])
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "image", "label"])
        for split, level, label in [("train", 5, "x"), ("train", 6, "y"), ("test", 2, "x"), ("test", 7, "y")]:
            (tmp_path / f"{level}.png").write_bytes(picture(level))
            writer.writerow([split, f"{level}.png", label])
        for level, label in [(8, "x"), (9, "y")]:
            (tmp_path / f"{level}.png").write_bytes(picture(level))
            writer.writerow(["validation", f"{level}.png", label])
    source = Data(source=str(tmp_path / "a.csv"), unlabelled=str(tmp_path / "pictures"), columns=PLAIN)
    ingest.ingest("m", "image", source, tmp_path / "raw")
    (tmp_path / "out").mkdir()
    decodes = row_checks.by_contract(IMAGE)
    result = prepare.prepare(tmp_path / "raw", params("image"), out=tmp_path / "out", decodes=decodes)
    assert handed_on(tmp_path) == [picture(1)]
    assert finding(result, "unlabelled").evidence["equal_a_judge"] == 1
    assert pq.read_schema(tmp_path / "out/unlabelled.parquet").names == ["id", "image", "group", "time"]


@pytest.mark.parametrize("rows", [1, 4096, 5000])
def test_batches_do_not_change_what_is_kept(tmp_path, rows):
    texts = [f"text {number}" for number in range(rows)]
    prepared(tmp_path, texts)
    assert handed_on(tmp_path) == texts
    assert np.unique(pq.read_table(tmp_path / "out/unlabelled.parquet")["id"].to_pylist()).size == rows

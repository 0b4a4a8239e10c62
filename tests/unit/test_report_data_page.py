"""The page about a model's data: whole, self-contained, escaped, and discreet."""

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart import artifacts
from headstart.data import checks, dataset
from headstart.data.dataset import Dataset
from headstart.errors import DataError
from headstart.report import data_page, vocabulary
from tests.unit.test_report_page import HOSTILE, Document

SPLITS = ("train", "validation", "test")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(model, inputs, labels, *, findings=(), aside=()):
    """What `prepare` leaves behind: the same rows in each split."""
    folder = artifacts.stage_output(model, "data")
    modality = "text" if isinstance(inputs[0], str) else "image"
    none = [None] * len(inputs)
    for name in SPLITS:
        ids = [f"{name}-{place}" for place in range(len(inputs))]
        dataset.write(folder / f"{name}.parquet", Dataset(modality, ids, labels, inputs, none, none))
    columns = ["id", "label", modality, "split", "check", "reason"]
    table = {name: [row[place] for row in aside] for place, name in enumerate(columns)}
    kinds = [pa.string()] * 2 + [pa.string() if modality == "text" else pa.binary()] + [pa.string()] * 3
    pq.write_table(
        pa.table(table, schema=pa.schema(list(zip(columns, kinds, strict=True)))), folder / "quarantine.parquet"
    )
    artifacts.write_json(folder / "findings.json", list(findings))
    counts = {label: dict.fromkeys(SPLITS, labels.count(label)) for label in sorted(set(labels))}
    summary = {
        "format": 1, "modality": modality, "classes": sorted(counts), "rows": dict.fromkeys(SPLITS, len(inputs)),
        "per_class": counts, "carved": ["validation", "test"], "quarantined": len(aside), "quarantined_by": {},
    }  # fmt: skip
    artifacts.write_json(folder / "summary.json", summary)


def finding(check, verdict, reason="Because.", action="Do it."):
    return {
        "check": check, "verdict": verdict, "statistic": 1.0, "bar": 0.0, "reason": reason, "action": action,
        "evidence": {},
    }  # fmt: skip


def picture(side):
    file = io.BytesIO()
    Image.new("L", (side, side), 99).save(file, "PNG")
    return file.getvalue()


DIFF = {
    "old": {"revision": "aaaa1111.dir", "when": "2026-03-01T10:00:00+00:00"},
    "new": {"revision": "bbbb2222.dir", "when": None},
    "rows": {"before": 4, "after": 5, "in": 2, "out": 1, "stayed": 3},
    "relabelled": {"count": 1, "pairs": [], "rows": [{"id": "a", "old": ["x"], "new": [HOSTILE], "text": HOSTILE}]},
    "classes": {
        "new": ["z"],
        "vanished": [],
        "counts": {"z": {"before": 0, "after": 2}, "x": {"before": 4, "after": 3}},
    },
    "duplicates": {"before": 1, "after": 2},
    "conflicts": {"before": 0, "after": 0},
    "moved": {
        "count": 1,
        "reasons": {},
        "rows": [{"id": "a", "old": ["train"], "new": ["test"], "reason": "its group"}],
    },
    "splits": {name: {"before": 1, "after": 2} for name in SPLITS},
    "level": 0.001,
    "findings": [finding("revision_words", "unsure", reason=HOSTILE), finding("revision_pixels", "pass")],
}


def test_the_page_is_whole_and_shows_what_is_there(workspace):
    aside = [("q1", "good", "twice the same", "train", "duplicates", "repeats source row 1 (train)")]
    prepared("moods", ["a fine day", "a sad day, longer"], ["good", "bad"], aside=aside)
    page = Document(data_page.render(data_page.gather("moods", revision="f00dfeed99.dir")))
    for words in ("moods", "In order", "6 texts of 2 classes: bad, good.", "a fine day", "stand twice in one split",
                  "twice the same", "repeats source row 1 (train)", "f00dfeed", "were carved by hash."):  # fmt: skip
        assert words in page.text, words


@pytest.mark.parametrize(
    ("verdicts", "badge"),
    [(["pass"], "In order"), (["pass", "unsure"], "Worth a look"), (["unsure", "fail"], "Not to be trained on")],
)
def test_the_badge_is_the_gravest_verdict_and_failures_come_first(workspace, verdicts, badge):
    found = [finding(f"check{place}", verdict, reason=verdict) for place, verdict in enumerate(verdicts)]
    prepared("moods", ["a", "b"], ["x", "y"], findings=found)
    page = Document(data_page.render(data_page.gather("moods")))
    assert badge in page.text
    if "fail" in verdicts:
        assert page.text.index("check1") < page.text.index("check0")


def test_a_leak_comes_before_whatever_else_is_unsure(workspace):
    prepared("moods", ["a", "b"], ["x", "y"], findings=[finding("lengths", "unsure"), finding("leak", "unsure", "54.")])
    text = Document(data_page.render(data_page.gather("moods"))).text
    assert text.index("Test rows stand nowhere else") < text.index("Lengths are of one kind")


def test_suspected_labels_are_shown_with_what_they_hold_and_where_they_stand(workspace):
    prepared("moods", ["a", "b"], ["x", "y"])
    row = {"id": "a0", "split": "train", "row": 107, "label": "x", "suggested": "y", "text": "call 555-123-4567 now"}
    pq.write_table(pa.Table.from_pylist([row]), artifacts.stage_output("moods", "data") / "suspects.parquet")
    text = Document(data_page.render(data_page.gather("moods"))).text
    assert "Labels that may be wrong" in text and "source row 107 (train)" in text
    assert "artifacts/models/moods/data/suspects.parquet" in text
    assert "now" in text and "555-123" not in text


@pytest.mark.parametrize("source", sorted(Path(checks.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_every_check_of_data_has_a_title_for_people(source):
    """`length shortcut` stood as pneumonia's top finding, a name among sentences."""
    named = set(re.findall(r'(?:check=|finding\(\s*|_shortcut", )"([a-z_]+)"', source.read_text()))
    known = {*data_page.TITLES, *vocabulary.CHECKS}
    assert not {name for name in named if name not in known}


def test_ids_are_shown_whole(workspace):
    aside = [("f7e55db123456765fe", "x", None, "train", "payloads", "the row has no text")]
    prepared("moods", ["a", "b"], ["x", "y"], aside=aside)
    assert "f7e55db123456765fe" in data_page.render(data_page.gather("moods"))


def test_what_comes_from_data_is_escaped_and_no_network_is_asked(workspace):
    aside = [(HOSTILE, HOSTILE, HOSTILE, "train", HOSTILE, HOSTILE)]
    prepared(
        "moods", [HOSTILE, f"{HOSTILE} b"], [HOSTILE, "y"], findings=[finding(HOSTILE, "unsure", HOSTILE)], aside=aside
    )
    html = data_page.render(data_page.gather("moods"), diff=DIFF)
    Document(html)
    assert "<script" not in html
    for reference in ('src="http', 'href="http', "@import", "url(http"):
        assert reference not in html


def test_texts_with_personal_data_are_no_examples_and_are_masked_elsewhere(workspace):
    mail = "write to jane.doe@corp-mail.com"
    prepared("moods", [mail, "harmless"], ["x", "y"], aside=[("q", "x", mail, "train", "payloads", "r")])
    html = data_page.render(data_page.gather("moods"))
    assert "jane.doe" not in html and "j***@***.com" in html and "harmless" in html


def test_images_are_shown_small_and_their_sizes_drawn(workspace):
    images = [picture(8), picture(20), picture(400), b"junk"]
    prepared("shapes", images, ["x", "x", "y", "y"])
    page = Document(data_page.render(data_page.gather("shapes")))
    assert sum(source.startswith("data:image/") for source in page.attributes("src")) == 3
    assert "From 8 to 400 pixels" in page.text and "cannot be shown" in page.text


def test_what_changed_is_a_section_of_its_own(workspace):
    prepared("moods", ["a", "b"], ["x", "y"], findings=[finding("lengths", "unsure")])
    evidence = data_page.gather("moods")
    text = Document(data_page.render(evidence, diff=DIFF)).text
    for words in (
        "aaaa1111 (2026-03-01 10:00 UTC)",
        "bbbb2222",
        "changed sides",
        "+2",
        "Labels that changed",
        "its group",
        "2 findings are worth a look first, 1 of them on what changed.",
    ):
        assert words in text, words
    assert "What changed" not in Document(data_page.render(evidence)).text


def test_the_same_data_give_the_same_bytes(workspace):
    prepared("moods", [f"text {place}" for place in range(50)], ["x", "y"] * 25)
    assert data_page.write("moods").read_bytes() == data_page.write("moods").read_bytes()


def test_without_prepared_data_it_says_what_to_do(workspace):
    with pytest.raises(DataError, match=r"holds no prepared data. Run it first: headstart data moods"):
        data_page.gather("moods")

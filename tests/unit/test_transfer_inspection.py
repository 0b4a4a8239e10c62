"""What the probe says of labels and splits: planted faults are named, and like splits seldom called different."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from headstart import artifacts
from headstart.data import raw
from headstart.data.dataset import Dataset
from headstart.params.loader import load
from headstart.report.finding_words import told
from headstart.transfer import inspection

PARAMS = load(Path(__file__).parents[2] / "params.yaml").models["apidocs"].prepare
CLASSES = ("a", "b", "c")


def dataset(labels, groups=None):
    n = len(labels)
    texts = [f"text {k}" for k in range(n)]
    return Dataset("text", [f"id{k}" for k in range(n)], labels, texts, groups or [None] * n, [None] * n)


def ingested(folder, rows):
    """What ingest leaves of rows `id0`, `id1`, ...: they begin in row 11 of their file."""
    folder.mkdir()
    table = {name: [None] * rows for name in raw.schema("text", labels=True).names}
    table |= {"id": [f"id{row}" for row in range(rows)], "row": list(range(11, rows + 11))}
    pq.write_table(pa.table(table, schema=raw.schema("text", labels=True)), folder / raw.LABELLED)
    counts = {"labelled": rows, "unlabelled": 0}
    artifacts.write_json(folder / raw.MANIFEST, {"format": 1, "modality": "text", "rows": counts, "findings": []})
    return folder


def alike(train, test, groups=(None, None)):
    sets = [dataset(["a"] * len(values), names) for values, names in zip((train, test), groups, strict=True)]
    return inspection.train_like_test(sets[0], train.astype(np.float32), sets[1], test.astype(np.float32), PARAMS)


def test_flipped_labels_are_named_with_the_label_that_fits(tmp_path):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 300)
    seen = (generator.normal(size=(300, 6)) + 6.0 * np.eye(3, 6)[truth]).astype(np.float32)
    labels = [CLASSES[label] for label in truth]
    flipped = {5: "b" if labels[5] != "b" else "c", 77: "a" if labels[77] != "a" else "b"}
    given = [flipped.get(row, label) for row, label in enumerate(labels)]
    out = tmp_path / "suspects.parquet"
    found = inspection.label_errors(
        dataset(given), seen, CLASSES, PARAMS.probe, PARAMS.checks, raw=ingested(tmp_path / "raw", 300), out=out
    )
    assert (found.verdict, found.statistic) == ("unsure", 2.0)
    # row numbers count from 1, and the first training row is row 11 of its file
    assert {(row["split"], row["row"], row["text"], row["suggested"]) for row in pq.read_table(out).to_pylist()} == {
        ("train", 16, "text 5", labels[5]), ("train", 88, "text 77", labels[77]),
    }  # fmt: skip
    assert found.evidence["looked_at"] == 300
    assert f"source row 16 (train) (text 5) is {given[5]!r}, and {labels[5]!r} fits better" in told(found)["reason"]
    assert out.as_posix() in told(found)["action"]


def test_a_suspect_is_quoted_without_what_is_personal(tmp_path):
    seen = np.eye(3, 6, dtype=np.float32)[np.arange(300) % 3] * 6
    given = [CLASSES[(row + (row == 4)) % 3] for row in range(300)]
    rows = replace(dataset(given), inputs=["write to jane.doe@corp-mail.com, please"] * 300)
    raw, out = ingested(tmp_path / "raw", 300), tmp_path / "suspects.parquet"
    found = inspection.label_errors(rows, seen, CLASSES, PARAMS.probe, PARAMS.checks, raw=raw, out=out)
    assert "source row 15 (train) (write to j***@***.com, please) is 'c', and 'b' fits better" in told(found)["reason"]
    assert "jane" not in str(found.document())


def test_a_test_set_from_elsewhere_is_told_apart():
    generator = np.random.default_rng(1)
    found = alike(generator.normal(size=(400, 10)), generator.normal(0.8, 1.0, size=(150, 10)))
    assert found.verdict == "unsure"
    assert "test asks something else than train teaches" in told(found)["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups of rows"])
def test_like_splits_are_called_different_no_more_often_than_the_level_says(grouped):
    """Of 200 draws at a level of 5%, 18 or more alarms have a probability below 1.5%."""
    generator = np.random.default_rng(2)
    ps = []
    for _ in range(200):
        group = generator.integers(0, 80, 400) if grouped else np.arange(400)
        values = generator.normal(size=(400, 20)) + (3.0 * generator.normal(size=(80, 20))[group] if grouped else 0.0)
        held = group < 20 if grouped else group < 100
        names = [[f"g{number}" for number in group[side]] for side in (~held, held)] if grouped else (None, None)
        ps.append(alike(values[~held], values[held], names).evidence["p"])
    assert stats.binom.sf(17, 200, 0.05) < 0.015
    assert sum(p < 0.05 for p in ps) < 18


def test_too_few_rows_say_nothing():
    assert "too few" in told(alike(np.zeros((1, 3)), np.ones((1, 3))))["reason"]

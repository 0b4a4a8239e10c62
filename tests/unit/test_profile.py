"""What reference answers looked like."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart import profile
from headstart.errors import BundleError, DataError
from headstart.predictor import Prediction

CLASSES = ("cat", "dog", "eel")
PREDICTIONS = [
    Prediction("cat", 0.9, (0.9, 0.1, 0.0)),
    Prediction("dog", 0.6, (0.4, 0.6, 0.0)),
    Prediction("cat", 0.7, (0.7, 0.3, 0.0)),
    Prediction("cat", 0.8, (0.8, 0.1, 0.1)),
]
LABELS = ["cat", "dog", "dog", "cat"]
PROPERTIES = [{"width": float(width), "height": 2.0} for width in (1, 2, 3, 4)]


def made(*, seed=0, rows=10):
    return profile.build(PREDICTIONS, LABELS, PROPERTIES, CLASSES, seed=seed, rows=rows)


def test_counts_are_of_every_class_even_one_never_seen():
    made_of_all = made()
    assert made_of_all.predicted_counts == {"cat": 3, "dog": 1, "eel": 0}
    assert made_of_all.label_counts == {"cat": 2, "dog": 2, "eel": 0}


def test_accuracy_is_the_share_predicted_right():
    assert made().accuracy == 0.75


def test_columns_keep_the_order_of_the_examples():
    made_of_all = made()
    assert made_of_all.labels == LABELS
    assert made_of_all.predicted == ["cat", "dog", "cat", "cat"]
    assert made_of_all.confidence.tolist() == [0.9, 0.6, 0.7, 0.8]
    assert made_of_all.properties["width"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_sample_keeps_rows_together_and_counts_everything():
    sample = made(rows=2, seed=1)
    assert sample.n == 4
    assert sample.predicted_counts == made().predicted_counts
    rows = [int(width) - 1 for width in sample.properties["width"]]
    assert rows == sorted(rows) and len(rows) == 2
    assert sample.confidence.tolist() == [PREDICTIONS[row].probability for row in rows]
    assert sample.labels == [LABELS[row] for row in rows]


def test_a_sample_follows_from_its_seed():
    drawn = {seed: tuple(made(rows=2, seed=seed).properties["width"]) for seed in range(20)}
    assert drawn == {seed: tuple(made(rows=2, seed=seed).properties["width"]) for seed in range(20)}
    assert len(set(drawn.values())) > 1


def test_a_profile_survives_its_folder(tmp_path):
    before = made()
    profile.write(tmp_path, before)
    after = profile.read(tmp_path)
    assert (after.classes, after.n, after.accuracy) == (before.classes, before.n, before.accuracy)
    assert (after.predicted_counts, after.label_counts) == (before.predicted_counts, before.label_counts)
    assert (after.labels, after.predicted) == (before.labels, before.predicted)
    assert np.array_equal(after.confidence, before.confidence)
    assert {name: values.tolist() for name, values in after.properties.items()} == {
        "width": [1.0, 2.0, 3.0, 4.0],
        "height": [2.0] * 4,
    }
    assert np.array_equal(after.probabilities, np.array([p.probabilities for p in PREDICTIONS], dtype=np.float32))


def test_a_profile_of_format_1_is_read_and_has_no_probabilities(tmp_path):
    # what headstart wrote before probabilities were kept
    profile.write(tmp_path, made())
    table = pq.read_table(tmp_path / "profile.parquet").drop_columns("probabilities")
    pq.write_table(table, tmp_path / "profile.parquet")
    document = json.loads((tmp_path / "profile.json").read_text())
    (tmp_path / "profile.json").write_text(json.dumps({**document, "format": 1}))
    old = profile.read(tmp_path)
    assert old.probabilities is None
    assert old.confidence.tolist() == [0.9, 0.6, 0.7, 0.8]


def test_the_table_has_one_column_a_property(tmp_path):
    profile.write(tmp_path, made())
    names = pq.read_table(tmp_path / "profile.parquet").column_names
    assert names == ["label", "predicted", "confidence", "probabilities", "property/height", "property/width"]


def test_the_same_profile_is_the_same_bytes_in_any_folder(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        profile.write(tmp_path / name, made())
    for name in ("profile.json", "profile.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(([], [], [], CLASSES), "at least one; got 0, 0 and 0", id="nothing"),
        pytest.param((PREDICTIONS, LABELS[:2], PROPERTIES, CLASSES), "got 4, 2 and 4", id="lengths"),
        pytest.param((PREDICTIONS, LABELS, PROPERTIES, ("cat", "eel")), "label 'dog' is not one of 2", id="class"),
        pytest.param(
            (PREDICTIONS, LABELS, [*PROPERTIES[:3], {"depth": 1.0}], CLASSES),
            r"example 3 has the properties",
            id="names",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        profile.build(*arguments, seed=0, rows=10)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("profile.json", None, "does not exist"),
        ("profile.json", b'{"format": 3}', "has format 3; this headstart reads 1 and 2"),
        ("profile.json", b'{"format": 1}', "cannot be read"),
        ("profile.parquet", None, "cannot be read"),
        ("profile.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path, name, content, sentence):
    folder = tmp_path / "profile"
    folder.mkdir()
    profile.write(folder, made())
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=sentence):
        profile.read(folder)

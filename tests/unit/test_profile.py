"""What reference answers looked like."""

import json

import numpy as np
import pyarrow as pa
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
FEATURES = np.array([[0.5, 1.0], [1.5, 2.0], [2.5, 3.0], [3.5, -1e9]], dtype=np.float32)


def made(*, seed=0, rows=10):
    return profile.build(PREDICTIONS, LABELS, PROPERTIES, CLASSES, features=FEATURES, seed=seed, rows=rows)


def many(rows, *, classes=3):
    """`rows` answers; each has its own number as its feature, and 60% for its class, the rest going down."""
    names = [f"class {number}" for number in range(classes)]
    shares = 0.4 ** np.arange(classes) * 0.6
    shares /= shares.sum()
    answers = [
        Prediction(names[row % classes], float(shares[0]), tuple(np.roll(shares, row % classes).tolist()))
        for row in range(rows)
    ]
    truth = [answer.label for answer in answers]
    properties = [{"row": float(row)} for row in range(rows)]
    features = np.arange(rows, dtype=np.float32)[:, None]
    return profile.build(answers, truth, properties, names, features=features, seed=1, rows=rows)


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
    assert np.array_equal(after.features.rows, before.features.rows)
    assert np.array_equal(after.features.values, before.features.values)
    assert np.array_equal(after.confusion, before.confusion)


def test_features_are_kept_as_half_precision_and_too_large_ones_at_its_end():
    features = made().features
    assert features.values.dtype == np.float16
    assert features.values.tolist() == [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0], [3.5, -65504.0]]


def test_features_of_2000_rows_are_kept_and_belong_to_their_rows(tmp_path):
    profile.write(tmp_path, many(2040))
    read = profile.read(tmp_path)
    assert len(read.labels) == 2040
    assert len(read.features.rows) == 2000
    assert read.features.values[:, 0].tolist() == read.properties["row"][read.features.rows].tolist()
    assert read.features.of(np.array([5, 2039])).shape[0] == np.isin([5, 2039], read.features.rows).sum()


def test_the_confusion_matrix_counts_every_example_also_those_outside_the_sample():
    # cat as cat twice; dog as dog, and as cat
    assert made(rows=2).confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_of_more_than_200_classes_the_20_largest_probabilities_are_kept_and_the_rest_is_shared_out(tmp_path):
    before = many(300, classes=201)
    profile.write(tmp_path, before)
    after = profile.read(tmp_path).probabilities
    assert after == pytest.approx(before.probabilities, abs=1e-7)
    (first, *_) = after
    assert first[:20] == pytest.approx(0.6 * 0.4 ** np.arange(20), rel=1e-3)
    assert set(first[20:].tolist()) == {first[20]}
    assert after.sum(axis=1) == pytest.approx(np.ones(300))
    assert (
        pq.read_table(tmp_path / "profile.parquet")["probabilities"].combine_chunks().flatten().to_numpy().size == 6000
    )


def test_of_200_classes_all_probabilities_are_kept():
    probabilities = many(3, classes=200).probabilities
    assert profile.kept(probabilities) is probabilities


def old(folder, *, number):
    """A profile of two answers as headstart wrote format 1 or 2."""
    columns = {"label": ["cat", "dog"], "predicted": ["cat", "cat"], "confidence": [0.9, 0.7]}
    if number == 2:
        columns["probabilities"] = pa.array([[0.9, 0.1], [0.7, 0.3]], pa.list_(pa.float32()))
    pq.write_table(pa.table({**columns, "property/width": [1.0, 2.0]}), folder / "profile.parquet", compression="zstd")
    counts = {"predicted_counts": {"cat": 2, "dog": 0}, "label_counts": {"cat": 1, "dog": 1}}
    document = {"format": number, "classes": ["cat", "dog"], "n": 2, "accuracy": 0.5, **counts}
    (folder / "profile.json").write_text(json.dumps(document))
    return profile.read(folder)


@pytest.mark.parametrize("number", [1, 2])
def test_profiles_of_older_formats_are_read_and_have_no_features(tmp_path, number):
    read = old(tmp_path, number=number)
    assert (read.n, read.labels, read.properties["width"].tolist()) == (2, ["cat", "dog"], [1.0, 2.0])
    assert (read.probabilities is None) == (number == 1)
    assert (read.features, read.confusion) == (None, None)


@pytest.mark.parametrize("number", [1, 2])
def test_a_profile_of_an_older_format_is_written_as_what_it_is(tmp_path, number):
    read = old(tmp_path, number=number)
    profile.write(tmp_path, read)
    assert json.loads((tmp_path / "profile.json").read_text())["format"] == number
    assert profile.read(tmp_path).features is None


def test_the_table_has_one_column_a_property(tmp_path):
    profile.write(tmp_path, made())
    names = pq.read_table(tmp_path / "profile.parquet").column_names
    assert names == [
        "label", "predicted", "confidence", "probabilities", "features", "property/height", "property/width",
    ]  # fmt: skip


def test_the_same_profile_is_the_same_bytes_in_any_folder(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        profile.write(tmp_path / name, made())
    for name in ("profile.json", "profile.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(([], [], [], CLASSES), "at least one; got 0, 0, 0 and 4", id="nothing"),
        pytest.param((PREDICTIONS, LABELS[:2], PROPERTIES, CLASSES), "got 4, 2, 4 and 4", id="lengths"),
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
        profile.build(*arguments, features=FEATURES, seed=0, rows=10)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("profile.json", None, "does not exist"),
        ("profile.json", b'{"format": 4}', "has format 4; this headstart reads 1, 2 and 3"),
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

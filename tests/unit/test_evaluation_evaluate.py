"""Evaluation of a file: every document whole and consistent, from a predictor of ten lines."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart import artifacts
from headstart.data import dataset as datasets
from headstart.data.cures import Prior
from headstart.data.dataset import Dataset
from headstart.errors import DataError
from headstart.evaluation.evaluate import evaluate
from headstart.params.evaluation import Evaluate
from headstart.statistics.interval import wilson

CLASSES = ("cat", "dog", "emu")
WORDS = {"cat": "meow", "dog": "woof", "emu": "boom"}


class Reader:
    """Logit 3 for the class whose sound is heard, 0 for the others; `unclear` sounds like a cat."""

    labels = CLASSES

    def logits(self, raw, *, batch_size=32):
        return np.array([[3.0 * (WORDS[name] in text) for name in CLASSES] for text in raw], dtype=np.float32)


class Looker:
    """Reads the brightness of the one byte an image has: 0, 1 or 2."""

    labels = CLASSES
    preprocessor = SimpleNamespace(prepare=lambda raw: [np.full((1, 2, 2), data[0], dtype=np.float32) for data in raw])

    def logits(self, raw, *, batch_size=32):
        return 3.0 * np.eye(3, dtype=np.float32)[[data[0] for data in raw]]


def params(modality):
    return Evaluate(modality=modality, level=0.95)


def split(modality, name, inputs, labels):
    rows = len(labels)
    ids = [f"{name}-{row}" for row in range(rows)]
    return Dataset(modality, ids, labels, inputs, [None] * rows, [None] * rows)


@pytest.fixture
def texts(tmp_path):
    """20 test texts, of which the last two are dogs that meow; train and validation are clean."""
    labels = ["cat", "dog", "emu"] * 20
    for name in ("train", "validation"):
        inputs = [f"{WORDS[label]} number {row}" for row, label in enumerate(labels)]
        datasets.write(tmp_path / f"{name}.parquet", split("text", name, inputs, labels))
    labels = [*labels[:18], "dog", "dog"]
    inputs = [f"{WORDS[label]} again" for label in labels[:18]] + ["meow", "meow meow"]
    datasets.write(tmp_path / "test.parquet", split("text", "test", inputs, labels))
    return tmp_path


def test_the_document_holds_what_was_counted(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    assert document == artifacts.read_json(tmp_path / "out" / "evaluation.json")
    assert document["n"] == {"train": 60, "validation": 60, "test": 20}
    assert document["classes"] == list(CLASSES)
    assert document["metrics"]["accuracy"]["value"] == pytest.approx(18 / 20)
    assert set(document["metrics"]) == {"accuracy", "macro_f1", "nll", "ece"}
    assert set(document["uncalibrated"]) == {"nll", "ece"}
    assert document["confusion"] == [[6, 0, 0], [2, 6, 0], [0, 0, 6]]
    dog = document["per_class"][1]
    assert dog == {
        "label": "dog", "precision": 1.0, "recall": 0.75, "f1": pytest.approx(6 / 7), "support": 8, "groups": None,
    }  # fmt: skip
    assert sum(row["n"] for row in document["reliability"]) == 20


def test_mistakes_name_rows_and_what_was_said_instead(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    found = [(row["id"], row["label"], row["predicted"]) for row in document["mistakes"]]
    assert found == [("test-18", "dog", "cat"), ("test-19", "dog", "cat")]


def test_the_calibration_is_fitted_on_validation_and_metrics_come_after_it(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    calibration = artifacts.read_json(tmp_path / "out" / "calibration.json")
    assert calibration["temperature"] < 1.0  # every validation answer is right, at p = 0.91
    top = np.exp(3 / calibration["temperature"])
    assert document["mistakes"][0]["probability"] == pytest.approx(top / (top + 2))


def test_baselines_are_paired_with_the_model_example_by_example(texts, tmp_path):
    baselines = evaluate(Reader(), texts, params("text"), tmp_path / "out")["baselines"]
    # the commonest train class is the first of three equals, cat: 6 of 20; the model wins 12 dogs and emus
    assert baselines["majority"]["accuracy"]["value"] == pytest.approx(6 / 20)
    assert baselines["majority"]["paired"]["wins"] == 12
    assert baselines["majority"]["paired"]["losses"] == 0
    assert baselines["majority"]["difference"]["value"] == pytest.approx(12 / 20)
    assert baselines["words_svm"]["accuracy"]["value"] == pytest.approx(18 / 20)


def test_the_baseline_is_the_best_on_validation_of_all_that_were_tried(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    assert set(document["baselines"]) == {"majority", "words_svm"}
    assert {one["name"] for one in document["tried"]} == {"words_svm", "characters_svm"}
    assert document["tried"][0] == {"name": "words_svm", "strength": 1.0, "validation": 1.0}


def test_guessing_answers_with_the_class_shares_of_train(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    guessing, ours = document["guessing"], document["metrics"]["nll"]["value"]
    assert guessing["nll"]["value"] == pytest.approx(math.log(3))  # 20 of 60 each
    assert guessing["difference"]["value"] == pytest.approx(ours - math.log(3))
    assert guessing["difference"]["value"] < 0
    assert guessing["difference"]["n"] == 20


def test_a_model_that_is_sure_and_wrong_has_a_larger_log_loss_than_guessing(texts, tmp_path):
    test = datasets.read(texts / "test.parquet")
    datasets.write(texts / "test.parquet", dataclasses.replace(test, labels=["dog"] * 20))  # it answers two rightly
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    difference, ours = document["guessing"]["difference"], document["metrics"]["nll"]["value"]
    assert difference["value"] == pytest.approx(ours - math.log(3))
    assert difference["low"] > 0


def test_accuracy_is_also_told_without_test_rows_that_have_near_copies_in_train(texts, tmp_path):
    assert evaluate(Reader(), texts, params("text"), tmp_path / "out")["near_copies"] is None  # not known is not none
    copies = [
        *({"id": f"test-{row}", "twin": "train-1", "split": "train", "similarity": 0.9, "how": ""} for row in range(8)),
        {"id": "test-18", "twin": "validation-1", "split": "validation", "similarity": 0.9, "how": ""},
    ]
    artifacts.write_json(texts / "near_leak.json", {"format": 1, "looked_at": 140, "test": copies})
    near = evaluate(Reader(), texts, params("text"), tmp_path / "out")["near_copies"]
    assert near["rows"] == 8
    assert near["without"]["accuracy"]["value"] == pytest.approx(10 / 12)  # both mistakes are among the other 12
    assert near["without"]["accuracy"]["n"] == 12
    copies = [{**copies[0], "id": f"test-{row}"} for row in range(20)]
    artifacts.write_json(texts / "near_leak.json", {"format": 1, "looked_at": 140, "test": copies})
    near = evaluate(Reader(), texts, params("text"), tmp_path / "out")["near_copies"]
    assert near == {"rows": 20, "without": {}}


def test_groups_of_test_widen_every_interval_and_are_counted(texts, tmp_path):
    alone = evaluate(Reader(), texts, params("text"), tmp_path / "alone")
    test = datasets.read(texts / "test.parquet")
    test = dataclasses.replace(test, groups=[f"file {row // 4}" for row in range(20)])  # the last holds both mistakes
    datasets.write(texts / "test.parquet", test)
    grouped = evaluate(Reader(), texts, params("text"), tmp_path / "grouped")
    assert (alone["groups"], grouped["groups"]) == (None, 5)
    for name, interval in grouped["metrics"].items():
        assert interval["value"] == alone["metrics"][name]["value"]
        assert interval["low"] <= alone["metrics"][name]["low"] and interval["high"] >= alone["metrics"][name]["high"]
    # groups answer 4, 4, 4, 4 and 2 of 4: residuals 0.4 four times and -1.6; error sqrt(5 / 4 * 3.2) / 20 = 0.1;
    # t(0.975, 4 degrees) = 2.776445: 0.622; one group alone errs, so Wilson's of 4.5 of 5 counts, which is wider
    assert grouped["metrics"]["accuracy"]["low"] == wilson(4.5, 5, 0.95).low < 0.9 - 0.2776445
    assert grouped["baselines"]["majority"]["paired"]["cluster_robust"]["groups"] == 5
    assert grouped["guessing"]["difference"]["high"] >= alone["guessing"]["difference"]["high"]
    assert [row["groups"] for row in grouped["per_class"]] == [4, 5, 5]  # the last holds no cat
    datasets.write(texts / "test.parquet", dataclasses.replace(test, groups=["one file"] * 20))
    one = evaluate(Reader(), texts, params("text"), tmp_path / "one")["metrics"]
    for name, most in (("accuracy", 1.0), ("macro_f1", 1.0), ("ece", 1.0), ("nll", -math.log(1e-15))):
        assert (one[name]["low"], one[name]["high"]) == (0.0, pytest.approx(most))


def test_predictions_stand_in_the_order_of_the_test_split(texts, tmp_path):
    evaluate(Reader(), texts, params("text"), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert table["id"].to_pylist() == [f"test-{row}" for row in range(20)]
    assert table["predicted"].to_pylist()[17:] == ["emu", "cat", "cat"]
    assert table["baseline/majority"].to_pylist() == ["cat"] * 20
    assert np.array(table["probabilities"].to_pylist()).sum(axis=1) == pytest.approx(np.ones(20))


def test_two_runs_write_the_same_bytes(texts, tmp_path):
    for out in ("one", "two"):
        evaluate(Reader(), texts, params("text"), tmp_path / out)
    for name in ("evaluation.json", "calibration.json", "predictions.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_images_have_pixels_for_a_baseline(tmp_path):
    labels = ["cat", "dog", "emu"] * 10
    inputs = [bytes([CLASSES.index(label)]) for label in labels]
    for name in ("train", "validation", "test"):
        datasets.write(tmp_path / f"{name}.parquet", split("image", name, inputs, labels))
    document = evaluate(Looker(), tmp_path, params("image"), tmp_path / "out")
    assert set(document["baselines"]) == {"majority", "pixels_logistic"}
    assert {one["name"] for one in document["tried"]} == {"pixels_logistic", "gradients_logistic"}
    assert document["baselines"]["pixels_logistic"]["accuracy"]["value"] == 1.0
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["mistakes"] == []


def test_an_empty_test_split_and_unknown_labels_are_refused(texts, tmp_path):
    datasets.write(texts / "test.parquet", split("text", "test", ["moo"], ["cow"]))
    with pytest.raises(DataError, match="'cow' is not one of 3 classes"):
        evaluate(Reader(), texts, params("text"), tmp_path / "out")
    datasets.write(texts / "test.parquet", split("text", "test", [], []))
    with pytest.raises(DataError, match="holds no example"):
        evaluate(Reader(), texts, params("text"), tmp_path / "out")


def test_where_production_sees_other_shares_they_are_what_is_evaluated_and_guessed_with(texts, tmp_path):
    # 6 cats, 8 dogs and 6 emus; cats at 80% and emus at 20% leave 6 cats and 2 emus (6 / 0.78 = 7.7, so 7 or 8 rows)
    prior = Prior({"cat": 0.8, "dog": 0.0, "emu": 0.2}, "cure", {"window": "noon"})
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out", prior=prior)
    shares = document["shares"]
    assert (shares["origin"], shares["source"], shares["of"], shares["short"]) == ("cure", {"window": "noon"}, 20, [])
    assert [row["support"] for row in document["per_class"]] == [6, 0, shares["rows"] - 6]
    assert document["metrics"]["accuracy"]["n"] == shares["rows"] in (7, 8)
    # the commonest class is the cat, 6 of the rows, and guessing with the shares costs about their entropy
    assert document["baselines"]["majority"]["accuracy"]["value"] == pytest.approx(6 / shares["rows"])
    assert document["guessing"]["nll"]["value"] == pytest.approx(
        -(6 * math.log(0.8) + (shares["rows"] - 6) * math.log(0.2)) / shares["rows"], abs=1e-3
    )
    # validation has a third of each: cats gain log(0.8 / (1 / 3)) against emus' log(0.2 / (1 / 3))
    moved = shares["correction"]
    assert moved["cat"] - moved["emu"] == pytest.approx(math.log(4.0))
    bias = artifacts.read_json(tmp_path / "out" / "calibration.json")["bias"]
    assert bias == pytest.approx([moved[name] for name in CLASSES])


def test_classes_with_too_few_test_rows_for_their_share_are_said(texts, tmp_path):
    test = datasets.read(texts / "test.parquet")
    datasets.write(texts / "test.parquet", test.select(row for row in range(20) if row % 3 != 2 or row == 2))  # one emu
    prior = Prior({"cat": 0.45, "dog": 0.53, "emu": 0.02}, "expected_shares")
    shares = evaluate(Reader(), texts, params("text"), tmp_path / "out", prior=prior)["shares"]
    assert shares["short"] == [] and shares["rows"] == 13
    none = Prior({"cat": 0.0, "dog": 0.0, "emu": 1.0}, "expected_shares")
    without = test.select(row for row in range(20) if row % 3 != 2)
    datasets.write(texts / "test.parquet", without)
    with pytest.raises(DataError, match="no class that production is said to see has a test row"):
        evaluate(Reader(), texts, params("text"), tmp_path / "out", prior=none)
    half = Prior({"cat": 0.5, "dog": 0.4, "emu": 0.1}, "expected_shares")
    assert evaluate(Reader(), texts, params("text"), tmp_path / "out", prior=half)["shares"]["short"] == ["emu"]


def test_without_word_of_production_every_test_row_counts(texts, tmp_path):
    document = evaluate(Reader(), texts, params("text"), tmp_path / "out")
    assert document["shares"] is None

"""Golden examples: the same choice always, and every change of an answer noticed."""

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.errors import BundleError
from headstart.evaluation import golden
from headstart.predictor import Prediction

LABELS = ("a", "b")


class Answering:
    """`b` for texts with a b in them; `nudge` moves probabilities of answers that are not alone in their batch."""

    labels = LABELS

    def __init__(self, *, nudge=0.0, turned=False):
        self.nudge, self.turned = nudge, turned

    def predict(self, raw):
        answers = []
        for text in raw:
            second = 0.8 if ("b" in text) != self.turned else 0.2
            second += self.nudge if len(raw) > 1 else 0.0
            answers.append(Prediction(LABELS[second > 0.5], max(second, 1 - second), (1 - second, second)))
        return answers


def texts(labels):
    rows = len(labels)
    ids = [f"id-{row}" for row in range(rows)]
    inputs = [f"{label} {row}" for row, label in enumerate(labels)]
    return Dataset("text", ids, labels, inputs, [None] * rows, [None] * rows)


@pytest.fixture
def sealed(tmp_path):
    chosen = texts(["a", "b", "a", "b"])
    golden.write(tmp_path, chosen, Answering().predict(chosen.inputs))
    return tmp_path


def test_choice_is_spread_over_classes_however_rare():
    labels = ["a"] * 50 + ["b"] * 2 + ["c"]
    chosen = golden.choose(texts(labels), 6)
    assert sorted(chosen.labels) == ["a", "a", "a", "b", "b", "c"]


def test_choice_does_not_depend_on_the_order_of_the_data():
    data = texts(["a", "b", "c"] * 10)
    turned = data.select(reversed(range(30)))
    assert golden.choose(data, 7).ids == golden.choose(turned, 7).ids


def test_fewer_examples_than_asked_are_all_taken():
    assert len(golden.choose(texts(["a", "b"]), 16)) == 2


def test_reads_what_was_written(sealed):
    read = golden.read(sealed)
    assert read.inputs == ["a 0", "b 1", "a 2", "b 3"]
    assert read.labels == ["a", "b", "a", "b"]
    assert read.probabilities == pytest.approx(np.array([[0.8, 0.2], [0.2, 0.8]] * 2))


def test_the_same_predictor_replays_without_a_difference(sealed):
    assert golden.replay(Answering(), sealed) == {
        "format": 1,
        "examples": 4,
        "max_difference": 0.0,
        "label_flips": 0,
    }


def test_an_answer_that_depends_on_its_neighbours_is_noticed(sealed):
    found = golden.replay(Answering(nudge=0.01), sealed)
    assert found["max_difference"] == pytest.approx(0.01)
    assert found["label_flips"] == 0


def test_labels_in_another_order_flip_every_answer(sealed):
    assert golden.replay(Answering(turned=True), sealed)["label_flips"] == 4


def test_an_answer_that_is_not_a_number_is_not_called_no_difference(sealed):
    assert golden.replay(Answering(nudge=float("nan")), sealed)["max_difference"] is None


def test_a_file_that_is_absent_or_of_other_classes_is_refused(sealed, tmp_path):
    with pytest.raises(BundleError, match=r"golden\.parquet does not exist"):
        golden.read(tmp_path / "elsewhere")
    other = Answering()
    other.labels = ("a", "b", "c")
    with pytest.raises(BundleError, match="has 2 probabilities an example; the model answers with 3"):
        golden.replay(other, sealed)


def test_each_example_needs_an_answer(tmp_path):
    with pytest.raises(BundleError, match="0 answers to 1 golden examples"):
        golden.write(tmp_path, texts(["a"]), [])


def test_answers_that_are_nearly_ties_are_golden_only_where_there_are_no_others():
    # margins 0.6, 0.01, 0.3, 0.0
    shares = [(0.8, 0.2), (0.505, 0.495), (0.35, 0.65), (0.5, 0.5)]
    answers = [Prediction("a", max(each), each) for each in shares]
    assert golden.clear(answers, 2) == [0, 2]
    assert golden.clear(answers, 3) == [0, 1, 2]
    assert golden.clear(answers, 9) == [0, 1, 2, 3]

"""Candidate against champion: paired on what both know, new classes apart, refusals counted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headstart import artifacts
from headstart.data import dataset as datasets
from headstart.data.dataset import Dataset
from headstart.errors import BundleError, ContractError
from headstart.evaluation import comparison
from headstart.evaluation.comparison import contrast
from headstart.params.evaluation import Gates

GATES = Gates(accuracy=0.6, macro_f1=0.5, calibration_error=0.15, baseline_margin=0.0, champion_margin=0.02, level=0.05)


class Echo:
    """Answers the first word of a text, unless `limit` characters are exceeded: then its contract refuses."""

    def __init__(self, labels, *, limit=1000, modality="text"):
        self.labels, self.limit = labels, limit
        self.contract = SimpleNamespace(modality=modality)
        self.preprocessor = SimpleNamespace(check=self.predict)

    def predict(self, raw):
        for index, text in enumerate(raw):
            if len(text) > self.limit:
                raise ContractError("too long", index=index)
        return [SimpleNamespace(label=text.split()[0]) for text in raw]


def test_only_examples_of_classes_that_both_know_are_paired():
    truth = ["a", "a", "b", "b", "new"]
    ours = ["a", "a", "b", "new", "new"]
    theirs = ["a", "b", "b", "b", "a"]
    document = contrast(truth, ours, theirs, known=(("a", "b", "new"), ("a", "b", "old")), gates=GATES)
    assert document["classes"] == {"both": ["a", "b"], "new": ["new"], "gone": ["old"], "untested": []}
    assert document["paired"] == {"wins": 1, "losses": 1, "n": 4, "p_value": 1.0}
    assert document["accuracy"]["candidate"]["value"] == 0.75
    assert document["new"]["accuracy"]["value"] == 1.0
    assert document["new"]["accuracy"]["n"] == 1
    # candidate: a 1.0, b found once of two and never named wrongly, 2 / 3
    assert document["macro_f1"]["candidate"]["value"] == pytest.approx((1 + 2 / 3) / 2)


def test_groups_widen_every_interval_of_the_comparison_over_the_rows_they_belong_to():
    generator = np.random.default_rng(1)
    truth = [*(["a", "b"] * 60), *(["new"] * 20)]
    answers = [
        np.where(np.repeat(generator.random(14) < share, 10), truth, "b").tolist() for share in (0.9, 0.6)
    ]  # whole groups are right or answered alike
    known = (("a", "b", "new"), ("a", "b"))
    alone, grouped = (
        contrast(truth, *answers, known=known, gates=GATES, groups=groups)
        for groups in (None, [str(row // 10) for row in range(140)])
    )
    assert "cluster_robust" not in alone["paired"]
    assert grouped["paired"]["cluster_robust"]["groups"] == 12  # those of `new` are not paired
    for path in (("difference",), ("macro_f1", "difference"), ("accuracy", "candidate"), ("new", "accuracy")):
        narrow, wide = alone, grouped
        for key in path:
            narrow, wide = narrow[key], wide[key]
        assert wide["low"] <= narrow["low"] and wide["high"] >= narrow["high"] and wide["value"] == narrow["value"]
        assert wide["high"] - wide["low"] > 1.2 * (narrow["high"] - narrow["low"])


def test_what_only_the_champion_gets_right_is_counted_by_class_the_worst_first():
    truth = ["a", "a", "b", "b", "b"]
    document = contrast(
        truth, ["a", "b", "b", "a", "a"], ["b", "b", "a", "b", "b"], known=(("a", "b"), ("a", "b")), gates=GATES
    )
    assert document["flips"] == [
        {"class": "b", "n": 3, "wins": 1, "losses": 2},
        {"class": "a", "n": 2, "wins": 1, "losses": 0},
    ]


def test_macro_f1_sees_a_class_that_is_given_up_where_accuracy_hardly_does():
    truth = ["a"] * 97 + ["b"] * 3
    document = contrast(truth, ["a"] * 100, truth, known=(("a", "b"), ("a", "b")), gates=GATES)
    assert document["difference"]["value"] == pytest.approx(-0.03)
    assert document["macro_f1"]["difference"]["value"] == pytest.approx(194 / 197 / 2 - 1)


def test_the_interval_of_the_difference_has_the_one_sided_level_of_the_gates():
    from headstart.statistics import paired

    truth = ["a"] * 60 + ["b"] * 40
    ours = ["a"] * 55 + ["b"] * 45
    document = contrast(truth, ours, truth, known=(("a", "b"), ("a", "b")), gates=GATES)
    assert document["difference"] == paired.from_counts(0, 5, 100, 0.9).interval.document()


def test_models_without_a_common_class_have_nothing_paired():
    document = contrast(["a"], ["a"], ["z"], known=(("a",), ("z",)), gates=GATES)
    assert document["paired"]["n"] == 0
    assert document["macro_f1"] is None


@pytest.fixture
def data(tmp_path):
    inputs = ["a short", "a rather longer text", "b short", "b"]
    rows = len(inputs)
    test = Dataset("text", list("1234"), ["a", "a", "b", "a"], inputs, [None] * rows, [None] * rows)
    datasets.write(tmp_path / "test.parquet", test)
    return tmp_path


def load(monkeypatch, **models):
    monkeypatch.setattr(comparison.Predictor, "load", lambda folder: models[folder.name])


def test_an_input_that_one_contract_refuses_is_a_wrong_answer_of_that_model(monkeypatch, data):
    load(monkeypatch, candidate=Echo(("a", "b")), champion=Echo(("a", "b"), limit=10))
    document = comparison.compare(Path("candidate"), Path("champion"), data, GATES)
    assert document["refused"] == {"candidate": 0, "champion": 1}
    assert document["paired"] == {"wins": 1, "losses": 0, "n": 4, "p_value": 1.0}


def test_bundles_of_different_modalities_are_not_compared(monkeypatch, data):
    load(monkeypatch, candidate=Echo(("a",)), champion=Echo(("a",), modality="image"))
    with pytest.raises(BundleError, match="the candidate answers texts and the champion images"):
        comparison.compare(Path("candidate"), Path("champion"), data, GATES)


def test_a_class_without_test_examples_is_told_from_one_that_never_had_any(monkeypatch, data, tmp_path):
    known = ("a", "b", "c", "d")
    load(monkeypatch, candidate=Echo(known), champion=Echo(known))
    champion = tmp_path / "champion"
    rows = [{"label": label, "support": support} for label, support in zip(known, (9, 9, 9, 0), strict=True)]
    artifacts.write_json(champion / "evaluation.json", {"format": 1, "per_class": rows})
    document = comparison.compare(Path("candidate"), champion, data, GATES)
    assert document["classes"]["untested"] == ["c"]


def test_a_candidate_made_for_other_class_shares_is_compared_where_classes_come_in_them(monkeypatch, tmp_path):
    # the candidate takes every b for an a, the champion every a for a b: at 9 to 1 the candidate is right more often
    labels = ["a"] * 50 + ["b"] * 50 + ["c"] * 10
    rows = [f"{label} {row}" for row, label in enumerate(labels)]
    test = Dataset("text", [str(row) for row in range(110)], labels, rows, [None] * 110, [None] * 110)
    datasets.write(tmp_path / "test.parquet", test)
    one, other = Echo(("a", "b", "c")), Echo(("a", "b", "c"))
    one.predict = lambda raw: [SimpleNamespace(label="c" if "c" in text else "a") for text in raw]
    other.predict = lambda raw: [SimpleNamespace(label="c" if "c" in text else "b") for text in raw]
    load(monkeypatch, candidate=one, champion=other)
    supports = [{"label": label, "support": 9} for label in "abc"]
    artifacts.write_json(tmp_path / "champion/evaluation.json", {"format": 2, "per_class": supports})
    artifacts.write_json(tmp_path / "candidate/evaluation.json", {"shares": None})
    plain = comparison.compare(tmp_path / "candidate", tmp_path / "champion", tmp_path, GATES)
    assert (plain["paired"]["wins"], plain["paired"]["losses"], plain["paired"]["n"]) == (50, 50, 110)
    shares = {"values": {"a": 0.9, "b": 0.1, "c": 0.0}}
    artifacts.write_json(tmp_path / "candidate/evaluation.json", {"shares": shares})
    found = comparison.compare(tmp_path / "candidate", tmp_path / "champion", tmp_path, GATES)
    assert (found["paired"]["wins"], found["paired"]["losses"], found["paired"]["n"]) == (50, 6, 56)
    assert found["classes"]["untested"] == []  # c has test rows; it is not expected to come


def test_the_champions_answers_show_where_a_lost_class_went():
    truth = ["A"] * 4 + ["b"] * 10
    theirs = ["a", "a", "a", "b"] + ["b"] * 9 + ["a"]
    document = contrast(truth, truth, theirs, known=(("A", "b"), ("a", "b")), gates=GATES)
    assert document["moved"] == [{"lost": "a", "label": "A", "count": 3, "n": 4}]  # 1 of 10 is a mistake

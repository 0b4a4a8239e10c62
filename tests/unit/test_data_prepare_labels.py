"""What prepare says of labels: spellings, rare ones, and those that train lacks."""

from tests.unit.test_data_prepare import SOUND, finding, prepared


def test_labels_with_spaces_by_the_dozen_do_not_hide_those_that_differ_in_case(tmp_path):
    spaced = [("train", f"text {n}", " " * n + "x") for n in range(1, 15)]
    labels = finding(prepared(tmp_path, [*SOUND, ("train", "eight", "X"), *spaced]), "labels")
    assert labels.reason.startswith("'X' (1 row) and 'x' (17 rows) differ in case alone")
    assert "taken off on 14 rows" in labels.reason and "and 11 more" in labels.reason
    assert labels.statistic == 15.0  # one pair, fourteen spellings with spaces


def test_counts_of_one_are_said_as_one(tmp_path):
    rows = [*SOUND, ("train", "one", "x"), ("train", "seven", "x"), ("train", "seven", "y"), ("test", "eight", "new")]
    result = prepared(tmp_path, rows)
    assert finding(result, "duplicates").reason == "1 row repeats an earlier row of the split; 1 was put aside."
    assert finding(result, "label_conflicts").reason.startswith("2 rows equal another row of the split")
    assert finding(result, "untrained_labels").reason.startswith("1 row of validation and test has a label that train")


def test_rare_labels_are_named_with_their_counts(tmp_path):
    rows = [*SOUND, ("train", "seven", "y"), ("train", "eight", "z"), ("train", "nine", "z")]
    found = finding(prepared(tmp_path, rows, examples_per_class=2), "rare_labels")
    assert found.statistic == 2.0
    assert "x (1 in train, 1 in test), z (2 in train, 0 in test)" in found.reason


def test_labels_that_train_lacks_are_put_aside_and_said(tmp_path):
    result = prepared(tmp_path, [*SOUND, ("test", "seven", "new")])
    assert [(aside.check, aside.row.number) for aside in result.quarantine] == [("untrained_labels", 7)]
    assert "train lacks: new" in finding(result, "untrained_labels").reason

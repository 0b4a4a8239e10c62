"""What prepare says of labels: spellings, rare ones, and those that train lacks."""

from headstart.report.finding_words import told
from tests.unit.test_data_prepare import SOUND, finding, prepared


def test_labels_with_spaces_by_the_dozen_do_not_hide_those_that_differ_in_case(tmp_path):
    spaced = [("train", f"text {n}", " " * n + "x") for n in range(1, 15)]
    labels = finding(prepared(tmp_path, [*SOUND, ("train", "eight", "X"), *spaced]), "labels")
    assert told(labels)["reason"].startswith("'X' (1 row) and 'x' (17 rows) differ in case alone")
    assert "taken off on 14 rows" in told(labels)["reason"] and "and 11 more" in told(labels)["reason"]
    assert labels.statistic == 15.0  # one pair, fourteen spellings with spaces


def test_counts_of_one_are_said_as_one(tmp_path):
    rows = [*SOUND, ("train", "one", "x"), ("train", "seven", "x"), ("train", "seven", "y"), ("test", "eight", "new")]
    result = prepared(tmp_path, rows)
    assert (
        told(finding(result, "duplicates"))["reason"] == "1 row repeats an earlier row of the split; 1 was put aside."
    )
    assert told(finding(result, "label_conflicts"))["reason"].startswith("2 rows equal another row of the split")
    assert told(finding(result, "untrained_labels"))["reason"].startswith(
        "1 row of validation and test has a label that train"
    )


def test_rare_labels_are_named_with_their_counts(tmp_path):
    rows = [*SOUND, *(("train", f"y{number}", "y") for number in range(7))]  # and one in SOUND
    found = finding(prepared(tmp_path, rows), "rare_labels")
    assert found.statistic == 1.0
    assert told(found)["reason"] == "1 of 2 classes has fewer than 8 training rows: x (1 in train, 1 in test)."


def test_classes_of_which_the_test_can_show_nothing_are_named_with_their_counts(tmp_path):
    def of(label, train, validation, test):
        counts = {"train": train, "validation": validation, "test": test}
        return [(split, f"{label} {split} {n}", label) for split, count in counts.items() for n in range(count)]

    enough = of("sound", 8, 1, 5)
    found = finding(prepared(tmp_path, [*enough, *of("unseen", 8, 0, 2), *of("blind", 8, 0, 9)]), "unjudged_classes")
    assert (found.verdict, found.statistic) == ("unsure", 2.0)
    assert "2 of 3 classes have no validation row or fewer than 5 test rows" in told(found)["reason"]
    assert "unseen (8/0/2), blind (8/0/9)." in told(found)["reason"]


def test_classes_that_can_be_judged_pass(tmp_path):
    counts = {"train": 8, "validation": 1, "test": 5}
    rows = [(split, f"{label} {split} {n}", label) for label in "xy" for split in counts for n in range(counts[split])]
    assert finding(prepared(tmp_path, rows), "unjudged_classes").verdict == "pass"


def test_labels_that_train_lacks_are_put_aside_and_said(tmp_path):
    result = prepared(tmp_path, [*SOUND, ("test", "seven", "new")])
    assert [(row["check"], row["row"]) for row in result.quarantine.to_pylist()] == [("untrained_labels", 7)]
    assert "train lacks: new" in told(finding(result, "untrained_labels"))["reason"]


def test_labels_that_look_the_same_are_one_class_and_the_rows_are_counted(tmp_path):
    """Files written on macOS hold decomposed letters: six classes where a person sees four."""
    rows = [("train", "seven", "caf\u00e9"), ("train", "eight", "cafe\u0301"), ("train", "nine", "x\u200b")]
    rows += [("train", "ten", "\ufeffx"), ("test", "eleven", "cafe\u0301"), ("train", "twelve", "x  y\u00a0z")]
    result = prepared(tmp_path, [*SOUND, *rows])
    assert result.classes == ["caf\u00e9", "x", "x y z", "y"]
    labels = finding(result, "labels")
    assert (labels.verdict, labels.evidence["trimmed"]) == ("unsure", 5)
    assert "made alike (NFC) on 2 rows: 'cafe\\u0301' (2 rows)" in told(labels)["reason"]
    assert "invisible characters were taken out of the label on 2 rows" in told(labels)["reason"]
    assert "surplus spaces in the label were taken off on 1 row: 'x  y\\xa0z' (1 row)" in told(labels)["reason"]


def test_the_label_map_is_compared_in_the_normal_spelling_too(tmp_path):
    rows = [*SOUND, ("train", "seven", "cafe\u0301"), ("train", "eight", "tea")]
    result = prepared(tmp_path, rows, labels={"caf\u00e9": "drinks", "tea": "drinks\u200b"})
    assert result.classes == ["drinks", "x", "y"]
    evidence = finding(result, "labels").evidence
    assert (evidence["trimmed"], evidence["mapped"], evidence["case_variants"], evidence["unused"]) == (1, 2, [], [])


def test_a_label_of_nothing_visible_is_no_label(tmp_path):
    result = prepared(tmp_path, [*SOUND, ("train", "seven", "\u200b"), ("train", "eight", "\u00a0")])
    assert result.classes == ["x", "y"]
    assert finding(result, "unlabelled").statistic == 0.0
    assert sum(result.summary["rows"].values()) == len(SOUND)


def test_labels_that_hardly_differ_are_asked_about_with_the_map_that_joins_them(tmp_path):
    rows = [*SOUND, ("train", "seven", "Out of scope"), ("train", "eight", "out-of-scope"), ("train", "nine", "-1")]
    rows += [("train", "ten", "out-of-scope"), ("train", "eleven", "1")]
    labels = finding(prepared(tmp_path, rows), "labels")
    assert (
        told(labels)["reason"]
        == "'Out of scope' (1 row) and 'out-of-scope' (2 rows) hardly differ and are two classes."
    )
    assert 'prepare: {labels: {"Out of scope": "out-of-scope"}}' in told(labels)["action"]
    assert labels.evidence["case_variants"] == [["Out of scope", "out-of-scope"]]

"""Rows that are nearly equal: edited texts and copied pictures are found, rows that are merely alike are not."""

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from headstart.data.checks import near_image, near_text
from headstart.data.checks.image import Pictures
from headstart.data.checks.near_image import NearImages
from headstart.data.checks.near_text import NearTexts
from headstart.report.finding_words import told
from tests.unit.checked_rows import encoded, every, examples, findings, photo, real, real_rows

WORDS = [
    f"{first}{second}" for first in ("ba", "ko", "mi", "tu", "re") for second in ("lan", "dor", "vik", "sem", "pok")
]
PIXELS = 10_000_000


def sentence(seed, words):
    random = np.random.default_rng(seed)
    return " ".join(random.choice(WORDS, words)) + f" {seed}"


def texts(payloads, rows=None, chosen=None, similarity=0.8):
    return findings(NearTexts(every(payloads) if chosen is None else chosen, similarity, 29), payloads, rows)


def images(payloads, rows=None, similarity=0.95):
    return findings(Pictures([NearImages(every(payloads), similarity)], max_pixels=PIXELS), payloads, rows)


@pytest.mark.parametrize("words", [12, 60])
def test_an_edited_copy_of_a_test_text_is_a_near_leak(words):
    # by hand for 60 words: one last word more leaves 59 + 1 of 60 word triples in common, index 59/60
    whole = sentence(1, words)
    payloads = [whole + " X", *[sentence(seed, words) for seed in range(2, 30)], whole]
    rows = examples(payloads, splits=["train"] * 29 + ["test"])
    reasons, finding = texts(payloads, rows)["near_leak"]
    assert (finding.verdict, finding.statistic) == ("unsure", 1.0)
    assert set(reasons) == {0} and reasons[0]["twin"] == {"row": 30, "split": "test"}


@pytest.mark.parametrize(
    ("split", "said"), [("test", "accuracy is too good"), ("validation", "test split is not touch")]
)
def test_only_a_near_leak_of_test_rows_makes_the_measured_accuracy_too_good(split, said):
    payloads = [sentence(1, 60) + " X", sentence(1, 60)]
    assert said in told(texts(payloads, examples(payloads, splits=["train", split]))["near_leak"][1])["action"]


def test_case_and_punctuation_make_no_other_text():
    payloads = ["What are the Twin Cities ?", "what are the twin cities", "Where does the river end ?"]
    assert set(texts(payloads)["near_duplicates"][0]) == {1}


def test_texts_of_one_topic_are_not_nearly_equal():
    payloads = ["How many people live in Chile?", "How many people live in Norway?", "What is the capital of Chile?"]
    said = texts(payloads, examples(payloads, splits=["train", "train", "test"]))
    assert {check: finding.verdict for check, (_, finding) in said.items()} == {
        "near_leak": "pass",
        "near_duplicates": "pass",
    }


def test_equal_rows_are_left_to_other_checks():
    payloads = ["exactly the same words here"] * 4
    said = texts(payloads, examples(payloads, splits=["train", "train", "validation", "test"]))
    assert all(finding.statistic == 0 for _, finding in said.values())


def test_the_later_row_goes_and_rows_of_test_never_do():
    base = sentence(3, 60)
    payloads = [base + " one", base + " two", base + " three", base + " four"]
    rows = examples(payloads, splits=["train", "validation", "test", "test"])
    said = texts(payloads, rows)
    assert set(said["near_leak"][0]) == {0, 1}
    assert said["near_duplicates"][0] == {}
    assert said["near_duplicates"][1].statistic == 1.0


def test_near_duplicates_of_different_labels_and_groups_are_said():
    base = sentence(4, 60)
    payloads = [base + " one", base + " two"]
    _, finding = texts(payloads, examples(payloads, labels=["x", "y"], groups=["g", "h"]))["near_duplicates"]
    assert finding.verdict == "unsure"
    assert (finding.evidence["other_label"], finding.evidence["other_group"]) == (1, 1)
    assert "different label" in told(finding)["reason"] and "different group" in told(finding)["reason"]


def test_rows_not_chosen_are_not_compared_and_the_finding_says_how_many_were():
    base = sentence(5, 60)
    payloads = [base + " one", base + " two", sentence(6, 60)]
    _, finding = texts(payloads, chosen=np.array([True, False, True]))["near_duplicates"]
    assert finding.statistic == 0.0
    assert "2 different texts of 3 rows were compared, drawn at random" in told(finding)["reason"]


def test_a_template_filled_in_a_thousand_ways_is_found_without_comparing_all():
    payloads = [f"Dear customer {number}, " + sentence(7, 60) for number in range(1000)]
    assert texts(payloads)["near_duplicates"][1].statistic == 999.0


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=60), st.sets(st.integers(0, 2**32 - 1), min_size=1))
def test_the_index_is_that_of_the_sets(first, second):
    arrays = [np.array(sorted(values), np.uint32) for values in (first, second)]
    assert near_text.jaccard(*arrays) == pytest.approx(len(first & second) / len(first | second))


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_a_pair_at_the_bar_becomes_a_candidate_99_times_in_100(similarity):
    bands, rows = near_text.banded(similarity)
    assert bands * rows <= near_text.PERMUTATIONS
    assert 1 - (1 - similarity**rows) ** bands >= 0.99


def altered(picture, how):
    side = picture.width
    return {
        "saved anew": lambda: encoded(picture, "JPEG", quality=50),
        "half the size": lambda: encoded(picture.resize((side // 2, side // 2))),
        "brighter": lambda: encoded(ImageEnhance.Brightness(picture).enhance(1.05)),
    }[how]()


TRANSPOSED = {
    "": None,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "upside down": Image.Transpose.ROTATE_180,
    "mirrored upside down": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned left": Image.Transpose.ROTATE_90,
    "turned right": Image.Transpose.ROTATE_270,
    "mirrored and turned left": Image.Transpose.TRANSPOSE,
    "mirrored and turned right": Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("how", near_image.TURNS)
def test_hashes_of_turned_pictures_are_those_that_imagehash_gives_the_pictures_pillow_turned(how):
    thumbnails = [photo(seed, side=32).convert("L") for seed in range(50)]
    ours = near_image.perceptual(np.array([np.asarray(thumbnail) for thumbnail in thumbnails]))[how]
    turned = [picture if how == "" else picture.transpose(TRANSPOSED[how]) for picture in thumbnails]
    theirs = [int(str(imagehash.phash(picture)), 16) for picture in turned]
    # a frequency may lie within rounding of the median
    assert max(int(one ^ np.uint64(other)).bit_count() for one, other in zip(ours, theirs, strict=True)) <= 1
    assert sum(int(one) == other for one, other in zip(ours, theirs, strict=True)) >= 45


@pytest.mark.parametrize("how", [how for how in near_image.TURNS if how])
def test_a_turned_or_mirrored_copy_of_a_test_picture_is_a_near_leak_and_says_how(how):
    payloads = [*[encoded(photo(seed)) for seed in range(1, 40)], encoded(photo(1).transpose(TRANSPOSED[how]))]
    reasons, finding = images(payloads, examples(payloads, splits=["test"] * 39 + ["train"]))["near_leak"]
    assert set(reasons) == {39}
    assert (reasons[39]["twin"], reasons[39]["how"]) == ({"row": 1, "split": "test"}, how)
    assert f"source row 40 (train) and source row 1 (test) {how}" in told(finding)["reason"]


def test_a_turned_picture_that_is_not_square_is_found():
    picture = photo(1, side=64).resize((64, 40))
    payloads = [encoded(picture), encoded(picture.transpose(Image.Transpose.ROTATE_90))]
    assert images(payloads)["near_duplicates"][1].evidence["pairs"][0]["how"] == "turned left"


@pytest.mark.parametrize("how", ["saved anew", "half the size", "brighter"])
def test_an_altered_copy_of_a_test_picture_is_a_near_leak(how):
    payloads = [altered(photo(1), how), *[encoded(photo(seed)) for seed in range(2, 40)], encoded(photo(1))]
    rows = examples(payloads, splits=["train"] * 39 + ["test"])
    reasons, finding = images(payloads, rows)["near_leak"]
    assert set(reasons) == {0}
    assert finding.evidence["pairs"][0]["how"] == ""


def test_different_pictures_are_not_nearly_equal():
    payloads = [encoded(photo(seed)) for seed in range(300)]
    assert all(finding.statistic == 0 for _, finding in images(payloads).values())


def test_a_set_of_which_no_picture_can_be_compared_is_no_error():
    # the scans of `digits` are 8 pixels a side: too few for a perceptual hash
    tiny = [encoded(np.full((8, 8), level)) for level in range(0, 200, 20)]
    found = images(tiny)
    assert {finding.verdict for _, finding in found.values()} == {"pass"}


def test_flat_pictures_and_broken_files_are_left_out():
    payloads = [encoded(np.full((32, 32), level)) for level in (10, 11, 200)] + [b"no image", None, encoded(photo(1))]
    _, finding = images(payloads)["near_duplicates"]
    assert (finding.statistic, finding.evidence["looked_at"], finding.evidence["left_out"]) == (0.0, 1, 3)


def test_many_copies_of_one_picture_all_have_a_twin():
    random = np.random.default_rng(8)
    base = np.asarray(photo(9).convert("L"), np.int16)
    payloads = [encoded(np.clip(base + random.integers(-3, 4, base.shape), 0, 255)) for _ in range(300)]
    assert images(payloads)["near_duplicates"][1].statistic == 299.0


@pytest.mark.slow
@real
@pytest.mark.parametrize(("name", "leaks", "within"), [("trec6", 4, 23), ("subj", 2, 9), ("acl_arc", 0, 1)])
def test_near_duplicate_texts_of_real_sets(name, leaks, within):
    # all 39 were read by eye: 32 are edits of one sentence, 7 of trec6 are templates ("3rd president" and "23rd",
    # "CNN is the abbreviation for what ?" and "CPR", the letters F and B), which no index of shingles tells apart
    payloads, rows = real_rows(name)
    said = texts(payloads, rows)
    assert (said["near_leak"][1].statistic, said["near_duplicates"][1].statistic) == (leaks, within)


@pytest.mark.slow
@real
@pytest.mark.parametrize("name", ["cifar10_jpeg", "pneumonia_mnist", "hymenoptera"])
def test_real_pictures_of_one_kind_are_not_taken_for_copies(name):
    payloads, rows = real_rows(name)
    assert all(finding.statistic == 0 for _, finding in images(payloads, rows).values())


@real
def test_real_pictures_saved_anew_are_found():
    payloads, _ = real_rows("hymenoptera")
    payloads = payloads[:100] + [
        encoded(Image.open(io.BytesIO(payload)).convert("RGB"), "JPEG", quality=60) for payload in payloads[:100]
    ]
    rows = examples(payloads, splits=["test"] * 100 + ["train"] * 100)
    assert images(payloads, rows)["near_leak"][1].statistic >= 97


def test_every_test_row_with_a_near_copy_in_train_is_listed_not_the_first_alone():
    base = sentence(1, 60)
    payloads = [base, base + " lan", base + " dor", sentence(2, 60), base + " vik", base + " sem"]
    rows = examples(payloads, splits=["test", "test", "test", "test", "train", "validation"])
    _, finding = texts(payloads, rows)["near_leak"]
    assert [(row["id"], row["twin"], row["split"]) for row in finding.evidence["test"]] == [
        (str(rows.ids[place]), str(rows.ids[4]), "train") for place in (0, 1, 2)
    ]


def test_a_test_row_that_only_validation_copies_names_validation():
    payloads = [sentence(1, 60), sentence(1, 60) + " lan"]
    rows = examples(payloads, splits=["test", "validation"])
    assert [row["split"] for row in texts(payloads, rows)["near_leak"][1].evidence["test"]] == ["validation"]


def test_every_test_picture_with_a_near_copy_in_train_is_listed():
    payloads = [encoded(photo(1)), encoded(ImageEnhance.Brightness(photo(1)).enhance(1.05)), encoded(photo(2))]
    payloads.append(encoded(ImageEnhance.Brightness(photo(1)).enhance(0.95)))
    rows = examples(payloads, splits=["test", "test", "test", "train"])
    found = images(payloads, rows)["near_leak"][1].evidence["test"]
    assert [row["id"] for row in found] == [str(rows.ids[0]), str(rows.ids[1])]

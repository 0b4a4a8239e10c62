"""Shortcuts: marks, tokens and lengths that give labels away are named; topics and natural differences are not."""

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.checks.image import Pictures
from headstart.data.checks.shortcuts import TextShortcuts
from headstart.data.checks.watermark import ImageShortcuts
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, encoded, every, examples, findings, photo, real, real_rows

WORDS = [
    f"{first}{second}" for first in ("ba", "ko", "mi", "tu", "re") for second in ("lan", "dor", "vik", "sem", "pok")
]
PIXELS = 10_000_000
N = 400


def texts(payloads, rows):
    return findings(TextShortcuts(every(payloads), level=LEVEL, seed=29), payloads, rows)


def images(payloads, rows):
    inspector = Pictures([ImageShortcuts(every(payloads), level=LEVEL, seed=29)], max_pixels=PIXELS)
    return findings(inspector, payloads, rows)


def labelled(seed=0, n=N):
    """Random words, and labels that have nothing to do with them."""
    random = np.random.default_rng(seed)
    payloads = [" ".join(random.choice(WORDS, random.integers(5, 25))) for _ in range(n)]
    return payloads, random.choice(["cat", "dog", "emu"], n).tolist()


def test_labels_that_have_nothing_to_do_with_the_texts_have_no_shortcut():
    for seed in range(20):
        payloads, labels = labelled(seed)
        assert {finding.verdict for _, finding in texts(payloads, examples(payloads, labels)).values()} == {"pass"}


def test_a_label_whose_texts_are_longer_is_a_length_shortcut():
    payloads, labels = labelled()
    payloads = [text * 8 if label == "cat" else text for text, label in zip(payloads, labels, strict=True)]
    _, finding = texts(payloads, examples(payloads, labels))["length_shortcut"]
    assert finding.verdict == "unsure"
    assert finding.statistic is not None and finding.statistic > 0.3


@pytest.mark.parametrize("check", ["token_shortcut", "length_shortcut"])
def test_what_tells_a_quarter_of_a_class_is_a_shortcut(check):
    payloads, labels = labelled(n=1500)
    own = [place for place, label in enumerate(labels) if label == "cat"]
    for place in own[: len(own) // 4]:
        payloads[place] += " xqz7" if check == "token_shortcut" else " and so on" * 60
    found = texts(payloads, examples(payloads, labels))
    assert found[check][1].verdict == "unsure"


def test_one_class_of_ten_that_its_length_tells_is_a_length_shortcut():
    """Of all ten labels length takes a tenth of the errors off, too little to be seen in the whole."""
    payloads, _ = labelled(n=1000)
    labels = [f"class {number % 10}" for number in range(1000)]
    payloads = [
        f"{text} {'and so on ' * 60}" if label == "class 3" else text
        for text, label in zip(payloads, labels, strict=True)
    ]
    _, found = texts(payloads, examples(payloads, labels))["length_shortcut"]
    assert found.verdict == "unsure"
    assert "'class 3' is told from all others by it" in told(found)["reason"]


@pytest.mark.parametrize("mark", ["[src:a]", "id4711", "http://zoo.example/cat", "@zoo"])
def test_a_mark_in_half_of_a_class_is_a_token_shortcut(mark):
    payloads, labels = labelled()
    rows = zip(range(N), payloads, labels, strict=True)
    payloads = [f"{text} {mark}" if label == "cat" and at % 2 else text for at, text, label in rows]
    _, finding = texts(payloads, examples(payloads, labels))["token_shortcut"]
    assert finding.verdict == "unsure"
    assert finding.evidence["tokens"][0]["label"] == "cat"
    assert mark in {entry["token"] for entry in finding.evidence["tokens"]}


@pytest.mark.parametrize(("share", "verdict"), [(0.6, "pass"), (1.0, "unsure")])
def test_a_plain_word_is_a_topic_unless_nearly_every_text_has_it(share, verdict):
    payloads, labels = labelled()
    random = np.random.default_rng(1)
    payloads = [
        f"{text} whiskers" if label == "cat" and random.random() < share else text
        for text, label in zip(payloads, labels, strict=True)
    ]
    assert texts(payloads, examples(payloads, labels))["token_shortcut"][1].verdict == verdict


def test_rows_of_test_do_not_count():
    payloads, labels = labelled()
    payloads = [text * 8 if label == "cat" else text for text, label in zip(payloads, labels, strict=True)]
    said = texts(payloads, examples(payloads, labels, splits=["test"] * N))
    assert {finding.verdict for _, finding in said.values()} == {"pass"}


@pytest.mark.parametrize("payloads", [[], ["one"], ["one", "two"], [None] * 50])
def test_too_few_rows_are_no_evidence(payloads):
    labels = ["x", "y"] * 25
    said = texts(payloads, examples(payloads, labels[: len(payloads)]))
    assert {finding.verdict for _, finding in said.values()} == {"pass"}


def stamped(picture, kind):
    picture = picture.copy()
    side = picture.width
    if kind == "logo":
        picture.paste((250, 20, 20), (side - side // 5, side - side // 5, side, side))
    elif kind == "border":
        inner = picture.resize((side - side // 5, side - side // 5))
        picture.paste((255, 255, 255), (0, 0, side, side))
        picture.paste(inner, (side // 10, side // 10))
    return picture


def pictures(kind, share, n=160):
    random = np.random.default_rng(2)
    labels = random.choice(["cat", "dog"], n).tolist()
    payloads = [
        encoded(stamped(photo(seed), kind if label == "cat" and random.random() < share else ""), "JPEG", quality=85)
        for seed, label in enumerate(labels)
    ]
    return payloads, examples(payloads, labels)


@pytest.mark.parametrize(("kind", "place"), [("logo", "bottom right"), ("border", "rim")])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_mark_on_one_class_is_a_watermark(kind, place, share):
    payloads, rows = pictures(kind, share)
    _, finding = images(payloads, rows)["watermark"]
    assert (finding.verdict, finding.statistic) == ("unsure", 1.0)
    assert finding.evidence["marks"][0]["label"] == "cat"
    assert finding.evidence["marks"][0]["where"] == place


def test_pictures_without_a_mark_have_none():
    payloads, rows = pictures("", 0.0)
    assert {finding.verdict for _, finding in images(payloads, rows).values()} == {"pass"}


def test_a_rim_that_all_share_is_said_and_no_shortcut():
    payloads = [encoded(stamped(photo(seed), "border")) for seed in range(60)]
    _, finding = images(payloads, examples(payloads, ["cat", "dog"] * 30))["watermark"]
    assert finding.verdict == "pass"
    assert "rim of nearly all images" in told(finding)["reason"]


def test_a_label_whose_pictures_have_another_shape_is_a_length_shortcut():
    payloads = [encoded(photo(seed).resize((48, 48 if seed % 2 else 40))) for seed in range(100)]
    _, finding = images(payloads, examples(payloads, ["cat", "dog"] * 50))["length_shortcut"]
    assert finding.verdict == "unsure"
    assert "alone 100.0%" in told(finding)["reason"]


@real
@pytest.mark.parametrize("name", ["trec6", "banking77", "subj", "acl_arc", "pubmedqa_sections"])
def test_topical_words_and_natural_lengths_of_real_texts_are_no_shortcuts(name):
    payloads, rows = real_rows(name)
    assert {finding.verdict for _, finding in texts(payloads, rows).values()} == {"pass"}


@real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10_jpeg", set()),
        ("hymenoptera", set()),
        # file size alone takes 44% of the errors off: X-rays of sound lungs show finer detail
        ("pneumonia_mnist", {"length_shortcut"}),
        ("mnist", set()),
    ],
)
def test_real_pictures_have_no_mark(name, expected):
    payloads, rows = real_rows(name)
    said = images(payloads, rows)
    assert {check for check, (_, finding) in said.items() if finding.verdict != "pass"} == expected


@real
def test_a_small_logo_on_real_photos_of_one_class_is_found():
    payloads, rows = real_rows("hymenoptera")
    marked = []
    for payload, label in zip(payloads, rows.labels, strict=True):
        picture = Image.open(io.BytesIO(payload)).convert("RGB")
        marked.append(encoded(stamped(picture, "logo" if label else ""), "JPEG", quality=85))
    _, finding = images(marked, examples(marked, [rows.classes[label] for label in rows.labels]))["watermark"]
    assert finding.verdict == "unsure"

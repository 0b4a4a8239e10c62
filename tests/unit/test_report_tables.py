import base64
import io

import pytest
from PIL import Image

from headstart.report import confusion, sparklines, tables
from headstart.report.figure import shortened
from headstart.report.plots import percent, rounded, scientific

CLASSES = ["a", "b", "c"]
COUNTS = [[8, 2, 0], [1, 3, 0], [4, 0, 6]]
EVALUATION = {
    "classes": CLASSES,
    "confusion": COUNTS,
    "per_class": [
        {"label": "a", "precision": 8 / 13, "recall": 0.8, "f1": 0.696, "support": 10},
        {"label": "b", "precision": 0.6, "recall": 0.75, "f1": 0.667, "support": 4},
        {"label": "c", "precision": 1.0, "recall": 0.6, "f1": 0.75, "support": 10},
    ],
}


def picture(size: tuple[int, int], mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def test_mix_ups_are_told_most_common_first_and_single_ones_left_out():
    found = confusion.mix_ups(CLASSES, COUNTS, 10)
    assert [(one.true, one.predicted, one.count) for one in found] == [("c", "a", 4), ("a", "b", 2)]
    assert found[0].share == pytest.approx(0.4)  # 4 of the 10 of class c


def test_where_nothing_was_mixed_up_twice_single_mix_ups_are_told():
    found = confusion.mix_ups(CLASSES, [[9, 1, 0], [0, 4, 0], [0, 0, 5]], 10)
    assert [(one.true, one.predicted, one.count) for one in found] == [("a", "b", 1)]


def test_classes_are_listed_weakest_first_with_what_they_are_taken_for():
    _, rows = tables.class_rows(EVALUATION, 0.95)
    assert [(row.label, row.taken_for) for row in rows] == [("b", "a (1)"), ("a", "b (2)"), ("c", "a (4)")]


def test_the_scale_of_recall_starts_below_the_lowest_interval():
    start, rows = tables.class_rows(EVALUATION, 0.95)
    assert start == 0.3  # Wilson 0.95 of 3 of 4 starts at 0.301, of 6 of 10 at 0.313
    assert all(0 <= row.sparkline.left <= row.sparkline.dot <= row.sparkline.left + row.sparkline.width for row in rows)


def test_every_count_of_the_matrix_is_drawn_and_told():
    drawn = confusion.matrix(CLASSES, COUNTS, "alt", ranked=[])
    assert drawn.count("<title>") == 6
    assert "<title>c taken for a: 4 of 10</title>" in drawn
    assert "<title>a right: 8 of 10</title>" in drawn


def test_a_strip_places_interval_value_and_bar_in_per_cent_of_its_scale():
    drawn = sparklines.sparkline({"low": 0.6, "value": 0.7, "high": 0.8}, 0.5, 1.0, mark=0.55)
    assert (drawn.left, drawn.width, drawn.dot, drawn.mark) == (20.0, 40.0, 40.0, 10.0)


def test_a_strip_is_cut_off_at_the_end_of_its_scale():
    drawn = sparklines.sparkline({"low": 0.2, "value": 0.7, "high": 1.3}, 0.5, 1.0)
    assert (drawn.left, drawn.width) == (0.0, 100.0)


def test_a_finding_without_an_interval_has_no_strip():
    assert sparklines.of_finding({"check": "parity", "bar": 1e-3, "evidence": {"examples": 128}}) is None


def test_small_pictures_keep_their_pixels_and_photos_become_small():
    assert tables.thumbnail(picture((8, 8), "L")).startswith("data:image/png;base64,")
    uri = tables.thumbnail(picture((2000, 1000)))
    assert uri.startswith("data:image/jpeg;base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert shown.size == (112, 56)


@pytest.mark.parametrize("encoded", [b"", b"no image", picture((64, 64))[:60]], ids=["empty", "other", "truncated"])
def test_what_is_no_picture_has_no_thumbnail(encoded):
    assert tables.thumbnail(encoded) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.02, "0.02"),
        (0.0, "0"),
        (8.5e-4, "8.5 × 10⁻⁴"),
        (1e-7, "1 × 10⁻⁷"),
        (-2e-5, "−2 × 10⁻⁵"),
        (9.96e-5, "1 × 10⁻⁴"),
    ],
)
def test_small_numbers_are_written_as_people_do(value, told):
    assert scientific(value) == told


def test_shares_keep_one_digit_in_columns_and_drop_it_on_scales():
    assert (percent(0.93), rounded(0.93), rounded(0.125), percent(-0.02)) == ("93.0%", "93%", "12.5%", "−2.0%")


def test_a_long_label_loses_its_middle():
    assert shortened("balance_not_updated_after_cheque", 16) == "balance_no…heque"
    assert shortened("two\nlines", 16) == "two lines"

"""What two contracts differ in is told value by value."""

import pytest

from headstart.contract import difference
from headstart.contract.spec import Contract
from tests.unit.contract_examples import LABELS, image_spec, text_spec, tokenizer_json

PICTURES = Contract("image", image_spec(), LABELS)


def test_equal_contracts_do_not_differ() -> None:
    assert difference.between(PICTURES, Contract("image", image_spec(), LABELS)) == []


def test_a_value_of_the_input_is_named_with_both_sides() -> None:
    [found] = difference.between(Contract("image", image_spec(resample="bicubic"), LABELS), PICTURES)
    assert (found.name, found.sent, found.served) == ("resample", "bicubic", "bilinear")
    assert str(found) == "resample is 'bilinear' and was 'bicubic'"


def test_swapped_channels_are_a_difference() -> None:
    [found] = difference.between(Contract("image", image_spec(flip_channels=True), LABELS), PICTURES)
    assert (found.name, found.sent, found.served) == ("flip_channels", True, False)


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        (("a", "b"), ("a", "b", "c"), "labels have 'c' in addition"),
        (("a", "b", "c"), ("a", "b"), "labels lack 'c'"),
        (("a", "b"), ("a", "c"), "labels have 'c' in addition and lack 'b'"),
        (
            ("a", "b", "c"),
            ("a", "c", "b"),
            "labels stand in another order, from place 1 on: 'c' is there and 'b' was",
        ),
    ],
)
def test_labels_that_came_went_or_moved_are_named(before: tuple[str, ...], now: tuple[str, ...], sentence: str) -> None:
    sent, served = (Contract("image", image_spec(), labels) for labels in (before, now))
    assert [str(found) for found in difference.between(sent, served)] == [sentence]


def test_another_modality_is_one_difference_of_the_input() -> None:
    texts = Contract("text", text_spec(tokenizer_json()), LABELS)
    [found] = difference.between(texts, PICTURES)
    assert str(found) == "modality is 'image' and was 'text'"

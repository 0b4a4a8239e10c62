"""How far data lie from the backbone's own domain."""

import numpy as np
import pytest

from headstart.backbones import reference
from headstart.data.dataset import Dataset
from headstart.transfer import domain_shift
from headstart.transfer.domain_shift import Side
from tests.unit import tiny_transfer

RANDOM = np.random.default_rng(11)
FIRST, SECOND = RANDOM.normal(size=(300, 6)).astype(np.float32), RANDOM.normal(size=(200, 6)).astype(np.float32)


def side(seen, groups=None) -> Side:
    none = [None] * len(seen)
    rows = Dataset(
        "text", list(map(str, range(len(seen)))), [""] * len(seen), ["ban"] * len(seen), groups or none, none
    )
    return Side(rows, seen)


def test_two_draws_of_one_distribution_are_hardly_told_apart():
    found = domain_shift.distance(side(FIRST), side(SECOND))
    assert found["error"]["n"] == 200  # equally many of both sides, 400, and as wide as for half of them
    assert found["error"]["low"] <= 0.5 <= found["error"]["high"]
    assert (found["low"], found["saturated"]) == (0.0, False)


def test_the_distance_is_two_times_one_less_two_errors_and_so_are_its_ends():
    found = domain_shift.distance(side(FIRST), side(SECOND + 1.0))
    error = found["error"]
    assert 0.05 < error["value"] < 0.3  # 1 apart in six directions: a distance of 2.45, an error of 0.11 at best
    assert found["value"] == pytest.approx(2 * (1 - 2 * error["value"]))
    assert (found["low"], found["high"]) == pytest.approx((2 * (1 - 2 * error["high"]), 2 * (1 - 2 * error["low"])))


def test_a_distance_that_saturates_says_so():
    found = domain_shift.distance(side(FIRST), side(SECOND + 20.0))
    assert (found["value"], found["saturated"]) == (2.0, True)


def test_copies_in_one_group_do_not_make_domains_look_apart():
    # ten copies each of a few points of one distribution: a probe that learns from some would know the others
    few = RANDOM.normal(size=(40, 30)).astype(np.float32)
    seen, own = np.repeat(few[:20], 10, axis=0), np.repeat(few[20:], 10, axis=0)
    groups = [str(row // 10) for row in range(200)]
    together = domain_shift.distance(side(seen, groups), side(own, groups))
    assert together["value"] < 1.0 < domain_shift.distance(side(seen), side(own))["value"]


def test_with_three_examples_nothing_is_said():
    assert domain_shift.distance(side(FIRST), side(SECOND[:3])) is None


@pytest.mark.slow
def test_the_sample_beside_the_backbone_is_what_data_are_compared_with(tmp_path):
    folder = tiny_transfer.text_model(tmp_path)
    context = tiny_transfer.context(folder)
    learn = context.read(folder / "data", "train")
    assert domain_shift.measure(context, learn) is None
    texts = [*learn.examples.inputs, "x" * 2000]  # longer than the contract takes: left out
    reference.write(folder / "backbone" / reference.FILE, "text", texts, ["a"] * len(texts))
    found = domain_shift.measure(tiny_transfer.context(folder), learn)
    assert found["error"]["value"] >= 0.4  # the very same texts

"""A cause is named when the evidence bears it; anything else is called unknown."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.findings import Finding
from headstart.monitoring import diagnosis
from tests.unit.made_traffic import EVEN, TRIPLED, profile_of, traffic, window_of


def finding(check, verdict="fail"):
    return Finding(check, verdict, 0.0, 0.001, "made up")


def pair(seed, *, shares=TRIPLED, **changes):
    """A profile of 300 answers and a window of 200."""
    rng = np.random.default_rng(seed)
    return profile_of(traffic(rng, 300)), window_of(traffic(rng, 200, shares, **changes))


def causes(findings, profile, window):
    return [entry["cause"] for entry in diagnosis.causes(findings, profile, window)]


def test_where_nothing_failed_the_cause_is_none():
    assert diagnosis.causes([finding("confidence", "pass")], *pair(1)) == [{"cause": "none", "score": 1.0}]


def test_where_nothing_could_be_judged_nothing_is_named():
    assert diagnosis.causes([finding("window", "unsure")], *pair(1)) == []


def test_classes_in_other_shares_that_each_look_as_before_are_label_shift():
    assert causes([finding("predicted_classes")], *pair(1)) == ["label_shift"]


def test_properties_that_only_follow_the_classes_do_not_hide_label_shift():
    # brighter digits come more often, so brightness as a whole has moved too
    found = [finding("predicted_classes"), finding("property/brightness")]
    assert causes(found, *pair(2, shares=TRIPLED[::-1])) == ["label_shift"]


@pytest.mark.parametrize("changes", [{"darker": 0.05}, {"wrong": 0.6}], ids=["darker pictures", "less sure of itself"])
def test_classes_that_look_different_too_are_not_called_label_shift(changes):
    assert causes([finding("predicted_classes")], *pair(1, **changes)) == ["unknown_shift"]


def test_quality_that_fell_is_not_called_label_shift():
    assert causes([finding("predicted_classes"), finding("quality")], *pair(1)) == ["unknown_shift"]


@pytest.mark.parametrize("check", ["confidence", "property/brightness", "quality"])
def test_a_change_that_leaves_the_classes_alone_has_no_name_yet(check):
    assert causes([finding(check)], *pair(1, shares=EVEN)) == ["unknown_shift"]


def test_a_window_of_classes_the_reference_lacks_is_unknown():
    profile, window = pair(1)
    assert causes([finding("predicted_classes")], profile, replace(window, predicted=["10"] * window.rows)) == [
        "unknown_shift"
    ]


@pytest.mark.slow
def test_the_p_value_within_classes_is_uniform_where_only_shares_changed():
    p_values = [diagnosis.within_classes(*pair(seed, wrong=0.0)) for seed in range(40)]
    assert np.mean(np.array(p_values) <= 0.2) <= 0.4  # binomial: 40 trials at 0.2 exceed 16 with chance 0.3%


def test_properties_that_were_not_measured_are_passed_over():
    profile, window = pair(1)
    blind = {**window.properties, "brightness": np.full(window.rows, np.nan)}
    assert causes([finding("predicted_classes")], profile, replace(window, properties=blind)) == ["label_shift"]


@pytest.mark.parametrize(
    ("ranked", "remedy"),
    [
        ([], "none"),
        ([{"cause": "none", "score": 1.0}], "none"),
        ([{"cause": "label_shift", "score": 0.4}], "correct_prior"),
        ([{"cause": "unknown_shift", "score": 1.0}], "collect_labels"),
    ],
)
def test_the_remedy_is_the_cheapest_of_the_likeliest_cause(ranked, remedy):
    assert diagnosis.remedy(ranked) == remedy

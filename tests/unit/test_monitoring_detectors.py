"""Each detector alarms on its own kind of change, and accounts for what the reference itself does not know."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.monitoring.detectors import confidence, predicted_classes, properties, quality
from tests.unit.made_traffic import CLASSES, profile_of, traffic, window_of

LEVEL = 1e-4


def reference(rows=300, seed=1):
    return profile_of(traffic(np.random.default_rng(seed), rows))


def window(rows=200, seed=2, labelled=0, **changes):
    return window_of(traffic(np.random.default_rng(seed), rows, **changes), labelled=labelled)


def counted(per_class):
    """A profile whose classes were predicted so often."""
    counts = dict(zip(CLASSES, per_class, strict=True))
    return replace(reference(), n=sum(per_class), predicted_counts=counts)


def answering(per_class):
    """A window with so many answers of each class."""
    return replace(window(), predicted=[name for name, n in zip(CLASSES, per_class, strict=True) for _ in range(n)])


def test_a_class_that_comes_three_times_as_often_is_found_and_named():
    finding = predicted_classes.detect(counted([36] * 10), answering([60, *[16] * 4, *[15] * 4, 16]), LEVEL)
    assert finding.verdict == "fail"
    assert finding.reason.startswith("'0' is 30.0% of 200 answers, 10.0% in the reference")


def test_the_tests_of_single_classes_are_fishers():
    from scipy.stats import fisher_exact

    finding = predicted_classes.detect(counted([36] * 10), answering([60, *[16] * 4, *[15] * 4, 16]), LEVEL)
    # an independent implementation; its two-sided p-value sums tails instead of doubling one
    one_sided = fisher_exact([[60, 140], [36, 324]], alternative="greater").pvalue
    assert finding.evidence["p_single_class"] == pytest.approx(2 * one_sided)


def test_the_same_counts_do_not_alarm():
    finding = predicted_classes.detect(counted([30] * 10), answering([20] * 10), LEVEL)
    assert (finding.verdict, finding.statistic) == ("pass", 1.0)


def test_the_same_shares_convince_less_against_a_small_reference():
    shifted = answering([60, *[16] * 4, *[15] * 4, 16])
    large = predicted_classes.detect(counted([500] * 10), shifted, LEVEL)
    small = predicted_classes.detect(counted([10] * 10), shifted, LEVEL)
    assert large.statistic < small.statistic


def test_a_class_the_reference_does_not_know_is_counted():
    finding = predicted_classes.detect(reference(), replace(window(), predicted=["10"] * 200), LEVEL)
    assert finding.verdict == "fail"
    assert finding.evidence["moved"][0] == {"class": "10", "reference": 0.0, "window": 1.0}


def test_confidence_that_fell_is_found():
    assert confidence.detect(reference(), window(wrong=0.6), LEVEL).verdict == "fail"
    assert confidence.detect(reference(), window(), LEVEL).verdict == "pass"


def test_a_property_that_moved_is_found_under_its_own_name():
    darker = window(darker=0.05)
    found = {name: properties.detect(reference(), darker, LEVEL, name=name) for name in ("brightness", "kilobytes")}
    assert found["brightness"].verdict == "fail"
    assert found["brightness"].check == "property/brightness"
    assert "inputs' brightness has median" in found["brightness"].reason
    assert found["kilobytes"].verdict == "pass"


def test_a_property_that_never_changes_does_not_alarm():
    finding = properties.detect(reference(), window(), LEVEL, name="width")
    assert (finding.verdict, finding.statistic) == ("pass", 1.0)


def test_a_property_that_always_was_constant_and_now_is_another_constant_is_found():
    wider = window()
    wider = replace(wider, properties={**wider.properties, "width": np.full(wider.rows, 9.0)})
    assert properties.detect(reference(), wider, LEVEL, name="width").verdict == "fail"


def test_a_property_that_the_window_lacks_is_unsure():
    finding = properties.detect(reference(), replace(window(), properties={}), LEVEL, name="width")
    assert (finding.verdict, finding.statistic) == ("unsure", None)


def test_values_that_could_not_be_measured_are_left_out():
    gaps = window()
    brightness = np.where(np.arange(gaps.rows) % 2, np.nan, gaps.properties["brightness"])
    gaps = replace(gaps, properties={**gaps.properties, "brightness": brightness})
    assert properties.detect(reference(), gaps, LEVEL, name="brightness").verdict == "pass"


def test_accuracy_that_fell_is_found():
    finding = quality.detect(reference(), window(wrong=0.5, labelled=200), LEVEL, needed=30, drop=0.05)
    assert finding.verdict == "fail"
    assert "on 200 labelled answers" in finding.reason


def test_accuracy_that_stayed_does_not_alarm():
    assert quality.detect(reference(), window(labelled=200), LEVEL, needed=30, drop=0.05).verdict == "pass"


def test_too_few_labels_are_unsure_however_wrong():
    finding = quality.detect(reference(), window(wrong=1.0, labelled=29), LEVEL, needed=30, drop=0.05)
    assert finding.verdict == "unsure"
    assert "29 answers of this window have labels; 30 are needed" in finding.reason


def test_the_p_value_of_a_drop_is_the_binomial_one_where_the_reference_is_certain():
    from scipy.stats import binom

    # 100,000 reference answers: 0.9 hardly varies, so P(at most 70 of 100 right | 0.9 - 0.05)
    expected = binom.cdf(70, 100, 0.85)
    assert quality.drop_p_value(90_000, 100_000, 70, 100, drop=0.05) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("right", "n", "right_now", "n_now"), [(100, 100, 50, 50), (0, 20, 0, 20), (90, 100, 90, 100)])
def test_an_accuracy_that_did_not_fall_is_no_evidence_of_a_drop(right, n, right_now, n_now):
    assert quality.drop_p_value(right, n, right_now, n_now, drop=0.05) > 0.05


def test_the_test_of_a_drop_keeps_its_level_at_the_edge_of_what_is_tolerated():
    # 60 reference answers at 0.9, 25 labelled answers at exactly 0.85: the chance of an alarm, summed over all outcomes
    from scipy.stats import binom

    level, n, n_now = 0.05, 60, 25
    alarms = 0.0
    for right in range(41, n + 1):  # binom.cdf(40, 60, 0.9) < 1e-5
        fails = [k for k in range(n_now + 1) if quality.drop_p_value(right, n, k, n_now, drop=0.05) <= level]
        alarms += binom.pmf(right, n, 0.9) * binom.cdf(max(fails, default=-1), n_now, 0.85)
    assert alarms <= level

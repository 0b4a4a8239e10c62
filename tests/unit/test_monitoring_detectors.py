"""Each detector alarms on its own kind of change, and accounts for what the reference itself does not know."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.monitoring.detectors import (
    confidence,
    input_range,
    predicted_classes,
    properties,
    quality,
    requests,
    unknown_labels,
)
from headstart.monitoring.windows import Traffic
from tests.unit.made_traffic import CLASSES, NOON, profile_of, traffic, window_of

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
    predicted = [name for name, n in zip(CLASSES, per_class, strict=True) for _ in range(n)]
    return replace(window(), predicted=predicted, answers=len(predicted))


def test_a_class_that_comes_three_times_as_often_is_found_and_named():
    finding = predicted_classes.detect(counted([36] * 10), answering([60, *[16] * 4, *[15] * 4, 16]), LEVEL)
    assert finding.verdict == "fail"
    assert finding.reason.startswith(
        "'0' was predicted for 30.0% of 200 answers, 3 times as often as in the reference;"
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param([60, 0, 40], [12, 30, 8], "60.0% of 50 answers, never in the reference", id="is new"),
        pytest.param([50, 40, 10], [0, 40, 10], "0.0% of 50 answers, for 50.0% in the reference", id="is gone"),
    ],
)
def test_a_class_without_predictions_on_one_side_has_no_ratio(before, after, said):
    rest = [0] * 7
    assert said in predicted_classes.detect(counted([*before, *rest]), answering([*after, *rest]), LEVEL).reason


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
    assert confidence.detect(reference(), window(evidence=1.5), LEVEL).verdict == "fail"
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
    finding = quality.detect(reference(), window(evidence=1.5, labelled=200), LEVEL, needed=30, drop=0.05)
    assert finding.verdict == "fail"
    assert "on 200 labelled answers" in finding.reason


def test_accuracy_that_stayed_does_not_alarm():
    assert quality.detect(reference(), window(labelled=200), LEVEL, needed=30, drop=0.05).verdict == "pass"


def test_a_loss_that_was_seen_but_is_not_shown_at_the_level_is_unsure_and_says_so():
    # 430 of 600 right (0.717) against 90 of 180 (0.500): a loss of 0.22 where 0.05 is tolerated
    before = replace(reference(), n=600, accuracy=430 / 600)
    seen = replace(window(labelled=0), predicted=["1"] * 180, truth=[*["1"] * 90, *["7"] * 90])
    finding = quality.detect(before, seen, 1e-6, needed=30, drop=0.05)
    assert finding.verdict == "unsure"
    assert finding.reason.startswith("accuracy is 0.500 on 180 labelled answers, 0.717 on the reference: 0.22 below")
    assert "not enough to be sure at this budget" in finding.reason
    assert "more labels" in finding.action


def test_a_loss_that_is_tolerated_passes():
    before = replace(reference(), n=600, accuracy=430 / 600)
    seen = replace(window(labelled=0), predicted=["1"] * 100, truth=[*["1"] * 70, *["7"] * 30])  # 0.70, 0.017 below
    assert quality.detect(before, seen, LEVEL, needed=30, drop=0.05).verdict == "pass"


def test_too_few_labels_are_unsure_however_wrong():
    finding = quality.detect(reference(), window(evidence=0.0, labelled=29), LEVEL, needed=30, drop=0.05)
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


def test_the_commonest_mistakes_stand_beside_the_accuracy():
    seen = replace(window(), predicted=["1"] * 60, truth=[*["7"] * 20, *["1"] * 39, "3"])
    finding = quality.detect(reference(), seen, LEVEL, needed=30, drop=0.05)
    assert finding.evidence["mistakes"] == [
        {"label": "7", "predicted": "1", "n": 20},
        {"label": "3", "predicted": "1", "n": 1},
    ]


@pytest.mark.parametrize("among", [3, 100])
def test_a_few_black_pictures_are_found_alone_or_among_many(among):
    seen = window(among)
    brightness = np.r_[np.zeros(3), seen.properties["brightness"][3:]] if among == 3 else seen.properties["brightness"]
    brightness = np.r_[np.zeros(8), brightness[8:]] if among == 100 else brightness
    dark = replace(seen, properties={**seen.properties, "brightness": brightness})
    finding = input_range.detect(reference(), dark, LEVEL)
    assert finding.verdict == "fail"
    assert (finding.evidence["property"], finding.evidence["side"]) == ("brightness", "below")


def test_inputs_within_the_references_range_do_not_alarm():
    assert input_range.detect(reference(), window(), LEVEL).verdict == "pass"


def test_a_window_without_properties_has_no_range():
    assert input_range.detect(reference(), replace(window(), properties={}), LEVEL).verdict == "unsure"


def labelled_with(*unknown, known=50):
    return replace(window(known + len(unknown), labelled=known), truth=[*["3"] * known, *unknown])


def test_one_label_the_model_does_not_know_is_said_and_is_no_alarm():
    finding = unknown_labels.detect(reference(), labelled_with("11"), LEVEL)
    assert finding.verdict == "unsure"
    # one row of 300 + 51, picked at random, is the window's: 51 / 351
    assert finding.statistic == pytest.approx(51 / 351)
    assert finding.reason.startswith("1 of 51 labels is not among the model's 10 classes: '11'")


def test_labels_of_a_new_class_that_keep_coming_are_an_alarm_that_names_it():
    finding = unknown_labels.detect(reference(), labelled_with(*["eleven"] * 8), LEVEL)
    assert finding.verdict == "fail"
    assert finding.evidence["labels"] == {"eleven": 8}


@pytest.mark.parametrize(
    ("seen", "verdict"), [(window(), "unsure"), (window(labelled=40), "pass")], ids=["no labels", "known labels"]
)
def test_without_unknown_labels_there_is_no_new_class(seen, verdict):
    assert unknown_labels.detect(reference(), seen, LEVEL).verdict == verdict


@pytest.mark.parametrize(
    ("refused", "verdict"),
    [
        pytest.param(0, "pass", id="none"),
        pytest.param(19, "pass", id="a client that tries something out"),
        pytest.param(22, "pass", id="22 of 222, less than a tenth"),
        pytest.param(23, "fail", id="23 of 223, more than a tenth"),
    ],
)
def test_many_refusals_are_an_alarm_with_their_commonest_reason(refused, verdict):
    refusals = {"the text is empty.": refused} if refused else {}
    finding = requests.refusals(Traffic(NOON, NOON, [window()], refusals, 0), 0.1)
    assert finding.verdict == verdict
    assert finding.reason == (
        f"{refused} of {200 + refused} inputs were refused"
        + (f", {refused} of them because: the text is empty." if refused else ".")
    )


def test_a_window_of_refusals_alone_is_an_alarm():
    assert requests.refusals(Traffic(NOON, NOON, [], {"not an image": 20}, 0), 0.1).verdict == "fail"


@pytest.mark.parametrize(
    ("answers", "most_repeated", "verdict"), [(1000, 199, "pass"), (1000, 200, "fail"), (19, 19, "pass")]
)
def test_one_input_over_and_over_is_an_alarm(answers, most_repeated, verdict):
    seen = replace(window(), answers=answers, most_repeated=most_repeated)
    assert requests.repeated_inputs(seen, 0.2).verdict == verdict


def test_answers_of_files_that_are_not_the_registered_ones_are_an_alarm_however_few():
    finding = requests.bundle(replace(window(), bundles={"aaaa": 199, "bbbb": 1}), "aaaa")
    assert finding.verdict == "fail"
    assert finding.reason.startswith("1 of 200 answers came from a bundle that is not the registered one")
    assert requests.bundle(replace(window(), bundles={"aaaa": 200}), "aaaa").verdict == "pass"


@pytest.mark.parametrize(("bundles", "registered"), [({}, "aaaa"), ({"aaaa": 3}, "")])
def test_where_nobody_knows_which_files_answered_nothing_is_said(bundles, registered):
    assert requests.bundle(replace(window(), bundles=bundles), registered) is None

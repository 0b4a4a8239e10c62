"""A cause is named when the evidence bears it; anything else is called unknown."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.faults.signatures import Signature
from headstart.findings import Finding
from headstart.monitoring import diagnosis, label_shift
from headstart.profile import Features
from tests.unit.made_traffic import CLASSES, EVEN, TRIPLED, profile_of, traffic, window_of

CONTRAST = {"property": "contrast", "side": "below", "median_outside": 0.01}


def finding(check, verdict="fail", **evidence):
    return Finding(check, verdict, 0.0, 0.001, "made up", evidence=evidence)


def pair(seed, *, shares=TRIPLED, rows=1000, labelled=0, **changes):
    """A profile of 800 answers and a window: so many tell what fewer would leave open."""
    rng = np.random.default_rng(seed)
    return profile_of(traffic(rng, 800)), window_of(traffic(rng, rows, shares, **changes), labelled=labelled)


def causes(findings, profile, window):
    return [entry["cause"] for entry in diagnosis.causes(findings, profile, window, drop=0.05)]


def test_where_nothing_failed_nothing_is_named():
    assert causes([finding("confidence", "pass")], *pair(1)) == []


def test_classes_in_other_shares_that_explain_all_else_are_label_shift_with_the_shares():
    assert causes([finding("predicted_classes")], *pair(1)) == ["label_shift"]
    explanation = label_shift.explain(*pair(1))
    assert explanation.shares["0"] == pytest.approx(0.3, abs=0.05)
    assert sum(explanation.shares.values()) == pytest.approx(1.0)


def test_shares_on_which_two_estimators_disagree_name_nothing():
    (named,) = diagnosis.causes(
        [finding("predicted_classes")], *pair(1), drop=0.05, estimate=label_shift.Estimate(None, "they differ.")
    )
    assert named["cause"] == "unknown_shift"


def test_shares_come_with_what_they_were_and_with_intervals():
    profile, window = pair(1)
    found = label_shift.estimate(profile, window)
    assert found.reason is None
    first, second = found.shares["0"], found.shares["1"]
    assert first["reference"] == profile.label_counts["0"] / profile.n
    assert first["low"] < 0.3 < first["high"] and first["low"] > first["reference"]
    assert second["low"] < 0.7 / 9 < second["high"]
    assert label_shift.moved(found.shares)[0] == ("0", first)


def confused(profile):
    """Labels that have nothing to do with the answers."""
    return replace(profile, labels=np.random.default_rng(1).permutation(profile.labels).tolist())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda profile: replace(profile, probabilities=None), "the reference holds no probabilities."),
        (lambda profile: replace(profile, classes=(*CLASSES, "ten")),
         "the window's answers are of 10 classes, not of 11."),
        (lambda profile: replace(profile, labels=["1" if label == "0" else label for label in profile.labels]),
         "the reference has no example of class '0'."),
        (confused, "the model mistakes some classes for one another too often to tell their shares apart."),
    ],
    ids=["format 1", "another model", "a class without examples", "a model that knows nothing"],
)  # fmt: skip
def test_shares_that_cannot_be_told_are_refused_with_a_reason(change, reason):
    profile, window = pair(1)
    assert label_shift.estimate(change(profile), window) == label_shift.Estimate(None, reason)


def test_inputs_of_no_known_class_can_make_the_estimators_disagree():
    # half is surely the first class, the rest leans to the second: predictions say half and half, probabilities say
    # that such hesitant inputs are rare ones of the first class
    profile, window = pair(1, rows=1000)
    odd = np.full((1000, 10), 1e-4)
    odd[:500, 0], odd[500:, 0], odd[500:, 1] = 0.99, 0.45, 0.55
    window = replace(window, probabilities=odd / odd.sum(axis=1, keepdims=True))
    found = label_shift.estimate(profile, window)
    assert found.shares is None
    assert found.reason.startswith("two estimators differ by ")


def test_properties_that_only_follow_the_classes_do_not_hide_label_shift():
    # brighter digits come more often, so brightness as a whole has moved too
    found = [finding("predicted_classes"), finding("property/brightness")]
    assert causes(found, *pair(1, shares=TRIPLED[::-1])) == ["label_shift"]


def test_one_odd_input_of_many_does_not_speak_against_the_shares():
    # pictures of the reference are all of one width: windows drawn from it never hold another
    profile, window = pair(1)
    width = window.properties["width"].copy()
    width[500] += 1.0
    window = replace(window, properties={**window.properties, "width": width})
    assert causes([finding("predicted_classes")], profile, window) == ["label_shift"]
    width[::20] += 1.0
    window = replace(window, properties={**window.properties, "width": width})
    assert causes([finding("predicted_classes")], profile, window) == ["unknown_shift"]


@pytest.mark.parametrize(
    "changes",
    [{"darker": 0.03}, {"evidence": 2.8}, {"foreign": 0.12}, {"foreign": 0.3, "rows": 200}],
    ids=["darker pictures", "less sure of itself", "a class of its own", "a class of its own, fewer answers"],
)
def test_windows_that_the_shares_do_not_explain_are_not_called_label_shift(changes):
    assert causes([finding("predicted_classes")], *pair(1, **changes)) == ["unknown_shift"]


def test_a_window_too_small_to_rule_out_foreign_inputs_is_not_named():
    profile, window = pair(1, rows=60)
    assert label_shift.explain(profile, window).p_value > diagnosis.DOUBT  # nothing speaks against it
    assert causes([finding("predicted_classes")], profile, window) == ["unknown_shift"]


def test_a_reference_whose_labels_have_nothing_to_do_with_its_answers_names_nothing():
    profile, window = pair(1)
    assert causes([finding("predicted_classes")], confused(profile), window) == ["unknown_shift"]


@pytest.mark.parametrize("away", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("rows", [200, 1000])
def test_an_unknown_class_that_looks_like_a_known_one_by_probabilities_is_not_called_label_shift(away, rows):
    # issue 17, "wrong name": 30% of the inputs show no digit, and the model is as sure of them as of its zeros. By
    # probabilities alone 7 to 10 of 20 such windows were called label shift
    foreign = {"shares": EVEN, "foreign": 0.3, "sure": 1.0, "away": away, "rows": rows}
    for seed in range(3):
        assert causes([finding("predicted_classes")], *pair(seed, **foreign)) == ["unknown_shift"]


@pytest.mark.nightly
@pytest.mark.parametrize("away", [1.0, 2.0, 4.0, 8.0])
def test_of_twenty_windows_with_inputs_of_an_unknown_class_none_is_called_label_shift(away):
    foreign = {"shares": EVEN, "foreign": 0.3, "sure": 1.0, "away": away}
    named = [causes([finding("predicted_classes")], *pair(seed, **foreign)) for seed in range(20)]
    assert named == [["unknown_shift"]] * 20


@pytest.mark.nightly
def test_a_shift_of_the_classes_alone_is_taken_for_more_about_as_often_as_doubt_says():
    p_values = [label_shift.explain(*pair(seed, rows=400)).p_value for seed in range(100)]
    assert np.mean(np.array(p_values) <= diagnosis.DOUBT) <= 0.12  # 0.05, and three deviations of 0.022


def featured(side, rows):
    """The profile or window with features of so many of its rows."""
    some = np.linspace(0, len(side.features.rows) - 1, rows).astype(np.int64)
    return replace(side, features=Features(some, side.features.values[some]))


@pytest.mark.parametrize("rows", [1, 2, 23])
def test_features_of_a_handful_of_rows_count_as_none(rows):
    # if 12% of the inputs are foreign, 5% of samples of 24 hold none of them
    profile, window = pair(1, rows=200)
    found = label_shift.explain(profile, featured(window, rows))
    assert (found.missing, found.p_foreign) == ("journal", None)
    found = label_shift.explain(featured(profile, rows), window)
    assert (found.missing, found.p_foreign) == ("profile", None)
    assert label_shift.explain(featured(profile, 24), featured(window, 24)).missing is None


def test_features_of_110_of_1000_inputs_can_rule_out_foreign_ones():
    # p = 0.005; if windows with foreign inputs were drawn with features of all 1,000, it would be 0.1
    profile, window = pair(5)
    assert label_shift.explain(profile, featured(window, 110)).p_foreign < 0.05


def test_few_features_leave_open_what_many_tell():
    profile, window = pair(1)
    some = np.arange(0, 1000, 40)
    few = replace(window, features=Features(some, window.features.values[some]))
    assert label_shift.explain(profile, window).p_foreign <= diagnosis.RULED_OUT
    assert label_shift.explain(profile, few).p_foreign > diagnosis.RULED_OUT
    assert causes([finding("predicted_classes")], profile, few) == ["unknown_shift"]


def test_features_of_half_the_inputs_are_enough_to_name_a_shift_of_1000():
    profile, window = pair(1)
    half = np.arange(0, 1000, 2)
    window = replace(window, features=Features(half, window.features.values[half]))
    assert causes([finding("predicted_classes")], profile, window) == ["label_shift"]


@pytest.mark.parametrize(
    ("side", "advice"),
    [("profile", "Build the model again: headstart run."), ("journal", "Raise journal.features in params.yaml.")],
)
def test_without_features_a_shift_is_not_named_and_the_answer_says_what_to_change(side, advice):
    profile, window = pair(1)
    if side == "profile":
        profile = replace(profile, features=None)
    else:
        window = replace(window, features=None)
    (found,) = diagnosis.causes([finding("predicted_classes")], profile, window, drop=0.05)
    assert found["cause"] == "unknown_shift"
    assert found["evidence"]["meaning"].startswith(
        "New class shares could explain this window, but so could inputs from"
    )
    assert found["evidence"]["meaning"].endswith(advice)


def test_a_window_that_the_shares_do_not_explain_gets_no_advice_about_features():
    profile, window = pair(1, darker=0.03)
    (found,) = diagnosis.causes([finding("predicted_classes")], profile, replace(window, features=None), drop=0.05)
    assert found == entry("unknown_shift", "predicted_classes")


def test_a_reference_of_two_classes_stands_in_for_unknown_ones_too():
    # what is left of the reference once a class is left out is of one class
    def two(seen):
        kept = np.flatnonzero(np.isin(seen.truth, ["0", "1"]))
        shares = seen.probabilities[kept][:, :2]
        return replace(
            seen, truth=[seen.truth[row] for row in kept],
            predicted=[CLASSES[digit] for digit in shares.argmax(axis=1)], confidence=shares.max(axis=1),
            probabilities=shares / shares.sum(axis=1, keepdims=True),
            properties={name: values[kept] for name, values in seen.properties.items()}, features=seen.features[kept],
        )  # fmt: skip

    rng = np.random.default_rng(3)
    profile = replace(profile_of(two(traffic(rng, 3000))), classes=("0", "1"))
    shares = np.array([0.8, 0.2, *[0.0] * 8])
    found = label_shift.explain(profile, window_of(two(traffic(rng, 500, shares))))
    assert found.shares["0"] == pytest.approx(0.8, abs=0.06)
    assert found.p_value > diagnosis.DOUBT
    assert found.p_foreign <= diagnosis.RULED_OUT


@pytest.mark.parametrize("side", ["profile", "window"])
def test_without_probabilities_nothing_is_explained(side):
    profile, window = pair(1)
    if side == "profile":
        profile = replace(profile, probabilities=None)
    else:
        window = replace(window, probabilities=None)
    assert causes([finding("predicted_classes")], profile, window) == ["unknown_shift"]


@pytest.mark.parametrize("also", ["quality", "input_range"])
def test_what_shares_cannot_explain_is_not_called_label_shift(also):
    found = [finding("predicted_classes"), finding(also, property="brightness", side="below", median_outside=0.0)]
    assert causes(found, *pair(1)) == ["unknown_shift"]


@pytest.mark.parametrize("check", ["confidence", "property/brightness", "quality"])
def test_a_change_that_leaves_the_classes_alone_has_no_name_yet(check):
    assert causes([finding(check)], *pair(1, shares=EVEN)) == ["unknown_shift"]


def test_properties_that_were_not_measured_are_passed_over():
    profile, window = pair(1)
    blind = {**window.properties, "brightness": np.full(window.rows, np.nan)}
    assert causes([finding("predicted_classes")], profile, replace(window, properties=blind)) == ["label_shift"]


def test_labels_of_a_new_class_name_it():
    profile, window = pair(1, shares=EVEN, foreign=0.3, rows=200, labelled=200)
    found = [finding("predicted_classes"), finding("confidence"), finding("unknown_labels"), finding("quality")]
    assert causes(found, profile, window) == ["new_class"]


def test_a_new_class_does_not_hide_that_the_known_ones_are_answered_worse():
    profile, window = pair(1, shares=EVEN, evidence=1.5, foreign=0.1, rows=300, labelled=300)
    assert causes([finding("unknown_labels"), finding("quality")], profile, window) == ["new_class", "unknown_shift"]


def test_answers_of_other_files_explain_everything_else():
    found = [finding("bundle"), finding("predicted_classes"), finding("quality")]
    assert causes(found, *pair(1)) == ["model_artifact"]


def test_images_that_show_nothing_are_damaged_input():
    assert causes([finding("input_range", **CONTRAST), finding("confidence")], *pair(1)) == ["input_quality"]
    dim = {**CONTRAST, "median_outside": 0.08}
    assert causes([finding("input_range", **dim)], *pair(1)) == ["unknown_shift"]


INVERTED = Signature("inverted", 1, {"brightness": -1.0})
DIM = [finding("property/brightness")]


def by_looks(*known, findings=DIM, clients=None, darker=0.2, dark=None):
    """The one cause of a window of 400 pictures, all or the first `dark` of them darker, where these faults are known.

    The levels of reference pictures have a deviation of 0.04: all that are `darker` by 0.2 are darker than any of them.
    """
    profile, window = pair(1, shares=EVEN, rows=400)
    brightness = window.properties["brightness"].copy()
    brightness[:dark] -= darker
    window = replace(window, properties={**window.properties, "brightness": brightness}, clients=clients)
    (found,) = diagnosis.causes(findings, profile, window, drop=0.05, known=known)
    return found


def test_a_window_that_bears_the_signature_of_a_fault_is_named_by_it():
    found = by_looks(INVERTED)
    assert found["cause"] == "preprocessing_mismatch"
    assert diagnosis.remedy([found]) == "fix_client"
    evidence = found["evidence"]
    assert (evidence["fault"], evidence["checks"]) == ("inverted", ["property/brightness"])
    assert evidence["share"] == pytest.approx(1.0, abs=0.02)
    assert (
        evidence["meaning"] == f"It looks as if light and dark are exchanged in {evidence['share']:.0%} of the inputs."
    )


def test_a_bundle_without_signatures_names_nothing():
    assert by_looks() == entry("unknown_shift", "property/brightness")


DARKENED = Signature("darkened", 5, {"brightness": -1.0})


def test_what_looks_like_a_change_of_the_world_is_a_covariate_shift():
    found = by_looks(DARKENED)
    assert (found["cause"], diagnosis.remedy([found])) == ("covariate_shift", "fine_tune")
    assert (found["evidence"]["fault"], "client" in found["evidence"]) == ("darkened", False)
    share = found["evidence"]["share"]
    assert found["evidence"]["meaning"] == f"It looks as if there is less light in {share:.0%} of the inputs."


def test_two_changes_of_the_world_that_look_alike_are_both_a_covariate_shift():
    assert by_looks(DARKENED, Signature("flattened", 2, {"brightness": -0.98}))["cause"] == "covariate_shift"


def test_faults_of_two_causes_that_explain_a_window_equally_are_told_but_not_named():
    found = by_looks(INVERTED, Signature("darkened", 5, {"brightness": -0.98}))
    assert found["cause"] == "unknown_shift"
    assert {one["fault"] for one in found["evidence"]["looks_like"]} == {"inverted", "darkened"}
    assert "light and dark are exchanged" in found["evidence"]["meaning"]
    assert "there is less light" in found["evidence"]["meaning"]


def test_classes_that_changed_and_properties_that_did_not_bear_no_signature():
    assert "meaning" not in by_looks(INVERTED, findings=[finding("predicted_classes")])["evidence"]


def test_blank_pictures_that_bear_a_signature_are_named_by_it():
    blank = [finding("input_range", **CONTRAST)]
    assert by_looks(INVERTED, findings=blank)["cause"] == "preprocessing_mismatch"
    assert by_looks(DARKENED, findings=blank)["cause"] == "input_quality"


def test_the_client_who_sends_all_damaged_inputs_is_told():
    found = by_looks(INVERTED, dark=200, clients=["phone"] * 200 + ["web"] * 100 + [None] * 100)
    client = found["evidence"]["client"]
    assert (client["name"], client["inputs"]) == ("phone", 200)
    assert client["share"] > 0.95
    assert f"they come from client 'phone', {client['share']:.0%} of its 200." in found["evidence"]["meaning"]


@pytest.mark.parametrize(
    "clients",
    [
        None,
        [None] * 400,
        ["phone", "web"] * 200,
        ["phone"] * 100 + ["tablet"] * 100 + ["web"] * 200,
        ["phone"] * 150 + ["web"] * 250,
        [f"session {number}" for number in range(400)],
    ],
    ids=["not recorded", "not said", "both alike", "two of three", "not all of it", "too many"],
)
def test_where_no_single_client_explains_the_damage_none_is_told(clients):
    found = by_looks(INVERTED, dark=200, clients=clients)
    assert found["evidence"]["client"] is None
    assert "client" not in found["evidence"]["meaning"]


def entry(cause, *checks, score=1.0):
    return {"cause": cause, "score": score, "evidence": {"checks": list(checks)}}


def test_causes_of_several_versions_are_named_once():
    found = [entry("label_shift", "predicted_classes", score=0.4), entry("label_shift", "confidence", score=0.9)]
    assert diagnosis.ranked(found, judged=True) == [
        entry("label_shift", "confidence", "predicted_classes", score=0.9),
    ]


def test_what_a_cause_looks_like_outlasts_its_merging():
    seen = {"cause": "input_quality", "score": 0.95, "evidence": {"checks": ["confidence"], "fault": "cut"}}
    (found,) = diagnosis.ranked([entry("input_quality", "refusals"), seen], judged=True)
    assert found["evidence"] == {"checks": ["confidence", "refusals"], "fault": "cut"}


def test_repeats_come_after_what_is_wrong_with_answers():
    found = [entry("input_quality", "repeated_inputs"), entry("unknown_shift", "confidence")]
    assert [one["cause"] for one in diagnosis.ranked(found, judged=True)] == ["unknown_shift", "input_quality"]


@pytest.mark.parametrize(
    ("causes", "against"),
    [
        ([], None),
        ([entry("label_shift", "predicted_classes")], None),
        ([entry("input_quality", "repeated_inputs")], None),
        ([entry("input_quality", "confidence")], "inputs look damaged: shares would mean nothing."),
        ([entry("label_shift", "predicted_classes"), entry("new_class", "unknown_labels")],
         "labels name a class that the model does not know: shares of the others would mean nothing."),
    ],
    ids=["nothing named", "label shift", "repeats", "damage", "a new class"],
)  # fmt: skip
def test_shares_mean_something_where_no_other_cause_of_the_answers_is_named(causes, against):
    assert diagnosis.against_shares(causes) == against


@pytest.mark.parametrize(("judged", "named"), [(True, ["none"]), (False, [])])
def test_no_cause_is_the_cause_none_where_the_window_was_judged(judged, named):
    assert [one["cause"] for one in diagnosis.ranked([], judged=judged)] == named


@pytest.mark.parametrize(
    ("ranked", "remedy"),
    [
        ([], "none"),
        ([entry("none")], "none"),
        ([entry("label_shift", "predicted_classes")], "correct_prior"),
        ([entry("unknown_shift", "confidence"), entry("input_quality", "refusals")], "collect_labels"),
        ([entry("model_artifact", "bundle")], "rollback"),
    ],
)
def test_the_remedy_is_the_cheapest_of_the_likeliest_cause(ranked, remedy):
    assert diagnosis.remedy(ranked) == remedy


def hidden(*, of_others):
    """The cause of 400 pictures, 120 of a phone and darker; of the others, all or none are wider, which is no fault."""
    profile, window = pair(1, shares=EVEN, rows=400)
    phone = np.arange(400) < 120
    brightness = window.properties["brightness"] - np.where(phone, 0.2, 0.0)
    random = np.random.default_rng(2)
    before = random.normal(8.0, 1.0, len(profile.predicted))
    width = random.normal(8.0, 1.0, 400) + np.where(phone, 0.0, of_others)
    profile = replace(profile, properties={**profile.properties, "width": before})
    window = replace(
        window,
        properties={**window.properties, "brightness": brightness, "width": width},
        clients=["phone"] * 120 + ["web"] * 280,
    )
    (found,) = diagnosis.causes(DIM, profile, window, drop=0.05, known=[INVERTED])
    return found


@pytest.mark.parametrize("of_others", [0.0, 3.0], ids=["others are sound", "others changed too"])
def test_one_clients_damage_is_named_also_where_others_hide_it_in_the_window(of_others):
    found = hidden(of_others=of_others)
    assert (found["cause"], found["evidence"]["fault"]) == ("preprocessing_mismatch", "inverted")
    # two standard errors of a Cliff's delta of 400 against 400 rows, sqrt(801 / (3 * 400 * 400)) = 0.04 each
    assert found["evidence"]["share"] == pytest.approx(0.3, abs=0.08)
    assert found["evidence"]["client"]["name"] == "phone"

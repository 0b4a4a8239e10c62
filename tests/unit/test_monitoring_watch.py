"""One look: quiet on clean traffic, an alarm on changed traffic, unsure on too little; the budget is kept."""

import json
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from headstart.journal.schema import Answer
from headstart.journal.writer import Journal
from headstart.monitoring import diagnosis, watch
from headstart.params.operation import Journal as JournalParams
from tests.unit.made_traffic import (
    CLASSES,
    EVEN,
    HOURS_A_YEAR,
    NOON,
    TRIPLED,
    monitor,
    profile_of,
    traffic,
    window_of,
)  # fmt: skip


def journal(folder, seen):
    """The journal of an hour in which `seen` was answered by version 2."""
    params = JournalParams(
        flush_s=1.0, seal_minutes=5.0, seal_megabytes=1, raw="off", raw_share=0.0, raw_days=1, features=False
    )
    book = Journal(folder, params, clock=lambda: NOON)
    step = timedelta(hours=1) / (len(seen.predicted) + 1)
    book.record(
        [
            Answer(
                request_id=str(row), index=0, time=NOON - step * (row + 1), model="digits", version=2, role="champion",
                contract="a.b", label=seen.predicted[row], probability=seen.confidence[row], probabilities=[],
                properties={name: values[row] for name, values in seen.properties.items()}, latency_ms=1.0,
            )
            for row in range(len(seen.predicted))
        ]
    )  # fmt: skip
    book.close()
    return folder


@pytest.fixture(scope="module")
def profile():
    return profile_of(traffic(np.random.default_rng(8), 360, wrong=0.03))


def verdict(document):
    return document["verdict"], [entry["cause"] for entry in document["causes"]], document["remedy"]


def test_an_hour_of_clean_traffic_is_ok(tmp_path, profile):
    folder = journal(tmp_path, traffic(np.random.default_rng(6), 200, wrong=0.03))
    document, window = watch.watch(folder, profile, monitor(), NOON, version=2)
    assert verdict(document) == ("ok", ["none"], "none")
    assert document["window"]["rows"] == window.rows == 200
    assert {entry["check"]: entry["verdict"] for entry in document["findings"]} == {
        "predicted_classes": "pass", "confidence": "pass", "property/width": "pass", "property/kilobytes": "pass",
        "property/brightness": "pass", "quality": "unsure",
    }  # fmt: skip


def test_an_hour_with_a_tripled_class_is_an_alert_with_its_cause_and_remedy(tmp_path, profile):
    folder = journal(tmp_path, traffic(np.random.default_rng(21), 200, TRIPLED, wrong=0.03))
    document, _ = watch.watch(folder, profile, monitor(), NOON, version=2)
    assert verdict(document) == ("alert", ["label_shift"], "correct_prior")
    assert document["findings"][0]["reason"].startswith("'0' is ")


def test_a_document_is_plain_json(tmp_path, profile):
    folder = journal(tmp_path, traffic(np.random.default_rng(6), 200, TRIPLED))
    document, _ = watch.watch(folder, profile, monitor(), NOON, version=2)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_window_that_is_too_small_is_unsure_and_says_how_much_is_needed(tmp_path, profile):
    folder = journal(tmp_path, traffic(np.random.default_rng(6), 99, TRIPLED))
    document, _ = watch.watch(folder, profile, monitor(), NOON, version=2)
    assert verdict(document) == ("unsure", [], "none")
    (finding,) = document["findings"]
    assert (
        finding["reason"]
        == "99 answers in the 60 minutes before 2026-03-02 12:00 UTC; 100 are needed to judge a window."
    )


def test_answers_of_another_version_are_not_held_against_this_one(tmp_path, profile):
    folder = journal(tmp_path, traffic(np.random.default_rng(6), 200, TRIPLED))
    document, _ = watch.watch(folder, profile, monitor(), NOON, version=3)
    assert document["verdict"] == "unsure"


def test_labels_decide_where_inputs_and_answers_look_as_before(profile):
    seen = window_of(traffic(np.random.default_rng(6), 200), labelled=200)
    other = {name: CLASSES[(place + 1) % 10] for place, name in enumerate(CLASSES)}
    relabelled = window_of(traffic(np.random.default_rng(6), 200), labelled=200)
    relabelled = type(seen)(**{**vars(relabelled), "truth": [other[label] for label in seen.truth]})
    failed = [finding.check for finding in watch.judge(profile, relabelled, monitor()) if finding.verdict == "fail"]
    assert failed == ["quality"]


def test_the_levels_spend_the_budget_exactly():
    # 4 a year, a window an hour: half of it for the classes, half for 4 others
    classes, other = watch.levels(monitor(), others=4)
    assert classes + 4 * other == pytest.approx(4 / HOURS_A_YEAR)
    assert classes == pytest.approx(2 / HOURS_A_YEAR)


@pytest.mark.slow
def test_two_thousand_clean_windows_alarm_no_more_often_than_the_budget_says():
    # reference and window are drawn anew each time, so the reference's own luck counts; 5% of windows may alarm
    rng = np.random.default_rng(7)
    params, alarmed = monitor(a_window=0.05), 0
    for _ in range(2000):
        findings = watch.judge(profile_of(traffic(rng, 300)), window_of(traffic(rng, 100), labelled=40), params)
        alarmed += any(finding.verdict == "fail" for finding in findings)
    assert alarmed <= 100


@pytest.mark.slow
def test_a_tripled_class_is_detected_in_two_hundred_answers_and_never_given_a_wrong_name():
    # expected: 92% detected, from Fisher's test alone on 300 draws; 30 trials miss more than 7 with chance 0.2%
    rng = np.random.default_rng(8)
    named: Counter[str] = Counter()
    for _ in range(30):
        profile, window = profile_of(traffic(rng, 360, wrong=0.03)), window_of(traffic(rng, 200, TRIPLED, wrong=0.03))
        findings = watch.judge(profile, window, monitor())
        named[diagnosis.causes(findings, profile, window)[0]["cause"]] += 1
    assert named["none"] <= 7
    assert named["label_shift"] >= 20
    assert set(named) <= {"label_shift", "unknown_shift", "none"}


def test_the_made_up_traffic_triples_one_class():
    assert TRIPLED[0] == pytest.approx(3 * EVEN[0])
    assert TRIPLED.sum() == pytest.approx(1.0)

"""The charts below the monitor's verdict: they fetch nothing, and no test of theirs contradicts it."""

import json
import re
from dataclasses import replace
from html import unescape as html_of

import numpy as np
import pytest

from headstart.monitoring import evidently
from headstart.report import monitor
from tests.unit.made_traffic import CLASSES, TRIPLED, profile_of, traffic, window_of
from tests.unit.test_report_monitor import document_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::")]  # Evidently's and its libraries' own

# what makes a browser fetch: an address in src or href of a loading element, in CSS, or in a module's import
FETCHES = re.compile(
    r"<(?:script|img|iframe|video|audio|source|embed|object)\b[^>]*\s(?:src|data)\s*=\s*[\"']?(?!data:)[^\"'>\s]+"
    r"|<link\b[^>]*\shref\s*=\s*[\"']?(?!data:)[^\"'>\s]+"
    r"|url\(\s*[\"']?(?:https?:)?//"
    r"|@import\s+[\"'u]",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    profile = profile_of(traffic(rng, 300))
    return evidently.charts(profile, window_of(traffic(rng, 200, TRIPLED), labelled=60))


def test_charts_open_without_a_network(drawn):
    assert not FETCHES.findall(drawn[0])


def test_in_the_page_they_keep_to_a_frame_of_their_own_and_fetch_nothing(drawn):
    html = monitor.render("pets", document_of(), charts=drawn[0])
    assert not FETCHES.findall(html)
    frame = re.search(r'<iframe [^>]*sandbox="([^"]*)"[^>]*srcdoc="([^"]*)"', html)
    assert frame[1] == "allow-scripts"  # and not the origin of the page around it
    assert html_of(frame[2]) == drawn[0] + monitor.SENDS_HEIGHT


def test_what_the_charts_show_is_json_too(drawn):
    assert json.loads(json.dumps(drawn[1], allow_nan=False))["metrics"]


def test_no_drift_test_of_evidentlys_can_contradict_the_verdict(drawn):
    assert not [metric for metric in drawn[1]["metrics"] if "drift" in metric["metric_name"].lower()]
    assert not drawn[1]["tests"]
    assert "drift is" not in drawn[0].lower()


def test_labels_are_drawn_beside_the_answers(drawn):
    columns = {metric["config"].get("column") for metric in drawn[1]["metrics"]}
    assert {"predicted", "confidence", "label", "answer", "brightness"} <= columns


def test_no_label_class_or_property_name_can_end_the_script_that_holds_it():
    rng = np.random.default_rng(6)
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, 120), labelled=60)
    hostile = "</script><script>alert(&quot;{}&quot;)</script>".format
    window = replace(
        window,
        truth=[hostile("label"), *window.truth[1:]],
        predicted=[hostile("class"), *window.predicted[1:]],
        properties={**window.properties, hostile("property"): window.confidence},
    )
    profile = replace(
        profile,
        predicted=[hostile("class"), *profile.predicted[1:]],
        labels=[hostile("label"), *profile.labels[1:]],
        properties={**profile.properties, hostile("property"): profile.confidence},
    )
    html, numbers = evidently.charts(profile, window)
    assert "<script>alert" not in html and "&quot;" not in html
    for name in ("label", "class", "property"):
        assert hostile(name) not in json.dumps(numbers)
        assert rf"\uff06quot;{name}\uff06quot;" in html  # drawn all the same, with a full-width ampersand


def test_without_labels_none_are_drawn():
    rng = np.random.default_rng(4)
    _, numbers = evidently.charts(profile_of(traffic(rng, 300)), window_of(traffic(rng, 120)))
    assert "label" not in {metric["config"].get("column") for metric in numbers["metrics"]}


def two_classes(rng, rows, labelled):
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, rows), labelled=labelled)
    halves = {name: "even" if int(name) % 2 == 0 else "odd" for name in CLASSES}
    return (
        replace(profile, labels=[halves[x] for x in profile.labels], predicted=[halves[x] for x in profile.predicted]),
        replace(
            window,
            predicted=[halves[x] for x in window.predicted],
            truth=[None if x is None else halves[x] for x in window.truth],
        ),
    )


@pytest.mark.parametrize(
    "case", ["a label that is no class", "two classes", "labels of one class", "one answer", "nothing measured"]
)
def test_windows_on_which_a_page_about_classification_fails_are_drawn(case):
    # KeyError '7' and KeyError 1 of Evidently's, which ended the monitor (cases/monitor_keyerror_new_label)
    rng = np.random.default_rng(5)
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, 120), labelled=60)
    if case == "a label that is no class":
        window = replace(window, truth=["seven", *window.truth[1:]])
    elif case == "two classes":
        profile, window = two_classes(rng, 120, 60)
    elif case == "labels of one class":
        window = replace(window, truth=[label if label == "1" else None for label in window.truth])
    elif case == "one answer":
        window = window_of(traffic(rng, 1), labelled=1)
    else:
        window = replace(window, properties={})
    html, _ = evidently.charts(profile, window)
    assert "confidence" in html

"""The pages people look at: our verdict on top, charts below, and nothing fetched from anywhere."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from headstart.monitoring import evidently, watch
from headstart.monitoring.windows import Traffic
from tests.unit.made_traffic import CLASSES, NOON, TRIPLED, monitor, profile_of, traffic, window_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::")]  # Evidently's and its libraries' own

# what makes a browser fetch: an address in src or href of a loading element, in CSS, or in a module's import
FETCHES = re.compile(
    r"<(?:script|img|iframe|video|audio|source|embed|object)\b[^>]*\s(?:src|data)\s*=\s*[\"']?(?!data:)[^\"'>\s]+"
    r"|<link\b[^>]*\shref\s*=\s*[\"']?(?!data:)[^\"'>\s]+"
    r"|url\(\s*[\"']?(?:https?:)?//"
    r"|@import\s+[\"'u]",
    re.IGNORECASE,
)


def document_of(window, verdict="alert", findings=(), **changes):
    return {
        "verdict": verdict,
        "causes": [{"cause": "label_shift", "score": 0.5, "evidence": {}}] if verdict == "alert" else [],
        "remedy": "correct_prior" if verdict == "alert" else "none",
        "window": Traffic(NOON, NOON, [window], {}, 0).document(),
        "findings": [finding.document() for finding in findings],
        "estimates": {"accuracy": None, "shares": None, "shares_reason": None},
        **changes,
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    rng = np.random.default_rng(3)
    profile = profile_of(traffic(rng, 300))
    window = window_of(traffic(rng, 200, TRIPLED), labelled=60)
    document = document_of(window, findings=watch.judge(profile, window, monitor()))
    page = tmp_path_factory.mktemp("pages") / "window.html"
    return page, document, evidently.report("pets & co", profile, window, document, page)


def test_pages_open_without_a_network(drawn):
    assert not FETCHES.findall(drawn[0].read_text())


def test_our_verdict_opens_the_page_and_names_each_finding(drawn):
    page, document, _ = drawn
    body = page.read_text().split("<body>")[1]
    assert "<strong>pets &amp; co: alert</strong> · label_shift · remedy: correct_prior" in body[:500]
    assert all(f"{entry['verdict']}: {entry['check']}: " in body[:6000] for entry in document["findings"])


def test_what_the_inputs_look_like_stands_in_the_first_lines(tmp_path):
    window = window_of(traffic(np.random.default_rng(3), 10))
    meaning = "It looks as if texts are <cut>."
    cause = {"cause": "input_quality", "score": 1.0, "evidence": {"checks": [], "meaning": meaning}}
    evidently.plain("pets", document_of(window, causes=[cause]), tmp_path / "page.html", because="none.")
    assert "remedy: correct_prior<br>It looks as if texts are &lt;cut&gt;." in (tmp_path / "page.html").read_text()


def test_the_class_mix_then_and_now_stands_below_the_findings(tmp_path):
    window = window_of(traffic(np.random.default_rng(3), 10))
    share = {"reference": 0.1, "value": 0.312, "low": 0.284, "high": 0.34}
    estimates = {"accuracy": None, "shares": {"cat & dog": share}, "shares_reason": None}
    evidently.plain("pets", document_of(window, estimates=estimates), tmp_path / "page.html", because="none.")
    text = re.sub(r"<[^>]*>|\s+", " ", (tmp_path / "page.html").read_text())
    assert re.search(r"cat &amp; dog +10\.0% +31\.2% +28\.4% to 34\.0%", text)


def test_what_the_charts_show_is_json_too(drawn):
    assert json.loads(json.dumps(drawn[2], allow_nan=False))["metrics"]


def test_no_drift_test_of_evidentlys_can_contradict_the_verdict(drawn):
    assert not [metric for metric in drawn[2]["metrics"] if "drift" in metric["metric_name"].lower()]
    assert not drawn[2]["tests"]
    assert "drift is" not in drawn[0].read_text().lower()


def test_labels_are_drawn_beside_the_answers(drawn):
    columns = {metric["config"].get("column") for metric in drawn[2]["metrics"]}
    assert {"predicted", "confidence", "label", "answer", "brightness"} <= columns


def test_without_labels_none_are_drawn(tmp_path):
    rng = np.random.default_rng(4)
    window = window_of(traffic(rng, 120))
    page = tmp_path / "w.html"
    charts = evidently.report("pets", profile_of(traffic(rng, 300)), window, document_of(window, "ok"), page)
    assert "label" not in {metric["config"].get("column") for metric in charts["metrics"]}


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
def test_windows_on_which_a_page_about_classification_fails_are_drawn(tmp_path, case):
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
    page = tmp_path / "window.html"
    evidently.report("pets", profile, window, document_of(window, "ok"), page)
    assert "<strong>pets: ok</strong>" in page.read_text()


def test_a_page_of_a_window_too_small_to_judge_says_that_nothing_found_means_nothing(tmp_path):
    rng = np.random.default_rng(6)
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, 40))
    evidently.report("scans", profile, window, document_of(window, "unsure"), tmp_path / "w.html")
    page = (tmp_path / "w.html").read_text()
    assert "that nothing is found below does not mean that nothing has changed" in page
    assert "not detected" not in page.lower()


def test_where_no_chart_can_be_drawn_the_page_has_the_verdict_and_says_why(tmp_path):
    rng = np.random.default_rng(7)
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, 120))
    document = document_of(window, findings=watch.judge(profile, window, monitor()))
    evidently.plain("pets & co", document, tmp_path / "w.html", because="Evidently failed with KeyError: '<7>'")
    page = (tmp_path / "w.html").read_text()
    assert "<strong>pets &amp; co: alert</strong>" in page
    assert "The charts could not be drawn: Evidently failed with KeyError: &#39;&lt;7&gt;&#39;" in page

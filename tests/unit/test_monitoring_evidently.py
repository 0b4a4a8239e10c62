"""The pages people look at: our verdict on top, charts below, and nothing fetched from anywhere."""

import json
import re

import numpy as np
import pytest

from headstart.monitoring import evidently, watch
from tests.unit.made_traffic import TRIPLED, monitor, profile_of, traffic, window_of

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
def drawn(tmp_path_factory):
    rng = np.random.default_rng(3)
    profile = profile_of(traffic(rng, 300))
    window = window_of(traffic(rng, 200, TRIPLED), labelled=60)
    findings = watch.judge(profile, window, monitor())
    document = {
        "verdict": "alert",
        "causes": [{"cause": "label_shift", "score": 0.5}],
        "remedy": "correct_prior",
        "window": window.document(),
        "findings": [finding.document() for finding in findings],
    }
    page = tmp_path_factory.mktemp("pages") / "window.html"
    return evidently.report("pets & co", profile, window, document, page), document


def test_two_pages_are_drawn_where_labels_came(drawn):
    assert [path.name for path in drawn[0]] == ["window.html", "window-quality.html"]


def test_pages_open_without_a_network(drawn):
    for path in drawn[0]:
        assert not FETCHES.findall(path.read_text())


def test_our_verdict_opens_the_page_and_names_each_finding(drawn):
    pages, document = drawn
    for path in pages:
        body = path.read_text().split("<body>")[1]
        assert "<strong>pets &amp; co: alert</strong> · label_shift · remedy: correct_prior" in body[:500]
        assert all(f"{entry['verdict']}: {entry['check']}: " in body[:4000] for entry in document["findings"])


def test_the_same_numbers_stand_beside_each_page_as_json(drawn):
    pages, document = drawn
    for path in pages:
        kept = json.loads(path.with_suffix(".json").read_text())
        assert kept["headstart"] == document
        assert kept["evidently"]["metrics"]


def test_charts_are_given_our_level_so_that_they_do_not_contradict_us(drawn):
    pages, document = drawn
    kept = json.loads(pages[0].with_suffix(".json").read_text())
    bars = {finding["check"]: finding["bar"] for finding in document["findings"]}
    thresholds = {
        metric["config"]["column"]: metric["config"]["threshold"]
        for metric in kept["evidently"]["metrics"]
        if metric["metric_name"].startswith("ValueDrift")
    }
    assert thresholds["predicted"] == pytest.approx(bars["predicted_classes"])
    assert thresholds["confidence"] == pytest.approx(bars["confidence"])


def test_without_labels_quality_is_not_drawn(tmp_path):
    rng = np.random.default_rng(4)
    profile, window = profile_of(traffic(rng, 300)), window_of(traffic(rng, 120))
    document = {"verdict": "ok", "causes": [], "remedy": "none", "window": window.document(), "findings": []}
    assert [path.name for path in evidently.report("pets", profile, window, document, tmp_path / "w.html")] == [
        "w.html"
    ]

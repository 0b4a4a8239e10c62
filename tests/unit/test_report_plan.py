"""The plan in words: on the terminal, as JSON and on its page."""

import pytest

from headstart import artifacts
from headstart.report import plan as words
from tests.unit import report_plan

MEASURED = {"a_million": 0.3}  # seconds for a million pixels


@pytest.fixture
def plan() -> dict:
    return report_plan.plan()


def test_the_terminal_shows_what_is_trained_what_is_not_and_what_was_measured(plan):
    told = "\n".join(words.lines("tickets", plan, MEASURED))
    for sentence in (
        "tickets: Training tries 2 strategies, linear probe and fine-tuning, and keeps the best on validation.",
        "135,000,000 pixels, about 40 s. The median class has 108 labels; layers are trained from 4 on.",
        "A resnet has no linear layers below its head.",
        "glyphs, a resnet of 0.7 M parameters",
        "right on 91.2% (89.7% to 92.7%) of train",
        "the probe gained +2.2 points (+0.9 to +3.4) from the second half of the 1,077 labels",
        "proxy A-distance 1.72 of 2 (1.62 to 1.82)",
    ):
        assert sentence in told


def test_the_document_has_seconds_from_counted_work_and_what_a_million_took(plan):
    found = words.document(plan, MEASURED)
    assert [(one["strategy"], one["seconds"]) for one in found["shortlist"]] == [
        ("linear_probe", 0.5),
        ("fine_tune", 40.5),
    ]
    assert found["seconds"] == 41.0
    assert found["excluded"][1] == {
        "strategy": "scratch", "code": "baseline", "reason": "A baseline: `headstart compare` trains it."
    }  # fmt: skip
    assert words.document(plan, {})["seconds"] is None


def test_a_strategy_that_was_asked_for_is_said_to_be():
    assert words.summary(report_plan.plan(forced=True)) == "Training uses fine-tuning, as plan.strategy asks."


def test_without_a_sample_of_the_backbones_domain_the_shift_is_unknown_and_the_key_is_named(plan):
    plan["evidence"]["domain_shift"] = None
    assert "backbones.*.reference" in dict(words.seen(plan))["domain shift"]


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ({"code": "none_significantly_better"}, "that is not significantly better"),
        ({"code": "all_asked_for"}, "all layers stay, as plan.layers asks"),
        ({"code": "impossible", "layer": "encoder.layer.5"}, "this network can't end there"),
    ],
)
def test_a_better_layer_that_is_not_used_comes_with_the_reason(plan, ending, told):
    layers = plan["evidence"]["layers"]
    layers[4]["value"] = 0.99
    assert words.ending(ending, layers).endswith(told)


def test_an_unknown_reason_is_shown_as_it_is():
    assert words.reason({"code": "of_a_later_version", "rows": 3}) == "rows 3"
    assert words.reason({"code": "of_a_later_version"}) == "of_a_later_version"


def test_the_page_needs_no_network_and_is_the_same_twice(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifacts.write_json(artifacts.stage_output("tickets", "plan") / "plan.json", plan)
    html = words.write("tickets").read_text()
    assert "What was measured" in html and "A baseline" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    assert html == words.write("tickets").read_text()

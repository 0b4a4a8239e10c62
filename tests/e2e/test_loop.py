"""The whole loop on toys, through the command: raw data to champion, again, in another folder, and back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from headstart.artifacts import read_json
from headstart.determinism import file_digest as digest_of
from tests.conftest import HEADSTART
from tests.tiny.workspace import build

pytestmark = pytest.mark.slow
MODELS = ("topics", "bars")


def manifest(workspace: Path) -> dict[str, str]:
    """The digest of each file of the bundle of `bars`."""
    return dict(read_json(workspace / "artifacts/models/bars/bundle/MANIFEST.json")["files"])


def test_both_models_are_champions_with_intervals_and_gates(finished):
    document = read_json(finished / "run.json")
    assert set(document) == set(MODELS)
    for result in document.values():
        assert (result["verdict"], result["version"], result["alias"]) == ("pass", 1, "champion")
        assert set(result["metrics"]) == {"accuracy", "macro_f1", "nll", "ece"}
        for metric in result["metrics"].values():
            assert metric["low"] <= metric["value"] <= metric["high"] and metric["n"] > 0
        assert {"accuracy", "baseline", "parity", "replay", "champion"} <= {gate["check"] for gate in result["gates"]}


def test_the_ledger_tells_how_the_champion_came_to_be(finished, headstart):
    answer = headstart(finished, "history", "topics", "--json")
    assert answer.status == 0, answer.err
    assert answer.document["whole"] is True
    entries = list(reversed(answer.document["entries"]))
    assert [entry["event"] for entry in entries] == ["opened", "registered", "judged", "promoted"]
    judged, promoted = entries[2:]
    gates = read_json(finished / "run.json")["topics"]["gates"]
    assert [check["check"] for check in judged["checks"]] == [gate["check"] for gate in gates]
    assert (promoted["before"], promoted["champion"]) == (None, 1)
    assert promoted["who"]["via"].startswith("flow release (") and promoted["who"]["flow_run"]
    assert promoted["bundle"] == digest_of(finished / "artifacts/models/topics/bundle/MANIFEST.json")


def test_with_nothing_new_it_says_so_and_starts_no_server(finished, headstart):
    # a server that does not answer: had the flow been started, the run would have failed
    answer = headstart(finished, "run", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert answer.status == 0, answer.err
    assert answer.document == read_json(finished / "run.json")
    assert "nothing is new" in answer.err


def test_the_report_is_there_and_needs_no_network(finished):
    for name in MODELS:
        page = (finished / f"artifacts/releases/{name}/report.html").read_text()
        assert "<svg" in page
        for reference in ('src="http', 'href="http', "@import", "url(http"):
            assert reference not in page


def test_a_run_killed_in_training_goes_on_to_the_same_bytes_in_another_folder(finished, tmp_path, headstart):
    killed = build(tmp_path / "some" / "other place")
    process = subprocess.Popen(
        [str(HEADSTART), "run", "bars"],
        cwd=killed,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not list(killed.glob(".partial/*/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before a checkpoint was seen"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "artifacts/models/bars/train/screen.json").exists()
    answer = headstart(killed, "run", "bars")
    assert answer.status == 0, answer.err
    assert manifest(killed) == manifest(finished)
    assert not list(killed.glob(".partial/*"))


def test_a_comment_or_a_monitors_key_retrains_nothing_and_a_learning_rate_retrains_one_model(finished, copied):
    def stale() -> set[str]:
        script = (
            "from pathlib import Path\nfrom headstart.params.loader import load\nfrom headstart.stages import graph\n"
            "from headstart.stages.resolve import resolve\np = load(Path('params.yaml'))\nresolve(p)\n"
            "print(*[step.name for step in graph.plan(p, list(p.models)) if step.stale])"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=copied, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert stale() == set()
    path = copied / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["defaults"]["all"]["monitor"]["rows"] = 77
    path.write_text("# a comment\n" + yaml.safe_dump(document))
    assert stale() == set()
    document["models"]["bars"]["fine_tune"] = {"learning_rate": 0.003}
    path.write_text(yaml.safe_dump(document))
    # the bundle holds the parameters, so it is sealed anew; what lies between is asked again once train has run
    assert stale() == {"plan@bars", "train@bars", "seal@bars"}


def test_a_leak_above_the_stated_share_stops_the_run_with_status_one(copied, headstart):
    rows = (copied / "sources/topics.csv").read_text().splitlines()[1:]
    folder = copied / "sources/split"
    folder.mkdir()
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]))
    (folder / "test.csv").write_text("\n".join(["text,label", *rows[:60]]))
    document = yaml.safe_load((copied / "params.yaml").read_text())
    document["models"] = {"topics": {**document["models"]["topics"], "data": {"source": "sources/split"}}}
    (copied / "params.yaml").write_text(yaml.safe_dump(document))
    answer = headstart(copied, "run", "--json")
    assert answer.status == 1, answer.err
    result = answer.document["topics"]
    [leak] = [finding for finding in result["gates"] if finding["check"] == "leak"]
    assert (result["verdict"], result["version"], leak["verdict"], leak["statistic"]) == ("fail", None, "fail", 60)
    judged = headstart(copied, "history", "topics", "--json").document["entries"][0]
    assert (judged["event"], judged["version"], judged["verdict"]) == ("judged", None, "fail")
    assert [check["statistic"] for check in judged["checks"] if check["check"] == "leak"] == [60]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        pytest.param(["run", "topic"], 2, "Did you mean topics?", id="a model that is not there"),
        pytest.param(["promote", "topics", "99"], 2, "no version 99", id="a version that is not there"),
        pytest.param(["rollback", "topics"], 2, "first champion", id="nothing to go back to"),
        pytest.param(["predict", "bars", "no.png"], 2, "no image file", id="an image that is not there"),
        pytest.param(["run", "--nonsense"], 2, "No such option", id="an option that is not there"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_document(finished, headstart, arguments, status, sentence):
    answer = headstart(finished, *arguments, "--json")
    assert answer.status == status
    assert set(answer.document["error"]) == {"message", "action"}
    assert sentence in f"{answer.document['error']['message']} {answer.document['error']['action']}"


def test_outside_a_workspace_it_says_what_a_workspace_is(tmp_path, headstart):
    answer = headstart(tmp_path, "status", "--json")
    assert answer.status == 2
    assert "params.yaml beside dvc.yaml" in answer.document["error"]["message"]

"""`headstart run --reason`: a refusal before export is overridden for one candidate, in params.yaml."""

import pytest
import yaml

from headstart import artifacts
from headstart.cli import run as command
from headstart.cli.add import add
from headstart.errors import UsageError
from headstart.evaluation import screen
from headstart.params.loader import load

FAILED = {"check": "above_majority", "verdict": "fail", "reason": "r", "action": "a"}
REFUSED = {"verdict": "fail", "findings": [FAILED]}


@pytest.fixture
def workspace(initialised, monkeypatch):
    rows = "my card is lost,card\nwhere is my money,money\n" * 6
    (initialised / "t.csv").write_text("text,label\n" + rows)
    assert add("t", data=["t.csv"], as_json=True) == 0
    monkeypatch.setattr("headstart.cli.staleness.stale_models", lambda workspace, params, models: models)
    monkeypatch.setattr(command, "start_flow", lambda *arguments: None)
    artifacts.write_json(
        artifacts.release("t") / "run.json", {"verdict": "pass", "alias": None, "version": None, "live": None}
    )
    return initialised


def screened(document):
    artifacts.write_json(artifacts.stage_output("t", "train") / "screen.json", document)


def test_the_reason_stands_in_params_for_the_candidate_that_was_refused(workspace):
    screened(REFUSED)
    assert command.run(["t"], reason=" recall of the rare class is 1.0 ", as_json=True) == 0
    entry = yaml.safe_load((workspace / "params.yaml").read_text())["models"]["t"]
    override = {"candidate": screen.candidate(REFUSED), "reason": "recall of the rare class is 1.0"}
    assert entry["export"] == {"override": override}
    assert load(workspace / "params.yaml").models["t"].export.override.model_dump() == override


@pytest.mark.parametrize(
    ("document", "names", "reason", "sentence"),
    [
        pytest.param(None, ["t"], "why", "t has not been trained yet", id="no candidate"),
        pytest.param({"verdict": "pass", "findings": []}, ["t"], "why", "t passed its screen", id="not refused"),
        pytest.param(REFUSED, [], "why", "0 models were named", id="no model"),
        pytest.param(REFUSED, ["t"], " ", "--reason is empty", id="no reason"),
    ],
)
def test_an_override_of_nothing_is_refused_and_nothing_is_written(workspace, document, names, reason, sentence):
    if document:
        screened(document)
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(UsageError, match=sentence):
        command.run(names, reason=reason)
    assert (workspace / "params.yaml").read_text() == before

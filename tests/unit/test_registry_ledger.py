"""The ledger: entries are added, never changed; one that is altered or removed is found."""

import hashlib
import itertools
import json
import sqlite3
from datetime import datetime

import pytest

from headstart import registry, tracking
from headstart.errors import OutsideError
from headstart.registry import ledger, shipping
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

MODELS = (f"kept{number}" for number in itertools.count())
FINDINGS = [
    {
        "check": "accuracy", "verdict": "pass", "statistic": 0.91, "bar": 0.8, "reason": "It is 0.91.", "action": "",
        "evidence": {"n": 640},
    }
]  # fmt: skip


@pytest.fixture
def model(tracked):
    return next(MODELS)


@pytest.fixture
def version(model, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    return registry.register(
        model,
        text_bundle(tmp_path / "bundle"),
        run_id=run_id,
        verdict="pass",
        reasons=[],
        metrics={},
        tags={"git_commit": "abc", "data_revision": "d41d8"},
        findings=FINDINGS,
        who=registry.Actor("ada@laptop", "flow release", "1f3a"),
    )


@pytest.fixture
def database(tracked):
    def execute(question, *values):
        with sqlite3.connect(tracked.state / "mlflow.db") as connection:
            connection.execute(question, values)
        connection.close()

    return execute


def run_of(model, sequence):
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT).experiment_id
    asked = f"tags.`headstart.model` = '{model}' AND tags.`headstart.sequence` = '{sequence:09d}'"
    [run] = client.search_runs([experiment], asked)
    return run


def remove(database, model, sequence):
    """As `mlflow gc` does."""
    run_id = run_of(model, sequence).info.run_id
    database("DELETE FROM tags WHERE run_uuid = ?", run_id)
    database("DELETE FROM runs WHERE run_uuid = ?", run_id)


def three(model):
    for number in (1, 2):  # after the first, which opens the ledger
        ledger.append(model, "remedy_applied", remedy=f"r{number}")


def test_a_model_of_which_nothing_was_recorded_has_no_entries(model):
    assert ledger.read(model) == ledger.Ledger([], [])


def test_each_entry_names_the_sha_256_of_the_one_before(model):
    three(model)
    found = ledger.read(model)
    assert [entry.sequence for entry in found.entries] == [1, 2, 3]
    assert found.problems == []
    for entry, before in zip(found.entries[1:], found.entries[:-1], strict=True):
        tags = run_of(model, before.sequence).data.tags
        text = "".join(tags[key] for key in sorted(tags) if key.startswith("headstart.entry."))
        assert entry.previous == (hashlib.sha256(text.encode()).hexdigest(),)
        assert json.loads(text)["format"] == 1
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_an_entry_says_who_what_when_and_of_what(model, version, monkeypatch):
    monkeypatch.setenv("HEADSTART_NOW", "2026-03-01T12:00:00+00:00")
    registry.promote(model, reason="of März", who=registry.Actor("bob@desk", "command promote"))
    *_, entry = ledger.read(model).entries
    assert (entry.event, entry.version, entry.reason) == ("promoted", version, "of März")
    assert entry.time == "2026-03-01T12:00:00.000+00:00"
    assert str(entry.who) == "bob@desk (command promote)"
    known = registry.describe(model, version)
    told = {key: entry.details[key] for key in ("git_commit", "data_revision", "contract", "bundle", "run")}
    assert told == {
        "git_commit": "abc",
        "data_revision": "d41d8",
        "contract": known.contract,
        "bundle": known.bundle,
        "run": known.run_id,
    }


def test_a_judgement_keeps_codes_and_numbers_and_the_hash_of_its_findings(model, version):
    import mlflow

    opened, registered, judged = ledger.read(model).entries
    assert [entry.event for entry in (opened, registered, judged)] == ["opened", "registered", "judged"]
    assert judged.details["verdict"] == "pass"
    assert judged.details["checks"] == [{"check": "accuracy", "verdict": "pass", "statistic": 0.91, "bar": 0.8}]
    assert judged.who == registry.Actor("ada@laptop", "flow release", "1f3a")
    evidence = judged.details["evidence"]["findings.json"]
    uri = f"runs:/{judged.details['run']}/{evidence['path']}"
    text = mlflow.artifacts.load_text(uri)
    assert hashlib.sha256(text.encode()).hexdigest() == evidence["sha256"]
    assert json.loads(text) == FINDINGS


def test_a_long_reason_is_kept_whole(model, version):
    registry.promote(model, reason="w" * 20_000)
    found = ledger.read(model)
    assert found.entries[-1].reason == "w" * 20_000
    assert found.problems == []


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_an_altered_entry_is_named(model, sequence):
    import mlflow

    three(model)
    run = run_of(model, sequence)
    text = run.data.tags["headstart.entry.00"]
    mlflow.MlflowClient().set_tag(run.info.run_id, "headstart.entry.00", text.replace('"reason":""', '"reason":"x"'))
    problems = ledger.read(model).problems
    assert problems
    assert all(problem.startswith(f"Entry {sequence} ") and "was altered" in problem for problem in problems)


def test_an_altered_entry_whose_own_hash_was_altered_too_is_named(model):
    import mlflow

    three(model)
    run, client = run_of(model, 2), mlflow.MlflowClient()
    text = run.data.tags["headstart.entry.00"].replace("r1", "r9")
    client.set_tag(run.info.run_id, "headstart.entry.00", text)
    client.set_tag(run.info.run_id, "headstart.sha256", hashlib.sha256(text.encode()).hexdigest())
    [problem] = ledger.read(model).problems
    assert problem.startswith("Entry 2 was altered")


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_a_removed_entry_is_named(model, sequence, database):
    three(model)
    remove(database, model, sequence)
    [problem] = ledger.read(model).problems
    assert problem.startswith(f"Entry {sequence} was removed")


@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_what_befell_the_last_entry_is_still_named_once_another_was_added(model, database, damage):
    import mlflow

    three(model)
    run = run_of(model, 3)
    if damage == "removed":
        remove(database, model, 3)
    else:
        text = run.data.tags["headstart.entry.00"].replace("r2", "r9")
        mlflow.MlflowClient().set_tag(run.info.run_id, "headstart.entry.00", text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        mlflow.MlflowClient().set_tag(run.info.run_id, "headstart.sha256", sha256)
    assert ledger.append(model, "remedy_applied", remedy="r3").sequence == 4
    [problem] = ledger.read(model).problems
    assert problem.startswith(f"Entry 3 was {damage}")


def test_a_ledger_whose_entries_were_all_removed_does_not_begin_again_as_if_nothing_was(model, database):
    three(model)
    for sequence in (1, 2, 3):
        remove(database, model, sequence)
    ledger.append(model, "remedy_applied", remedy="r3")
    found = ledger.read(model)
    assert [entry.sequence for entry in found.entries] == [4, 5]
    assert found.problems[0].startswith("Entry 3 was removed")


@pytest.mark.parametrize(
    ("tag", "value"), [("sequence", "first"), ("event", "promoted"), ("version", "7"), ("champion", "7")]
)
def test_an_index_tag_that_says_something_else_than_the_text_is_named(model, tag, value):
    import mlflow

    three(model)
    mlflow.MlflowClient().set_tag(run_of(model, 2).info.run_id, f"headstart.{tag}", value)
    found = ledger.read(model)
    assert [entry.sequence for entry in found.entries] == [1, 2, 3]
    [problem] = found.problems
    assert problem.startswith("Entry 2 (remedy_applied") and f"tag headstart.{tag} is '{value}'" in problem


def test_a_head_that_is_no_number_and_hash_is_named_even_after_another_entry(model):
    import mlflow

    three(model)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT).experiment_id
    client.set_experiment_tag(experiment, f"headstart.head.{model}", "gone")
    [before] = ledger.read(model).problems
    ledger.append(model, "remedy_applied", remedy="r3")
    [after] = ledger.read(model).problems
    assert before == after == f"The tag headstart.head.{model} was altered: it said 'gone'."


def test_an_entry_whose_time_is_none_is_a_problem_and_no_crash(model):
    import mlflow

    three(model)
    run = run_of(model, 2)
    text = run.data.tags["headstart.entry.00"]
    document = json.loads(text) | {"time": "soon"}
    mlflow.MlflowClient().set_tag(run.info.run_id, "headstart.entry.00", json.dumps(document))
    found = ledger.read(model)
    assert [entry.sequence for entry in found.entries] == [1, 3]
    assert found.problems[0] == "Entry 2 was altered: its text cannot be read."


def test_a_deleted_experiment_says_how_it_is_restored(model):
    import mlflow

    three(model)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT).experiment_id
    client.delete_experiment(experiment)
    try:
        for ask in (
            lambda: ledger.read(model), lambda: ledger.append(model, "remedy_applied"),
            lambda: ledger.last_move(model), lambda: ledger.holds(model, "promoted", 1),
        ):  # fmt: skip
            with pytest.raises(OutsideError, match=f"mlflow experiments restore --experiment-id {experiment}"):
                ask()
    finally:
        client.restore_experiment(experiment)


def test_a_promotion_whose_entry_was_deleted_in_mlflow_was_no_move_outside(model, version):
    import mlflow

    registry.promote(model)
    mlflow.MlflowClient().delete_run(run_of(model, 4).info.run_id)
    registry.settle(model)
    assert [entry.event for entry in ledger.read(model).entries] == ["opened", "registered", "judged", "promoted"]
    assert ledger.append(model, "remedy_applied").sequence == 5


def test_an_entry_that_was_added_counts_although_what_comes_after_it_failed(model, monkeypatch):
    import mlflow
    from mlflow.exceptions import MlflowException

    def refuse(*arguments, **named):
        raise MlflowException("503")

    with monkeypatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "set_experiment_tag", refuse)
        broken.setattr(mlflow.MlflowClient, "set_terminated", refuse)
        ledger.append(model, "remedy_applied", remedy="r1")
    ledger.append(model, "remedy_applied", remedy="r2")
    found = ledger.read(model)
    assert ([entry.sequence for entry in found.entries], found.problems) == ([1, 2, 3], [])


def test_a_judgement_that_a_flow_run_repeats_is_recorded_once(model, version, tmp_path):
    again = {"run_id": "", "verdict": "pass", "reasons": [], "metrics": {}, "tags": {}, "findings": FINDINGS}
    for flow_run in ("1f3a", "", "2b"):
        who = registry.Actor("ada@laptop", "flow release", flow_run)
        registry.register(model, tmp_path / "bundle", who=who, **again)
    judged = [entry for entry in ledger.read(model).entries if entry.event == "judged"]
    assert [entry.who.flow_run for entry in judged] == ["1f3a", "", "2b"]


def test_an_entry_that_was_deleted_in_mlflow_is_still_read_and_can_be_restored(model):
    import mlflow

    three(model)
    run_id = run_of(model, 2).info.run_id
    mlflow.MlflowClient().delete_run(run_id)
    found = ledger.read(model)
    assert [entry.sequence for entry in found.entries] == [1, 2, 3]
    [problem] = found.problems
    assert problem.startswith("Entry 2 (remedy_applied") and f"mlflow runs restore --run-id {run_id}" in problem


def test_entries_written_at_once_by_two_machines_are_both_named_by_the_next(model, monkeypatch):
    ledger.append(model, "remedy_applied", remedy="r1")
    stale = ledger.read(model).entries[-1:]
    ledger.append(model, "remedy_applied", remedy="r2")
    with monkeypatch.context() as late:
        late.setattr(ledger, "_found", lambda *arguments, **named: stale)
        late.setattr(ledger, "_mark", lambda *arguments: f"2 {stale[0].hash}")
        ledger.append(model, "remedy_applied", remedy="r3")
    last = ledger.append(model, "remedy_applied", remedy="r4")
    found = ledger.read(model)
    assert found.problems == []
    assert [entry.sequence for entry in found.entries] == [1, 2, 3, 3, 4]
    assert set(last.previous) == {entry.hash for entry in found.entries[2:4]}


def test_what_was_recorded_already_is_not_recorded_again(model, monkeypatch):
    monkeypatch.setattr(ledger, "RECENT", 1)
    first = ledger.append(model, "remedy_applied", id="one")
    for _ in range(2):
        ledger.append(model, "remedy_withdrawn")
    assert ledger.append(model, "remedy_applied", id="one") == first
    assert len(ledger.read(model).entries) == 4


def test_a_ledger_that_begins_later_says_who_was_champion_then(model, version):
    import mlflow

    registry.promote(model, reason="of May")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT)
    for run in client.search_runs([experiment.experiment_id], f"tags.`headstart.model` = '{model}'"):
        client.set_tag(run.info.run_id, "headstart.model", "another")  # as in a workspace made before
    client.delete_experiment_tag(experiment.experiment_id, f"headstart.head.{model}")
    registry.settle(model)
    [opened] = ledger.read(model).entries
    assert (opened.event, opened.version) == ("opened", version)
    told = {key: opened.details[key] for key in ("champion", "verdict", "overridden")}
    assert told == {"champion": version, "verdict": "pass", "overridden": ""}
    assert opened.details["since"] == registry.describe(model, version).since


def test_a_version_from_before_the_ledger_is_registered_as_of_when_it_was(model, version, tmp_path, monkeypatch):
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(ledger.EXPERIMENT)
    for run in client.search_runs([experiment.experiment_id], f"tags.`headstart.model` = '{model}'"):
        client.set_tag(run.info.run_id, "headstart.model", "another")
    client.delete_experiment_tag(experiment.experiment_id, f"headstart.head.{model}")
    monkeypatch.setenv("HEADSTART_NOW", "2126-03-01T12:00:00+00:00")
    registry.register(
        model, tmp_path / "bundle", run_id="", verdict="pass", reasons=[], metrics={}, tags={}, findings=FINDINGS
    )
    opened, registered, judged = ledger.read(model).entries
    assert [entry.time[:4] for entry in (opened, judged)] == ["2126", "2126"]
    made = client.get_model_version(model, str(version)).creation_timestamp
    assert datetime.fromisoformat(registered.time).timestamp() == pytest.approx(made / 1000)


def test_an_account_can_be_named_where_the_user_is_a_machines(monkeypatch):
    assert "@" in registry.Actor.here().account
    monkeypatch.setenv("HEADSTART_ACCOUNT", "release-bot")
    assert registry.Actor.here("command promote") == registry.Actor("release-bot", "command promote")

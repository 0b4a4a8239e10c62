"""The flow `release`: whom a bundle is compared with, and what is said where that version was deleted."""

import itertools
import shutil

import pytest

from headstart import artifacts, registry, tracking
from headstart.evaluation import judgement
from headstart.findings import Finding, overall
from headstart.params.evaluation import Gates
from pipelines import release
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

GATES = Gates(accuracy=0.6, macro_f1=0.5, calibration_error=0.15, baseline_margin=0.0, champion_margin=0.02, level=0.05)


MODELS = (f"model{number}" for number in itertools.count())


@pytest.fixture
def versions(tracked, tmp_path, monkeypatch):
    """`versions()` seals another bundle, registers it and returns its number; `model` is its name."""
    from headstart.registry import shipping

    model = next(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    made = iter(range(1, 100))
    sealed = artifacts.stage_output(model, "bundle")

    def make(*, promoted=True):
        shutil.rmtree(sealed, ignore_errors=True)
        text_bundle(sealed, temperature=float(next(made)))
        number = registry.register(model, sealed, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})
        if promoted:
            registry.promote(model, number)
        return number

    make.model = model
    return make


def delete(model, version, tracked):
    import sqlite3

    with sqlite3.connect(tracked.tracking_uri.removeprefix("sqlite:///")) as database:
        database.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = ? AND version = ?",
            (model, version),
        )
    database.close()


def test_a_bundle_is_compared_with_the_champion_and_the_champion_with_the_one_before(versions):
    first = versions()
    assert release.rival_of(versions.model) is None  # it is the champion, and there was none before
    second = versions(promoted=False)
    assert release.rival_of(versions.model) == first
    registry.promote(versions.model, second)
    assert release.rival_of(versions.model) == first


def test_where_the_version_before_was_deleted_there_is_nothing_to_compare_a_champion_with(versions, tracked):
    first = versions()
    versions()
    delete(versions.model, first, tracked)
    assert release.rival_of(versions.model) is None


def test_a_champion_that_was_deleted_closes_the_gates_with_the_way_out(versions, tracked, monkeypatch):
    champion = versions()
    versions(promoted=False)
    delete(versions.model, champion, tracked)
    assert release.rival_of(versions.model) == champion
    sealed = artifacts.stage_output(versions.model, "bundle")
    artifacts.write_json(sealed / "evaluation.json", {"format": 2})
    monkeypatch.setattr(judgement.golden, "replay", lambda *_: {})
    artifacts.write_json(artifacts.stage_output(versions.model, "data") / "findings.json", [])
    for name in ("parity", "preprocessing", "batchnorm"):
        artifacts.write_json(artifacts.stage_output(versions.model, "export") / f"{name}.json", {"format": 1})
    findings = {one.check: one for one in release.judge.fn(versions.model, GATES, champion, {})}
    assert overall(findings.values()) == "fail"
    for check in ("champion", "lost_classes"):
        assert findings[check].reason == (
            f"Champion {champion} was deleted in MLflow: there is nothing to compare the candidate with."
        )
        assert findings[check].action == "Promote the candidate, or another version, with a reason."


def lead(*, ahead=True):
    evidence = {"baseline": "words_svm", "sure": 0.8, "more": 300, "unit": "rows", "value": 0.05}
    return [Finding("baseline", "unsure", 0.05 if ahead else -0.05, 0.0, "", "", evidence)]


def test_a_doubtful_lead_serves_as_first_champion_or_in_place_of_a_provisional_one(versions, tracked):
    first = versions(promoted=False)
    assert release.is_provisional(versions.model, first, lead())
    assert not release.is_provisional(versions.model, first, lead(ahead=False))
    registry.promote(versions.model, first, provisional=True)
    second = versions(promoted=False)
    assert release.is_provisional(versions.model, second, lead())
    registry.promote(versions.model, second)
    assert not release.is_provisional(versions.model, versions(promoted=False), lead())
    assert release.is_provisional(versions.model, second, lead())  # the champion itself, asked again
    delete(versions.model, second, tracked)
    assert not release.is_provisional(versions.model, versions(promoted=False), lead())


def test_bars_are_proposed_only_where_none_is_set():
    interval = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 100}
    evaluation = {"metrics": dict.fromkeys(("accuracy", "macro_f1", "ece"), interval), "baselines": {}}
    bare = GATES.model_copy(update={"accuracy": None, "macro_f1": None, "calibration_error": None})
    assert release.proposed_bars(bare, evaluation) == {"accuracy": 0.4, "macro_f1": 0.4, "calibration_error": 0.8}
    assert release.proposed_bars(bare.model_copy(update={"accuracy": 0.5}), evaluation) is None

"""The flow `release`: whom a bundle is compared with, and what is said where that version was deleted."""

import itertools
import shutil

import pytest

from headstart import artifacts, registry, tracking
from headstart.evaluation import judgement
from headstart.findings import overall
from headstart.params.evaluation import Bootstrap, Gates
from pipelines import release
from tests.unit.tiny_bundle import kept, text_bundle

GATES = Gates(
    accuracy=0.6, macro_f1=0.5, calibration_error=0.15, baseline_margin=0.0, logit_difference=1e-3, label_flips=0,
    replay_difference=1e-4, champion_margin=0.02, level=0.05,
    bootstrap=Bootstrap(resamples=20, level=0.95, seed=13),
)  # fmt: skip


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

"""What a look of the monitor does with a rollout: on, back, or nothing; against a real registry."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from headstart import artifacts, registry, tracking
from headstart.artifacts import read_json
from headstart.cli import standing
from headstart.params.loader import load
from headstart.params.operation import Canary, Shadow, Step
from headstart.registry.rollouts import Rollout
from pipelines import rollouts
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

MODELS = (f"rolling{number}" for number in itertools.count())
OURS = load(Path(__file__).parents[2] / "params.yaml").models["apidocs"]
STEPS = [Step(shadow=Shadow(requests=5, hours=0.0)), Step(canary=Canary(share=0.1, requests=5, hours=0.0))]
STEPPED = OURS.model_copy(update={"rollout": OURS.rollout.model_copy(update={"steps": STEPS})})


@pytest.fixture
def looked(tracked, tmp_path, monkeypatch):
    """`looked(verdict)` is one look at a model with champion 1 and challenger 2, whose evidence says `verdict`."""
    from headstart.registry import shipping

    name = next(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(name, params={}, metrics={}, series={}, artifacts=[], tags={})

    def make(number: int) -> None:
        bundle = text_bundle(tmp_path / f"bundle{number}", temperature=float(number))
        registry.register(name, bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})

    def verdict(journal: Path, current: Rollout, now: Any) -> dict[str, Any]:
        said = looked.verdict if current.running else {"passed": "pass", "failed": "fail"}[current.name]
        reasons = [{"verdict": said, "reason": "It erred."}]
        return {**current.brief(), "verdict": said, "number": current.step + 1, "findings": reasons}

    def looked(verdict: str, model=STEPPED) -> str | None:
        looked.verdict = verdict
        document = rollouts.rollout(tracked, name, model)
        return document and document["outcome"]

    monkeypatch.setattr(rollouts, "verdict", verdict)
    make(1)
    registry.promote(name)
    make(2)
    looked.name, looked.make = name, make
    return looked


def test_without_steps_or_without_another_champion_nothing_begins(looked):
    assert rollouts.begin(looked.name, 2, OURS) is None
    assert rollouts.begin(looked.name, 1, STEPPED) is None
    assert looked("pass") is None


def test_steps_that_pass_lead_to_promotion(looked, tracked):
    assert rollouts.begin(looked.name, 2, STEPPED).name == "shadow"
    assert looked("pass") == "The step canary began."
    assert looked("pass") == "Every step has passed: version 2 is champion."
    assert (registry.aliases(looked.name).champion, registry.rollout(looked.name)) == (2, None)
    assert read_json(tracked.monitor(looked.name) / "rollout.json")["verdict"] == "pass"
    assert looked("pass") is None


def test_what_is_unsure_stays_where_it_is(looked):
    rollouts.begin(looked.name, 2, STEPPED)
    assert looked("unsure") == "The step goes on."
    assert registry.rollout(looked.name).step == 0


def test_what_fails_is_taken_back(looked):
    rollouts.begin(looked.name, 2, STEPPED)
    assert looked("fail") == "Version 2 was taken back; version 1 stays champion."
    assert registry.describe(looked.name, 2).reasons == "Rollout, step 1: It erred."
    assert registry.aliases(looked.name) == registry.Aliases(1, None, None)


def test_the_last_runs_document_follows_the_rollout(looked, tracked):
    written = artifacts.release(looked.name) / "run.json"
    begun = rollouts.begin(looked.name, 2, STEPPED)
    ran = {"version": 2, "alias": "challenger", "provisional": False, "rollout": begun.brief(), "live": None}
    artifacts.write_json(written, ran)
    looked("pass")
    assert standing.refreshed(tracked, looked.name)["rollout"]["step"] == "canary"
    looked("fail")
    document = read_json(written)
    assert (document["alias"], document["rollout"], document["live"]["version"]) == (None, None, 1)


def test_where_a_person_has_to_approve_the_last_step_waits_for_one(looked):
    model = STEPPED.model_copy(update={"release": OURS.release.model_copy(update={"approval": True})})
    rollouts.begin(looked.name, 2, model)
    looked("pass", model)
    assert "waits for `headstart promote" in looked("pass", model)
    assert "waits for `headstart promote" in looked("unsure", model)
    registry.promote(looked.name)
    assert looked("pass", model) is None


def test_a_look_killed_before_it_promoted_is_made_good_by_the_next(looked, monkeypatch):
    rollouts.begin(looked.name, 2, STEPPED)
    looked("pass")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rollouts.registry, "promote", interrupted)
        looked("pass")
    assert registry.rollout(looked.name).name == "passed"
    assert looked("unsure") == "Every step has passed: version 2 is champion."


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_against_a_new_champion_it_begins_anew(looked):
    rollouts.begin(looked.name, 2, STEPPED)
    looked("pass")
    looked.make(3)
    registry.promote(looked.name, 3)
    looked.make(2)  # the same bundle is judged again, and is challenger again
    assert looked("unsure") == "The step goes on."
    assert (registry.rollout(looked.name).champion, registry.rollout(looked.name).step) == (3, 0)

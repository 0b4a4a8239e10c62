"""Rollouts in the registry: one tag that says which step runs, whatever was killed in between."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from headstart import registry, tracking
from headstart.errors import UsageError
from headstart.params.operation import Canary, Rollout, Shadow, Step
from headstart.registry import ledger
from headstart.registry.client import speaking
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEPS = [
    Step(shadow=Shadow(requests=50, hours=1.0)),
    Step(canary=Canary(share=0.1, requests=50, hours=0.0)),
]
PARAMS = Rollout(steps=STEPS, key="X-User-Id", disagreement=None, latency=1.5)
MODELS = (f"rollout{number}" for number in itertools.count())


@pytest.fixture
def model(tracked, tmp_path, monkeypatch):
    """A model whose version 1 is champion and whose version 2 is challenger."""
    from headstart.registry import shipping

    name = next(MODELS)
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(name, params={}, metrics={}, series={}, artifacts=[], tags={})
    for number in (1, 2):
        bundle = text_bundle(tmp_path / f"bundle{number}", temperature=float(number))
        assert number == registry.register(name, bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})
        if number == 1:
            registry.promote(name)
    return name


def begin(model, now=NOON):
    return registry.begin_rollout(model, 2, champion=1, params=PARAMS, margin=0.02, level=0.05, now=now)


def test_a_challenger_without_steps_behind_it_has_no_rollout(model):
    assert registry.rollout(model) is None


def test_what_was_begun_is_read_back_whole(model):
    begun = begin(model)
    assert registry.rollout(model) == begun
    assert (begun.name, begun.running, begun.disagreement) == ("shadow", STEPS[0].shadow, 0.02)


def test_to_begin_twice_does_not_begin_anew(model):
    begin(model)
    assert begin(model, NOON + timedelta(hours=1)).began == NOON


def test_steps_follow_one_another_until_all_have_passed(model):
    later = registry.advance_rollout(model, begin(model), NOON + timedelta(hours=1))
    assert (later.name, later.since, later.began) == ("canary", NOON + timedelta(hours=1), NOON)
    assert registry.advance_rollout(model, later, NOON).name == "passed"


def test_a_step_that_somebody_else_took_is_not_taken_twice(model):
    first = begin(model)
    registry.advance_rollout(model, first, NOON)
    assert registry.advance_rollout(model, first, NOON).step == 1


def test_what_is_taken_back_fails_its_verdict_and_is_no_challenger_any_more(model):
    registry.take_back(model, begin(model), "It erred.", NOON)
    assert registry.rollout(model) is None
    assert registry.aliases(model).challenger is None
    known = registry.describe(model, 2)
    assert (known.verdict, known.reasons, bool(known.rolled_back)) == ("fail", "It erred.", True)
    assert registry.last_rollout(model).failed == "It erred."
    with pytest.raises(UsageError, match="no challenger to promote"):
        registry.promote(model)


def test_a_killed_taking_back_is_finished_by_the_next_one(model):
    begun = begin(model)
    from headstart.registry import rollouts

    with speaking(model) as client:  # the first of its writes
        rollouts._write(client, model, replace(begun, failed="It erred."))
    found = registry.rollout(model)
    assert (found.name, found.running) == ("failed", None)
    registry.take_back(model, found, "another reason", NOON)
    assert registry.describe(model, 2).reasons == "It erred."
    assert registry.rollout(model) is None


def test_promotion_ends_a_rollout(model):
    begin(model)
    registry.promote(model)
    assert registry.rollout(model) is None


def test_against_another_champion_it_stops_until_it_begins_anew(model, tmp_path):
    begin(model)
    run_id = registry.describe(model, 1).run_id
    third = text_bundle(tmp_path / "bundle3", temperature=3.0)
    registry.register(model, third, run_id=run_id, verdict="unsure", reasons=["x"], metrics={}, tags={})
    registry.promote(model, 3, reason="an emergency")
    found = registry.rollout(model)
    assert (found.name, found.running) == ("outdated", None)
    again = registry.restart_rollout(model, found, NOON + timedelta(days=1))
    assert (again.name, again.champion, again.began) == ("shadow", 3, NOON + timedelta(days=1))
    assert registry.rollout(model) == again


def test_each_step_is_in_the_ledger_once_though_somebody_was_killed_while_taking_it(model, monkeypatch):
    from headstart.registry import rollouts

    begun = begin(model)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rollouts, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        registry.advance_rollout(model, begun, NOON)
    registry.advance_rollout(model, begun, NOON)
    registry.take_back(model, registry.rollout(model), "It erred.", NOON, who=registry.Actor("ada@host", "server"))
    entries = [entry for entry in ledger.read(model).entries if entry.event == "rollout_step"]
    told = [(entry.details["outcome"], entry.details["step"], entry.details["number"]) for entry in entries]
    assert told == [("began", "shadow", 1), ("went on", "canary", 2), ("taken back", "failed", 2)]
    assert (entries[-1].reason, str(entries[-1].who)) == ("It erred.", "ada@host (server)")

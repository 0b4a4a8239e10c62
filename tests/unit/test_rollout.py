"""Rollouts judged from journals: who may go on, who is taken back, and when that is still open."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import rollout as rollouts
from headstart.findings import Finding
from headstart.journal.schema import Answer, Label
from headstart.journal.writer import Journal
from headstart.params.loader import load
from headstart.params.operation import Canary, Shadow, Step
from headstart.registry.rollouts import Rollout
from headstart.rollout import Evidence, Pair

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PARAMS = load(Path(__file__).parents[2] / "params.yaml").models["digits"].journal
SHADOW = Step(shadow=Shadow(requests=500, hours=1.0))
CANARY = Step(canary=Canary(share=0.1, requests=500, hours=0.0))
BEGUN = Rollout(
    4, 3, [SHADOW, CANARY], 0, NOON, NOON, None, margin=0.02, level=0.05, disagreement=0.02, latency=1.5, champion_now=3
)
IN_CANARY = replace(BEGUN, step=1)
LATER = NOON + timedelta(hours=2)


def pairs(agree: int = 0, wins: int = 0, losses: int = 0, unknown: int = 0, wrong: int = 0) -> list[Pair]:
    """Pairs of one class, mixed: both right without a label, one of them right, no label, both wrong."""
    kinds = [("a", "a", None)] * agree + [("a", "b", "b")] * wins + [("a", "b", "a")] * losses
    kinds += [("a", "b", None)] * unknown + [("a", "b", "c")] * wrong
    mixed = [kinds[place] for place in np.random.default_rng(0).permutation(len(kinds))]
    return [Pair(str(number), 0, one, other, 0.0, truth) for number, (one, other, truth) in enumerate(mixed)]


def found(check: str, evidence: Evidence, rollout: Rollout = BEGUN, now: datetime = LATER) -> Finding:
    [finding] = [one for one in rollouts.judge(evidence, rollout, now) if one.check == check]
    return finding


def seen(pairs: Sequence[Pair] = (), **more: Any) -> Evidence:
    return Evidence(
        **({"pairs": pairs, "requests": 600, "failed": 0, "latencies": [], "champion_latencies": []} | more)
    )


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"agree": 100}, "unsure"),  # too few to exclude that one in fifty differs
        ({"agree": 400}, "pass"),  # without a label: nothing differs, so nothing is worse
        ({"agree": 1500, "unknown": 60}, "unsure"),  # might all be worse
        ({"agree": 1500, "wins": 30, "losses": 30}, "pass"),
        ({"agree": 1500, "wrong": 60}, "pass"),  # both wrong: neither is better
        ({"agree": 500, "losses": 60}, "fail"),
        ({"agree": 500, "wins": 60}, "pass"),
        ({"agree": 500, "losses": 60, "unknown": 60}, "unsure"),  # the others might all be better
    ],
)
def test_only_inputs_on_which_they_differ_tell_and_unlabelled_ones_count_against_either_answer(counts, verdict):
    assert found("quality", seen(pairs(**counts))).verdict == verdict


def test_inputs_that_have_no_label_yet_do_not_take_back_what_was_shown_before():
    known = pairs(agree=1500, wins=30, losses=30)
    late = [replace(pair, truth=None) for pair in pairs(losses=60)]
    assert found("quality", seen([*known, *late])).verdict == "pass"
    assert found("quality", seen([*late, *known])).verdict == "unsure"


def test_an_open_question_says_which_labels_would_settle_it():
    finding = found("quality", seen(pairs(agree=1000, unknown=40)))
    assert len(finding.evidence["to_label"]) == 20
    first = finding.evidence["to_label"][0]
    assert (set(first), first["champion"], first["challenger"]) == ({"id", "index", "champion", "challenger"}, "a", "b")
    assert "Send labels (POST /feedback/NAME)" in finding.action


def test_an_open_question_says_how_many_inputs_would_settle_it():
    finding = found("quality", seen(pairs(agree=200)))
    (needed,) = [int(word) for word in finding.action.split() if word.isdigit()]
    assert found("quality", seen(pairs(agree=needed + 20))).verdict == "pass"


def test_who_accepts_more_disagreement_needs_no_labels_for_it():
    some = seen(pairs(agree=950, unknown=50))
    assert found("quality", some).verdict == "unsure"
    assert found("quality", some, replace(BEGUN, disagreement=0.1)).verdict == "pass"
    assert found("quality", some, replace(BEGUN, disagreement=0.05)).verdict == "unsure"


@pytest.mark.parametrize(
    ("failed", "requests", "verdict"), [(0, 100, "unsure"), (0, 600, "pass"), (3, 3, "fail"), (30, 600, "fail")]
)
def test_a_challenger_may_fail_at_one_request_in_a_hundred(failed, requests, verdict):
    assert found("failures", seen(failed=failed, requests=requests)).verdict == verdict


@pytest.mark.parametrize(
    ("times", "verdict"),
    [([10.0] * 100, "pass"), ([10.0] * 20, "unsure"), ([16.0] * 20, "fail"), ([10.0] * 94 + [16.0] * 6, "unsure")],
)
def test_a_canary_may_take_one_and_a_half_times_as_long_as_the_champions_slowest(times, verdict):
    evidence = seen(latencies=times, champion_latencies=[10.0] * 100)
    assert found("latency", evidence, IN_CANARY).verdict == verdict


def test_a_canary_that_is_slower_by_less_than_a_busy_machine_delays_answers_is_not_slow():
    evidence = seen(latencies=[1.0] * 100, champion_latencies=[0.2] * 100)
    assert found("latency", evidence, IN_CANARY).verdict == "pass"
    evidence = seen(latencies=[6.0] * 100, champion_latencies=[0.2] * 100)
    assert found("latency", evidence, IN_CANARY).verdict == "fail"


def test_a_shadow_is_not_timed():
    assert "latency" not in {finding.check for finding in rollouts.judge(seen(), BEGUN, LATER)}


@pytest.mark.parametrize(
    ("requests", "now", "verdict"),
    [(500, LATER, "pass"), (499, LATER, "unsure"), (500, NOON + timedelta(minutes=59), "unsure")],
)
def test_a_step_lasts_for_its_requests_and_its_hours(requests, now, verdict):
    assert found("requests", seen(requests=requests), now=now).verdict == verdict


def test_a_class_that_is_given_up_is_for_a_person_to_look_at_unless_labels_clear_it():
    many = [Pair(f"m{number}", 0, "z", "z", 0.0, None) for number in range(5000)]
    lost = found("flips", seen([*many, *pairs(unknown=40)]))
    assert (lost.verdict, lost.evidence["classes"]) == ("unsure", {"a": 1.0})
    assert lost.evidence["flips"] == [{"from": "a", "to": "b", "count": 40}]
    assert found("flips", seen([*many, *pairs(wins=40)])).verdict == "pass"


def test_much_less_confidence_is_for_a_person_to_look_at():
    less = [replace(pair, less_sure=0.4) for pair in pairs(agree=200)]
    assert found("confidence", seen(less)).verdict == "unsure"
    assert found("confidence", seen(pairs(agree=200))).verdict == "pass"


def answer(request_id: str, version: int, role: str, label: str | None = "a", **more: Any) -> Answer:
    defaults = {"latency_ms": 5.0, "time": NOON + timedelta(minutes=1), "index": 0, "probability": 0.75}
    return Answer(
        request_id=request_id, model="digits", version=version, role=role, contract="c", label=label,
        probabilities=(0.75, 0.25), properties={}, **(defaults | more),
    )  # fmt: skip


def journal(folder: Path, *answers: Answer, labels: Sequence[Label] = ()) -> Path:
    book = Journal(folder, PARAMS, clock=lambda: NOON)
    book.record(answers)
    book.feedback(labels)
    book.close()
    return folder


def test_answers_are_paired_by_request_and_place_each_distinct_input_once(tmp_path):
    folder = journal(
        tmp_path,
        answer("one", 3, "champion", input_hash="x"), answer("one", 4, "shadow", "b", probability=0.5),
        answer("two", 3, "champion", input_hash="x"), answer("two", 4, "shadow", "b"),
        answer("three", 4, "canary", "b", input_hash="y"), answer("three", 3, "shadow"),
        answer("alone", 3, "champion", input_hash="z"),
        answer("other", 2, "champion", input_hash="o"), answer("other", 4, "shadow"),
        labels=[Label("two", 0, "b", NOON)],
    )  # fmt: skip
    evidence = rollouts.gather(folder, BEGUN, LATER)
    assert evidence.pairs == [Pair("two", 0, "a", "b", 0.0, "b"), Pair("three", 0, "a", "b", 0.0, None)]
    assert (evidence.requests, evidence.failed) == (4, 0)


def test_requests_failures_and_latencies_are_those_of_the_step_and_pairs_those_of_the_rollout(tmp_path):
    before = {"time": NOON - timedelta(minutes=1)}
    now_running = replace(IN_CANARY, began=NOON - timedelta(hours=1))
    folder = journal(
        tmp_path,
        answer("early", 3, "champion", **before), answer("early", 4, "shadow", **before),
        answer("failed", 4, "canary", None, status=500, probability=None), answer("failed", 3, "champion"),
        answer("fine", 4, "canary", latency_ms=7.0), answer("fine", 3, "shadow", latency_ms=1.0),
    )  # fmt: skip
    evidence = rollouts.gather(folder, now_running, LATER)
    assert (evidence.requests, evidence.failed) == (2, 1)
    assert (evidence.latencies, evidence.champion_latencies) == ([7.0], [5.0])
    assert [(pair.request_id, pair.challenger) for pair in evidence.pairs] == [
        ("early", "a"), ("failed", None), ("fine", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rollout", "verdict", "step"),
    [
        (BEGUN, "unsure", "shadow"),
        (replace(BEGUN, step=2), "pass", "passed"),
        (replace(BEGUN, failed="It erred."), "fail", "failed"),
        (replace(BEGUN, champion_now=7), "unsure", "outdated"),
        (replace(BEGUN, champion_now=4), "pass", "passed"),
    ],
)
def test_the_verdict_is_one_of_three_answers_whatever_the_rollout_is_at(tmp_path, rollout, verdict, step):
    document = rollouts.verdict(tmp_path, rollout, LATER)
    assert (document["verdict"], document["step"], document["version"], document["champion"]) == (verdict, step, 4, 3)

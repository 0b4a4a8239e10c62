from dataclasses import replace
from pathlib import Path

import pytest

from headstart import artifacts
from headstart.evaluation.gates import baseline
from headstart.report import advice, vocabulary, words
from headstart.report.evidence import Evidence, Quarantined, gather
from tests.unit import report_evidence, report_plan


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence(tmp_path_factory.mktemp("passed"))


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence(tmp_path_factory.mktemp("refused"), verdict="fail", version="4", alias=None)


def evidence(folder: Path, **kind) -> Evidence:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report_evidence.write("m", "text", ["billing", "delivery", "returns"], **kind)
        return gather("m")


@pytest.mark.parametrize(
    ("judgement", "run", "badge", "part"),
    [
        pytest.param({"version": "3"}, {"version": "3", "alias": "champion"}, "Champion", "version 3 is the one",
                     id="promoted"),
        pytest.param({"version": "3", "champion": "3"}, None, "Champion", "version 3 is the one",
                     id="is the champion it names"),
        pytest.param({"version": "3", "champion": "2"}, {"version": "3", "alias": "challenger"}, "Challenger",
                     "waits for someone to promote it; version 2 stays champion", id="waits for approval"),
        pytest.param({"version": "3", "champion": "2"}, {"version": "2", "alias": "champion"}, "Passed",
                     "registered as version 3; version 2 stays champion", id="a run of another version says nothing"),
        pytest.param({"version": None, "champion": None}, None, "Passed", "not registered yet; nothing is live yet",
                     id="not registered"),
    ],
)  # fmt: skip
def test_a_model_that_passed_stands_where_the_registry_says(passed, judgement, run, badge, part):
    judged = {**passed.judgement, "champion": None, **judgement}
    status = words.status(replace(passed, judgement=judged, run=run))
    assert status.badge == badge
    assert part in status.sentence


def test_a_refusal_names_the_gate_and_what_stays_live(refused):
    status = words.status(refused)
    assert (status.tone, status.badge) == ("fail", "Refused")
    assert status.sentence == "One gate said no: “It is no worse than what is live”. So version 2 stays champion."


def test_what_a_person_promoted_is_live_and_the_page_says_why(refused):
    live = {"version": "4", "verdict": "fail", "overridden": "a demo for the board."}
    overridden = replace(refused, run={"version": "4", "alias": "champion", "live": live})
    status = words.status(overridden)
    assert (status.tone, status.badge) == ("fail", "Champion")
    assert status.sentence == (
        "One gate said no: “It is no worse than what is live”. It was promoted all the same: a demo for the board. "
        "So version 4 is the one that answers in production."
    )
    assert words.way_out(overridden) == ""
    assert any(step.command == "headstart serve m" for step in advice.steps(overridden))


def test_what_stays_live_is_told_with_its_own_override(refused):
    live = {"version": "2", "verdict": "unsure", "overridden": "the only one we had"}
    status = words.status(replace(refused, run={"version": "4", "alias": None, "live": live}))
    assert status.sentence.endswith(
        "So version 2 stays champion (promoted although its gates said unsure: the only one we had)."
    )


def test_the_way_out_of_a_refusal_is_a_command(refused, passed):
    assert words.way_out(refused) == "headstart promote m 4 --reason WHY"
    assert words.way_out(passed) == ""


def test_what_was_kept_is_named_with_what_it_does(passed):
    told = words.choice(passed.plan, report_plan.history("linear_probe"))
    assert told.startswith("Kept: linear probe (linear_probe). The pretrained network stays as it is;")
    assert words.choice(passed.plan, None).endswith("Training has not run yet.")


def test_a_strategy_that_params_asked_for_is_not_called_kept(passed):
    told = words.choice(report_plan.plan(forced=True), passed.history)
    assert told.startswith("Asked for by plan.strategy: fine-tuning (fine_tune).")


def test_what_compare_found_from_random_weights_is_a_figure(passed):
    probe, trained = report_plan.history()["candidates"]
    scratch = {**probe, "strategy": "scratch", "validation": {"accuracy": {"value": 0.5}}}
    compared = {"candidates": [probe, trained, scratch]}
    shown = words.facts(replace(passed, compared=compared))
    assert ("+46.2 points", "on validation over the same network from random weights") in shown
    assert not any("random weights" in about for _, about in words.facts(passed))


def test_how_the_classical_baseline_was_chosen_is_told(passed):
    assert words.classical(passed.evaluation) == ""  # format 1
    tried = [
        {"name": "words_svm", "strength": strength, "validation": value}
        for strength, value in ((1.0, 0.7), (0.3, 0.71))
    ]
    evaluation = {"baselines": {"majority": {}, "words_svm": {}}, "tried": tried}
    assert words.classical(evaluation) == (
        "The classical baseline, word counts, is the best of 2 on validation (71.0%)."
    )


def test_a_provisional_champion_is_called_one_with_how_sure_it_is_and_what_would_settle_it(refused):
    finding = baseline.judge(
        {"baselines": {"words_svm": {
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 200},
            "paired": {"wins": 12, "losses": 8, "n": 200},
        }}}, 0.0, 0.05,
    )  # fmt: skip
    judged = {**refused.judgement, "verdict": "unsure", "findings": [finding.document()], "champion": None}
    live = {"version": "4", "verdict": "unsure", "overridden": "", "provisional": True}
    evidence = replace(refused, judgement=judged, run={"version": "4", "alias": "champion", "live": live})
    status = words.status(evidence)
    assert (status.tone, status.badge) == ("unsure", "Provisional champion")
    assert status.sentence == (
        "Version 4 answers in production, provisionally: it is ahead of word counts on the test examples, which make "
        f"that 81% sure. About {finding.evidence['more']} more test rows would settle it, if the difference stays."
    )
    assert words.way_out(evidence) == ""
    assert any(step.command == "headstart serve m" for step in advice.steps(evidence))


def test_unsure_never_goes_live(refused):
    findings = [{**one, "verdict": "unsure" if one["verdict"] == "fail" else "pass"}
                for one in refused.judgement["findings"]]  # fmt: skip
    judged = {**refused.judgement, "verdict": "unsure", "findings": findings, "champion": None}
    status = words.status(replace(refused, judgement=judged))
    assert status.badge == "Not sure enough"
    assert status.sentence.endswith("So nothing is live yet.")


def test_a_failed_screen_stops_a_candidate_before_export(passed):
    screen = {"verdict": "fail", "findings": [{"check": "diverged", "verdict": "fail"}]}
    status = words.status(replace(passed, judgement=None, evaluation=None, screen=screen))
    assert status.badge == "Stopped early"
    assert "“Training stayed on course”" in status.sentence


def test_a_judgement_of_an_earlier_bundle_says_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report_evidence.write("m", "text", ["billing", "delivery"])
    path = artifacts.release("m") / "judgement.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "bundle": "00" * 32})
    assert words.status(gather("m")).badge == "Measured"


def test_a_top_layer_clearly_worse_than_one_below_is_called_tied_to_its_pretraining():
    layers = [{"layer": "low", "value": 0.6, "low": 0.55, "high": 0.65},
              {"layer": "middle", "value": 0.9, "low": 0.87, "high": 0.93},
              {"layer": "top", "value": 0.8, "low": 0.76, "high": 0.84}]  # fmt: skip
    told = "the last layer only 80.0%: the top is tied to what it was pretrained for."
    assert words.layers(layers, None).endswith(told)


def test_a_truncation_is_told_by_the_layer_it_was_made_at_and_its_paired_gain():
    # intervals of the two overlap and the stem is best of all: neither is what the plan decided by
    layers = [{"layer": "low", "value": 0.9, "low": 0.87, "high": 0.93},
              {"layer": "middle", "value": 0.8, "low": 0.76, "high": 0.84},
              {"layer": "top", "value": 0.76, "low": 0.72, "high": 0.8}]  # fmt: skip
    cut = {
        "code": "truncated",
        "kept": 1,
        "of": 2,
        "layer": "middle",
        "gained": {"value": 0.04, "low": 0.017, "high": 0.063},
    }
    told = words.layers(layers, cut)
    assert "gets 80.0% right, on the last layer 76.0%: 4.0 points more on the same examples (1.7 to 6.3)" in told
    assert told.endswith("a linear probe ends there, on 1 of 2 blocks; strategies that train layers keep all of them.")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.42, "0.4 s"), (9.96, "10.0 s"), (31.2, "31 s"), (135.0, "2 min 15 s"), (59.7, "60 s")]
)
def test_durations_are_told_as_people_do(seconds, told):
    assert vocabulary.duration(seconds) == told


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        pytest.param((0.88, 0.84, 0.92), "significantly lower: 88.0% are right", id="below"),
        pytest.param((0.997, 0.993, 1.0), "significantly higher: 99.7% are right", id="above"),
        pytest.param((0.92, 0.88, 0.96), "", id="the intervals overlap"),
    ],
)
def test_a_test_set_that_says_something_else_than_validation_is_pointed_out(measured, said):
    accuracy = dict(zip(("value", "low", "high"), measured, strict=True))  # validation: 93.2% to 99.2%
    told = words.validation_check(report_plan.history(), {"metrics": {"accuracy": accuracy}})
    assert said in told
    assert bool(said) is bool(told)


@pytest.mark.parametrize(
    ("name", "told"),
    [("encoder.stages.0.layers.1", "stage 0, layer 1"), ("encoder.layer.11", "layer 11"), ("embeddings", "embeddings"),
     ("blocks.3", "block 3"), ("head", "head")],
)  # fmt: skip
def test_layers_are_named_for_people(name, told):
    assert vocabulary.layer(name) == told


def test_a_champion_is_to_be_served_watched_and_can_be_undone(passed):
    commands = [step.command for step in advice.steps(passed) if step.command]
    assert commands == ["headstart serve m", "headstart monitor m", "headstart rollback m"]


def test_a_first_champion_cannot_be_undone(passed):
    first = replace(passed, judgement={**passed.judgement, "champion": None})
    assert not any("rollback" in step.command for step in advice.steps(first))


def test_what_a_gate_asks_for_comes_first(refused):
    first = advice.steps(refused)[0]
    assert first.headline == "Mend “It is no worse than what is live”"
    assert first.reason == "Compare the two by class (headstart data digits), and add examples where it lost."


def test_what_gains_most_comes_first(passed):
    """87.5% of texts cut at the limit were found, and stood sixth."""

    def found(check, count, verdict="unsure", **evidence):
        said = {"check": check, "verdict": verdict, "statistic": float(count), "bar": None, "reason": check}
        return {**said, "action": "", "evidence": {"rows": [], **evidence}}

    findings = (
        found("personal_data", 300),
        found("markup", 200),
        found("mojibake", 40),
        found("labels", 9),
        found("truncation", 350, looked_at=400),
        found("payloads", 1, verdict="fail"),
    )
    steps = advice.steps(replace(passed, findings=findings))
    order = [step.reason for step in steps if step.reason in {finding["check"] for finding in findings}]
    assert order[:2] == ["payloads", "truncation"]  # what fails, then 350 of 400 texts
    assert order.index("labels") > order.index("mojibake")


def test_a_class_with_few_test_examples_is_to_be_labelled(passed):
    per_class = [{**one, "support": 3 if one["label"] == "returns" else 40} for one in passed.evaluation["per_class"]]
    thin = replace(passed, evaluation={**passed.evaluation, "per_class": per_class})
    assert any(step.headline == "Label more of returns" for step in advice.steps(thin))


@pytest.mark.parametrize(
    ("calibration", "end"),
    [
        pytest.param({"temperature": 2.0, "bias": [0.0, 0.0]}, "of 2.00 softens its answers; the label never "
                     "changes by it.", id="a temperature"),
        pytest.param({"temperature": 0.5, "bias": [0.3, -0.3]}, "sharpens its answers; a bias for each class can also "
                     "change the label.", id="and biases"),
        pytest.param({"temperature": 1.0, "bias": [0.0, 0.0]}, "before calibration it was", id="nothing"),
        pytest.param(None, "before calibration it was", id="not there"),
    ],
)  # fmt: skip
def test_what_calibration_does_to_the_label_is_told_as_it_is(passed, calibration, end):
    assert end in words.trust(passed.evaluation, calibration)
    assert ("label" in words.trust(passed.evaluation, calibration)) == ("label" in end)


def test_gathering_reads_what_the_stages_wrote(passed):
    assert passed.rows == {"train": 1077, "validation": 180, "test": passed.evaluation["metrics"]["accuracy"]["n"]}
    assert passed.quarantine == (
        Quarantined("leak", 2, [{"check": "leak", "reason": "equal to source row 12 (test)"}]),
        Quarantined("payloads", 1, [{"check": "payloads", "reason": "truncated"}]),
    )
    assert set(passed.payloads) == {mistake["id"] for mistake in passed.evaluation["mistakes"]}
    assert passed.libraries == ("numpy==2.4.1", "torch==2.13.0")
    assert passed.absent == ()

"""Drills: what is planted is blocked or seen, counted rightly, and shown."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headstart import artifacts, profile
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.drill import candidates, population, score, traffic
from headstart.faults.table import FAULTS
from headstart.layer_statistics import Layers, Reference, of_inputs
from headstart.monitoring import recalibration, watch
from headstart.params.loader import load
from headstart.predictor import Predictor
from headstart.registry.shipping import manifest_hash
from headstart.report import drill as page
from headstart.serving.models import LoadedModel
from tests.unit.made_traffic import CLASSES, EVEN, monitor, window_of
from tests.unit.made_traffic import profile_of as profile_of_traffic
from tests.unit.made_traffic import traffic as made
from tests.unit.tiny_bundle import grey, image_bundle

MOST = np.array([0.73, *[0.03] * 9])
WINDOWS = ((1, 2000, EVEN), (2, 1000, MOST))  # seed, rows, shares
ROOT = Path(__file__).parents[2]


def pictures(seed: int, n: int) -> Dataset:
    """Grey squares: dark ones and light ones, none of them near the middle."""
    random = np.random.default_rng(seed)
    labels = [("dark", "light")[row % 2] for row in range(n)]
    levels = [int(random.integers(10, 60)) + (180 if label == "light" else 0) for label in labels]
    ids = [str(row) for row in range(n)]
    return Dataset("image", ids, labels, [grey(level) for level in levels], [None] * n, [None] * n)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return image_bundle(tmp_path_factory.mktemp("drill") / "bundle")


def profile_of(bundle: Path, rows: Dataset) -> profile.Profile:
    predictor = Predictor.load(bundle)
    logits, features, _ = predictor.outputs(rows.inputs)
    answers, properties = predictor.predictions(logits), predictor.preprocessor.properties(rows.inputs)
    return profile.build(answers, rows.labels, properties, predictor.labels, features=features, seed=0, rows=300)


def deployed(bundle: Path):
    """The model of grey squares behind its server, with a reference of 300 of them."""
    seen = profile_of(bundle, pictures(1, 300))
    model = LoadedModel.open("squares", 1, bundle, difference_allowed=1e-3)
    params = load(ROOT / "params.yaml").models["digits"]
    return traffic.deployed(model, watch.Reference("", lambda: seen), params)


@pytest.fixture(scope="module")
def deployment(bundle):
    with deployed(bundle) as running:
        yield running


def planted(name, deployment, bundle, n=120):
    return traffic.plant(FAULTS[name], deployment, traffic.HeldOut.of(bundle, pictures(2, n), validation=n), seed=0)


def test_pictures_with_more_light_are_detected_with_the_first_look(deployment, bundle):
    outcome = planted("brightened", deployment, bundle)
    assert (outcome.answers, outcome.detected_after) == (120, 50)
    assert [look.answers for look in outcome.looks] == [50, 100, 120]
    assert outcome.accuracy["clean"] == 1.0
    assert outcome.accuracy["broken"] < 1.0  # dark squares look light


def test_a_fault_that_changes_nothing_is_not_sent(deployment, bundle):
    outcome = planted("channels_swapped", deployment, bundle)  # the model sees grey
    assert (outcome.answers, outcome.note) == (0, "it changes nothing for this model.")


@pytest.mark.parametrize("kind", [None, "blocks", "batchnorm"])
def test_a_drill_sends_no_picture_that_the_monitor_may_plant_the_same_fault_in(bundle, tmp_path, monkeypatch, kind):
    """Else what the monitor finds out on labelled test images would be about the very inputs of the window."""
    monkeypatch.chdir(tmp_path)
    folder = artifacts.stage_output("squares", "data")
    dataset.write(folder / "validation.parquet", pictures(4, 60))
    dataset.write(folder / "test.parquet", test := pictures(5, 200))
    seen = profile_of(bundle, test)
    layers = kind and Reference.of(Layers(("first",), (2,), (1e-5,), kind), of_inputs(np.eye(2), np.eye(2)), seed=0)
    reference = watch.Reference("", lambda: seen, layers=lambda: layers)
    found = population.of("squares", bundle, reference, monitor(), seed=0)
    planted = 60 + recalibration.replayed(200)
    assert len(planted) == 150
    assert np.isin(planted, found.held.places).sum() == (0 if kind == "batchnorm" else 150)
    assert found.rows == {"validation": 60, "test": (known := 50 if kind == "batchnorm" else 200), "known": known}


def test_class_shares_end_where_a_class_has_no_row_left(deployment, bundle):
    # 100 rows of each class, one of which comes in 90%: all of its rows are sent, none twice, and some of the others
    outcome = planted("class_tripled", deployment, bundle, n=200)
    assert 100 < outcome.answers < 130
    assert outcome.detected_after is not None


def test_class_shares_are_not_planted_in_fewer_rows_than_a_monitor_judges(deployment, bundle):
    outcome = planted("class_tripled", deployment, bundle, n=120)
    assert outcome.answers == 0
    assert "monitor.rows" in outcome.note


def test_sound_traffic_does_not_alarm(deployment):
    found = traffic.clean(deployment, pictures(3, 250), seed=0)
    assert found == {"windows": 2, "answers": 100, "alarms": 0, "causes": []}  # no row comes twice


def test_a_drill_sends_the_same_whatever_else_is_drilled_and_the_journal_keeps_the_same_of_it(bundle, deployment):
    before = planted("brightened", deployment, bundle)
    kept = deployment.kept()
    assert 0 < len(kept.raw) < 120
    with deployed(bundle) as again:
        planted("darkened", again, bundle)
        assert planted("brightened", again, bundle).document() == before.document()
        assert again.kept() == kept


def test_the_cure_of_a_drill_sets_the_prior_to_the_shares_of_the_window_and_not_to_the_references():
    # Probabilities are the right posterior for ten even digits, so with the true shares q of the window the best answer
    # is the largest p q: that is what a perfect cure would say.
    drawn = [made(np.random.default_rng(seed), rows, shares) for seed, rows, shares in WINDOWS]
    sound, moved = drawn
    plain = np.vstack([sound.probabilities, moved.probabilities])
    held = traffic.HeldOut(
        bundle=Path(),
        predictor=SimpleNamespace(labels=CLASSES),
        profile=profile_of_traffic(sound),
        prior=None,
        rows=None,
        validation=len(sound.truth),
        probabilities=plain,
        labels=[*sound.predicted, *moved.predicted],
    )
    recorded = SimpleNamespace(window=lambda: window_of(moved), params=SimpleNamespace(monitor=monitor()))
    at = np.arange(len(sound.truth), len(plain))
    answered = traffic.cured({"remedy": "correct_prior"}, held, at, [], recorded)
    best = [CLASSES[place] for place in (moved.probabilities * MOST).argmax(axis=1)]
    assert np.mean([one == other for one, other in zip(answered, best, strict=True)]) > 0.99
    assert np.mean([one == other for one, other in zip(answered, moved.predicted, strict=True)]) < 0.98


def test_a_small_set_is_one_window(deployment):
    assert traffic.clean(deployment, pictures(3, 30), seed=0)["windows"] == 1


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("labels_permuted", ("registered hash", "replay")),
        ("file_altered", ("registered hash", "replay")),
    ],
)
def test_a_damaged_bundle_is_refused_by_every_check_that_can_see_it(bundle, fault, checks):
    registered = manifest_hash(bundle)
    outcome = candidates.artefact(FAULTS[fault], "squares", (1, bundle), registered, others=[])
    assert (outcome.blocked, outcome.by) == (True, checks)
    assert manifest_hash(bundle) == registered  # a copy was damaged


def test_other_files_cannot_be_planted_where_there_are_none(bundle):
    outcome = candidates.artefact(FAULTS["other_files_served"], "squares", (1, bundle), "", others=[])
    assert (outcome.planted, outcome.blocked) == (False, False)


def test_a_corrected_prior_moves_the_log_odds_by_the_new_shares_over_the_old(bundle):
    # two classes seen equally often: at 90 to 10 the log-odds move by log 9; a middle grey of even odds turns dark
    held = traffic.HeldOut.of(bundle, pictures(2, 40), validation=40)
    even = np.array([[0.5, 0.5], [0.05, 0.95]])  # log-odds of the second: log 19, more than log 9
    known = replace(held, probabilities=np.vstack([even, even[:, ::-1]]), validation=4)
    labels = known.at({"dark": 0.9, "light": 0.1}, np.arange(4))
    assert labels == ["dark", "light", "dark", "dark"]


def row(fault, expected, cause, detected):
    accuracy = {"clean": 0.9, "broken": 0.5, "cured": 0.9 if cause == expected else None}
    looks = [{"answers": 50, "verdict": "alert" if detected else "ok", "cause": cause, "remedy": "none"}]
    about = {"fault": fault, "meaning": f"<{fault}>", "expected": expected, "answers": 50, "cause": cause}
    return {
        **about, "detected_after": 50 if detected else None, "named_after": None, "remedy": "fix_client",
        "accuracy": accuracy, "looks": looks, "note": "",
    }  # fmt: skip


def document():
    about = {"meaning": "a file was altered", "gate": "replay", "by": ["replay"], "reason": "it differs."}
    blocked = {"fault": "file_altered", "planted": True, "blocked": True, **about}
    absent = {"fault": "statistics_lost", "planted": False, "blocked": False, **about}
    return {
        "model": "pets & co",
        "version": 3,
        "before": [blocked, absent, {**blocked, "fault": None, "blocked": False, "by": []}],
        "after": [
            row("inverted", "preprocessing_mismatch", "preprocessing_mismatch", True),
            row("cut", "input_quality", "label_shift", True),
            row("noisy", "batchnorm_drift", "unknown_shift", True),
            row("turned", "preprocessing_mismatch", None, False),
        ],
        "clean": {"windows": 10, "answers": 50, "alarms": 0, "causes": []},
        "rows": {"validation": 50, "test": 0, "known": 0},
        "unlike": [],
        "seconds": 12.0,
    }


def test_a_fault_that_another_gate_happens_to_stop_is_not_counted_as_blocked():
    drawn = document()
    drawn["before"][0]["by"] = ["accuracy"]
    counts = score.score(drawn)
    assert (counts["planted_before"], counts["blocked"]) == (1, 0)
    assert "Stopped by accuracy, not by replay, which should have named it" in page.render({**drawn, "score": counts})


def test_the_score_counts_right_and_wrong_names_among_what_was_detected():
    counts = score.score(document())
    assert counts == {
        "planted_before": 1,
        "blocked": 1,
        "clean_blocked": 0,
        "planted_after": 4,
        "detected": 3,
        "named": 1,
        "named_wrongly": 1,
        "false_alarms": 0,
    }


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        pytest.param({}, False, id="one fault was not detected"),
        pytest.param({"planted_after": 3}, True, id="all were"),
        pytest.param({"planted_after": 3, "false_alarms": 1}, False, id="sound traffic alarmed"),
        pytest.param({"planted_after": 3, "clean_blocked": 1}, False, id="a sound candidate was blocked"),
    ],
)
def test_a_drill_passes_only_where_every_fault_and_nothing_sound_was_noticed(change, passes):
    assert score.passed({"score": score.score(document()) | change}) is passes


def test_the_page_says_what_was_noticed_and_escapes_what_comes_from_data():
    drawn = document()
    html = page.render({**drawn, "score": score.score(drawn)})
    assert "4 of 5 planted faults were noticed." in html
    assert "pets &amp; co" in html
    assert "&lt;inverted&gt;" in html
    assert "<inverted>" not in html
